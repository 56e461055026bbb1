"""Draw README.md's picture, docs/_static/demo.png, again: `python docs/draw_demo.py`.

It is what `xroute demo` draws, made small.
"""

import tempfile
from pathlib import Path

from PIL import Image

from xroute.demo import run

WIDTH, COLOURS = 1200, 255  # pixels, and enough for lines and text

with tempfile.TemporaryDirectory() as folder:
    run(folder)
    picture = Image.open(Path(folder) / "discharge.png").convert("RGB")
picture = picture.resize((WIDTH, WIDTH * picture.height // picture.width), Image.Resampling.LANCZOS)
picture = picture.quantize(COLOURS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
picture.save(Path(__file__).parent / "_static" / "demo.png", optimize=True)
