"""`make docs`, as far as seconds go: docs/conf.py on small pages of its own. A fault of a page fails the build and is named."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOK = "---\nfile_format: mystnb\nkernelspec:\n  name: python3\n---\n"
CELL = "```{code-cell}\n"

pytestmark = pytest.mark.skipif(
    not all(find_spec(name) for name in ("sphinx", "furo", "myst_nb", "numpydoc", "sphinx_design", "matplotlib")),
    reason="the documentation is made with what the dependency group 'docs' installs",
)


def build(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """As the Makefile does it."""
    made = re.search(r"sphinx-build (.*?) docs docs/_build/html", (ROOT / "Makefile").read_text("utf-8"))
    assert made is not None
    known = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]), "MPLBACKEND": "Agg"}
    return subprocess.run(
        [sys.executable, "-m", "sphinx", *made[1].split(), *options, ".", "_build/html"],
        cwd=folder, env=known, capture_output=True, text=True,
    )  # fmt: skip


def folder_of(place: Path, pages: dict[str, str], toctree: str) -> Path:
    """A folder with docs/conf.py, what belongs to it, and pages by name."""
    place.mkdir()
    shutil.copy2(ROOT / "docs" / "conf.py", place)
    for name in ("_ext", "_static", "_templates"):
        if (ROOT / "docs" / name).exists():
            shutil.copytree(ROOT / "docs" / name, place / name)
    (place / "index.md").write_text(f"# Index\n\n```{{toctree}}\n{toctree}\n```\n", "utf-8")
    for name, page in pages.items():
        (place / f"{name}.md").write_text(page, "utf-8")
    return place


@pytest.mark.slow
def test_a_page_shows_what_comes_out_and_nothing_else(tmp_path: Path) -> None:
    """Results, commands and pictures of this Python's xroute, without a word from the build, the first time and again."""
    page = (
        f"{NOTEBOOK}# Page\n\n{CELL}import sys, xroute\nprint(sys.executable, xroute.__file__)\n```\n\n"
        f"{CELL}from matplotlib import pyplot\npyplot.plot([1, 2]);\n```\n\n{CELL}!xroute --version\n```\n\n"
        f"{CELL}:tags: [raises-exception]\nxroute.route(1, 2)\n```\n\n[Index](index.md), {{doc}}`index` and $k_1$.\n"
    )
    folder = folder_of(tmp_path / "docs", {"page": page}, "page")
    for _ in range(2):
        done = build(folder)
        assert done.returncode == 0 and done.stdout + done.stderr == "", done.stdout + done.stderr
    reference = ".. currentmodule:: xroute\n\n.. autosummary::\n   :toctree: generated/\n\n   deaccumulate\n"
    (folder / "reference.md").write_text(f"# Reference\n\n```{{eval-rst}}\n{reference}```\n", "utf-8")
    index = folder / "index.md"
    index.write_text(index.read_text("utf-8").replace("page\n", "page\nreference\n"), "utf-8")
    done = build(folder)
    assert done.returncode == 0 and done.stdout + done.stderr == "", done.stdout + done.stderr
    assert "reset" in (folder / "_build" / "html" / "generated" / "xroute.deaccumulate.html").read_text("utf-8")
    text = (folder / "_build" / "html" / "page.html").read_text("utf-8")
    assert sys.executable in text and str(ROOT / "xroute" / "__init__.py") in text
    assert len(list((folder / "_build" / "html" / "_images").glob("*.png"))) == 1 and "<img alt" in text
    shown = re.sub(r"<[^>]+>", "", text)
    assert f"xroute, version {xroute_version()}" in shown and "Error" in shown
    for noise in ("compiling kernels", "IPKernelApp", "UserWarning"):
        assert noise not in text


def xroute_version() -> str:
    """The version that the package gives."""
    import xroute

    return xroute.__version__


@pytest.mark.slow
def test_faults_fail_the_build_and_are_named(tmp_path: Path) -> None:
    """Each fault on a page of its own; one build names them all, with the page and what is wrong."""
    faults = {
        "cell": f"{NOTEBOOK}# Page\n\n{CELL}river = 7\nriver / 0\n```\n",
        "link": "# Page\n\n[none](nopage.md)\n",
        "heading": "# Page\n\n[none](index.md#noheading)\n",
        "role": "# Page\n\n{doc}`nodocument` and {ref}`nolabel`\n",
        "picture": "# Page\n\n![none](nopicture.png)\n",
        "directive": "# Page\n\n```{nodirective}\n```\n",
        "orphan": "# Page\n",
    }
    named = "\n".join(name for name in faults if name != "orphan")
    done = build(folder_of(tmp_path / "docs", faults, f"{named}\nnopage"))
    said = done.stdout + done.stderr
    assert done.returncode != 0
    wanted = {
        "index": ["nopage"], "cell": ["river / 0", "ZeroDivisionError"], "link": ["nopage.md"], "heading": ["noheading"],
        "role": ["nodocument", "nolabel"], "picture": ["nopicture.png"], "directive": ["nodirective"], "orphan": ["toctree"],
    }  # fmt: skip
    for page, words in wanted.items():
        for word in words:
            lines = [line for line in said.splitlines() if word in line]
            assert lines and (page == "cell" or any(f"{page}.md" in line for line in lines)), f"{page}, {word}:\n{said}"
    assert re.search(r"cell\.md: WARNING: Executing notebook failed", said)


def test_the_site_is_made_alike_everywhere() -> None:
    """CI and Read the Docs make what `make docs` makes: the same folder, warnings as errors."""
    assert "make docs" in (ROOT / ".ci" / "run").read_text("utf-8")
    recipe = re.search(r"^docs: .*?\n\t@(.*)$", (ROOT / "Makefile").read_text("utf-8"), re.M)
    assert recipe is not None and " -W " in recipe[1] and "--keep-going" in recipe[1]
    elsewhere = ROOT / ".readthedocs.yaml"
    if elsewhere.exists():
        import yaml

        said = yaml.safe_load(elsewhere.read_text("utf-8"))
        assert said["sphinx"] == {"configuration": "docs/conf.py", "fail_on_warning": True}
