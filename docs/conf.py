"""Sphinx configuration."""

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
