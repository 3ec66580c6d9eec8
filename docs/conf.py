"""Sphinx's settings: `make docs` builds the pages of this folder into docs/_build."""

project = "surfrecon"
author = "The surfrecon authors"
extensions = ["myst_parser"]
exclude_patterns = ["_build"]
html_theme = "alabaster"
html_theme_options = {"description": "from scans and photographs to watertight meshes", "page_width": "1100px", "sidebar_width": "200px"}
myst_heading_anchors = 3
suppress_warnings = ["myst.xref_missing"]  # links to files outside of this folder, which a test looks for
