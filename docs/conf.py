"""Sphinx's settings: `make docs` builds the site into docs/_build, without the network."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "Vitrail"
author = "The Vitrail authors"
copyright = author
html_title = "Vitrail"

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "live_figure",
    "mathml",
    "model_table",
]
source_suffix = {".md": "markdown"}
root_doc = "index"
# README.md is the same index for readers of the repository; the rest is data or a template.
exclude_patterns = ["_build", "README.md", "adr/0000-template.md", "**/measured"]
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
# Links that leave docs/ (to the README, the sources, reports) are files of the repository: GitHub
# follows them, the site leaves them as they are, and tests/test_docs.py checks that each exists.
suppress_warnings = ["myst.xref_missing", "myst.header", "docutils"]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True, "show-inheritance": True, "exclude-members": "__init__"}
napoleon_google_docstring = True
napoleon_use_rtype = False
python_display_short_literal_types = True
toc_object_entries_show_parents = "hide"

html_math_renderer = "mathml"
html_theme = "furo"
html_static_path: list[str] = []
html_show_sphinx = False
html_copy_source = False
