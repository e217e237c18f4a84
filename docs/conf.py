"""Sphinx builds the documentation site from this folder and from docstrings: `make docs`."""

from importlib import metadata

project = "chifoumi-jax"
version = release = metadata.version("chifoumi-jax")
# No year: the site is the same whenever it is built.
copyright = "the authors of chifoumi-jax, MIT licence"

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
]
source_suffix = {".md": "markdown"}
exclude_patterns = ["*.py"]

html_theme = "furo"
html_title = f"chifoumi-jax {release}"
html_show_sphinx = False

# `results.md#the-parity-ladder` links to a heading, as on GitHub.
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
# A name in single backticks is code, as in Markdown.
default_role = "code"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
python_use_unqualified_type_names = True
maximum_signature_line_length = 100
