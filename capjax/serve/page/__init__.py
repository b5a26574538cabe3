"""The server's page: the report's viewer with a picture that somebody brings.

Words, maps and notes are drawn by the viewer's own scripts (`capjax/viz/page`) from the viewer's
own HTML, which `/explain?view=true` answers with. Here is only what brings pictures and questions.
"""

import importlib.resources
from string import Template

from capjax.explainers.methods import METHODS
from capjax.studies.concepts import ConceptMaps
from capjax.viz.report.page import toolbar_html, viewer_part

FIRST = "gradcam"
"""The method that a new picture is explained by: it suits every captioner, and is quick."""
VIEWER = ("drawing.js", "picking.js", "item.js", "clip.js", "toolbar.js", "findings.js")
OWN = ("asking.js", "webcam.js", "panes.js", "studies.js", "live.js")


def page_files() -> dict[str, tuple[str, bytes]]:
    """Path -> (media type, content) of the page, which asks `/model` what it is of."""
    methods = [FIRST, *(name for name in METHODS if name != FIRST), ConceptMaps.NAME]
    page = Template(_own("index.html")).substitute(toolbar=toolbar_html(methods))
    # What the viewer's scripts know of a page; here it changes with every answer.
    parts = [*map(viewer_part, VIEWER), *map(_own, OWN)]
    start = (
        "const report = { ranges: {}, units: {} };\nlet items = [];\nconst drawMarks = () => {};"
    )
    script = "\n".join(['"use strict";\n(() => {', start, *parts, "})();\n"])
    style = viewer_part("page.css") + _own("live.css")
    return {
        "/": ("text/html", page.encode()),
        "/page.js": ("text/javascript", script.encode()),
        "/page.css": ("text/css", style.encode()),
    }


def _own(name: str) -> str:
    return importlib.resources.files("capjax.serve").joinpath("page", name).read_text("utf-8")
