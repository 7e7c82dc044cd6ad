"""Sphinx configuration."""

import re
from importlib.metadata import version as _version

# autodoc rewrites annotations of pydantic's BaseModel when it documents one of ours; emmet's models
# cannot be made after that
import atomate2.vasp.flows.matpes  # noqa: F401

project = "atomate2-alpot"
author = "the atomate2-alpot developers"
copyright = f"2026, {author}"  # noqa: A001 - Sphinx's name
version = release = _version("atomate2-alpot")
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build", "_generated"]
html_theme = "furo"
html_title = "atomate2-alpot"
autodoc_typehints = "none"
autodoc_member_order = "bysource"
napoleon_numpy_docstring = True
napoleon_google_docstring = False
napoleon_use_ivar = True
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3


def _escape_bars(_app, _what, _name, _obj, _options, lines):
    """Keep |F| what it is: to reStructuredText it would name a substitution."""
    lines[:] = [re.sub(r"(``.*?``)|\|", lambda m: m[1] or r"\|", line) for line in lines]


def setup(app):
    """Connect what runs after napoleon."""
    app.connect("autodoc-process-docstring", _escape_bars, priority=900)
