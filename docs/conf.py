"""How Sphinx makes the documentation: `make docs`, from what is installed in .venv, without the network."""

import os
import sys
from pathlib import Path

import sphinx_autosummary_accessors

import xroute

sys.path.insert(0, str(Path(__file__).parent / "_ext"))
import public

os.environ.setdefault("MPLBACKEND", "Agg")
# Cells call the `xroute` command; the kernel finds the one that belongs to this Python.
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])

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
nitpicky = False
suppress_warnings = ["config.cache"]

autosummary_generate = True
autosummary_context = {"public_members": public.classes()}  # of the template of a class's page
autodoc_typehints = "none"  # numpydoc's sections say what is taken and given
numpydoc_show_class_members = False
numpydoc_xref_param_type = False

myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "auto"
nb_execution_in_temp = True
nb_execution_timeout = 300
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_merge_streams = True

html_theme = "furo"
html_title = f"xroute {release}"
html_static_path = ["_static"]
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
