"""Sphinx configuration."""

import importlib.metadata

project = "hifred"
author = "The hifred developers"
copyright = "2026, The hifred developers"
release = importlib.metadata.version("hifred")
version = release

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
# Design notes are for those who work on the code: they are read in the repository.
exclude_patterns = ["_build", "design"]

# Napoleon links types in docstrings; words such as "shape" are names in more than one class, and no links are meant.
suppress_warnings = ["ref.python"]

myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
# The docstrings give shape and unit, so the signature alone carries the types.
autodoc_typehints = "signature"
napoleon_google_docstring = False
napoleon_numpy_docstring = True
napoleon_use_rtype = False

html_theme = "furo"
html_title = f"hifred {release}"
