"""How Sphinx makes the site: `make docs`. Nothing is fetched, neither here nor by the pages."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

project = "capjax"
author = "the capjax developers"
html_title = "capjax"
html_theme = "furo"
html_show_copyright = False

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "extensions.datasets",
    "extensions.docstrings",
    "extensions.mathml",
    "extensions.methods",
]
source_suffix = {".md": "markdown"}
exclude_patterns = ["build"]
suppress_warnings = ["misc.highlighting_failure"]  # shell lines with an ellipsis

myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 3
html_math_renderer = "mathml"

autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_attr_annotations = False
python_use_unqualified_type_names = True
maximum_signature_line_length = 80
