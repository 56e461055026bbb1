"""How Sphinx makes the documentation: `make docs`, from what is installed in .venv, without the network."""

import atexit
import hashlib
import json
import logging
import os
import shutil
import sys
import tempfile
from pathlib import Path

import sphinx_autosummary_accessors

import xroute

sys.path.insert(0, str(Path(__file__).parent / "_ext"))
import public

# ── notebooks ─────────────────────────────────────────────────────────────────────────────────────────────────────────
# A kernel of their own: this Python, whatever kernels the machine has under the same name, with the settings that IPython has
# where nobody has changed them, pictures in the page even where MPLBACKEND says "Agg", and the `xroute` command that belongs
# to this Python.

KERNEL = Path(tempfile.mkdtemp(prefix="xroute-docs-"))
atexit.register(shutil.rmtree, KERNEL, ignore_errors=True)
(KERNEL / "kernels" / "python3").mkdir(parents=True)
(KERNEL / "kernels" / "python3" / "kernel.json").write_text(
    json.dumps({
        "display_name": "Python 3",
        "language": "python",
        # A kernel warns that it talks to the build unencrypted: it does so within one machine.
        "argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}", "--log-level=ERROR"],
        "env": {
            "MPLBACKEND": "module://matplotlib_inline.backend_inline",
            "IPYTHONDIR": str(KERNEL / "ipython"),
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
            "PYTHONPATH": os.pathsep.join(filter(None, [str(KERNEL / "start"), os.environ.get("PYTHONPATH", "")])),
            "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        },
    })
)
# A program that has set up logging is not told that kernels are compiled, which the first build on a machine does.
(KERNEL / "start").mkdir()
(KERNEL / "start" / "sitecustomize.py").write_text(
    "import logging\n\nlogging.getLogger('xroute').addHandler(logging.NullHandler())\n"
)
# Another package of the site's turns on everybody's messages of level INFO, of which kernels have one for each page.
logging.getLogger("traitlets").setLevel(logging.WARNING)
os.environ["JUPYTER_PATH"] = os.pathsep.join(filter(None, [str(KERNEL), os.environ.get("JUPYTER_PATH", "")]))


def source_of(*packages: Path) -> str:
    """What stands in the code now: pages are made anew when it changes, for they show what it does and says."""
    digest = hashlib.sha256()
    for path in sorted(path for package in packages for path in package.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def find_new_pages(app):
    """Look for pages before autosummary makes those of functions: it asks only pages that the last build knew."""
    app.project.discover(app.config.exclude_patterns, app.config.include_patterns)


def setup(app):
    """Sphinx asks for this."""
    app.connect("builder-inited", find_new_pages, priority=100)
    app.add_config_value("xroute_source", source_of(Path(xroute.__file__).parent, Path(__file__).parent), "env", str)


# ── what is made ──────────────────────────────────────────────────────────────────────────────────────────────────────

project = "xroute"
author = "xroute developers"
copyright = "xroute developers"  # noqa: A001 (Sphinx's name)
release = version = xroute.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
    "sphinx.ext.mathjax",
    "numpydoc",
    "myst_nb",
    "sphinx_autosummary_accessors",
    "sphinx_copybutton",
    "sphinx_design",
    "from_code",
]
templates_path = ["_templates", sphinx_autosummary_accessors.templates_path]
exclude_patterns = ["_build", "_ext", "_templates"]
default_role = "py:obj"  # in docstrings `xroute.route` is a link
suppress_warnings = ["config.cache"]

autosummary_generate = True
for page in (Path(__file__).parent / "reference" / "generated").glob("*.rst"):
    if page.stem not in {*public.names(), *(f"xarray.{name}" for name in public.accessors())}:
        page.unlink()  # of an earlier build, and of a name that is no more
autosummary_context = {"public_members": public.classes()}  # of the template of a class's page
autodoc_typehints = "none"  # numpydoc's sections say what is taken and given
numpydoc_show_class_members = False
numpydoc_xref_param_type = False

myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "auto"
nb_execution_in_temp = True
nb_execution_timeout = 300
nb_execution_raise_on_error = False  # a cell that fails is a warning, which names it; -W makes it an error
nb_execution_show_tb = True
nb_merge_streams = True

html_theme = "furo"
html_title = f"xroute {release}"
html_static_path = ["_static"]
html_favicon = "_static/logo.svg"
html_logo = "_static/logo.svg"
html_css_files = ["xroute.css"]
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#0a5a8c", "color-brand-content": "#0a5a8c"},
    "dark_css_variables": {"color-brand-primary": "#6cb6e8", "color-brand-content": "#6cb6e8"},
    "source_repository": "https://github.com/xroute/xroute/",
    "source_branch": "main",
    "source_directory": "docs/",
}
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
