"""The HTML viewer of explanations: one self-contained page, offline, streamed to disk.

The same page serves `explain.py`'s report and a notebook cell. Photographs are embedded as JPEG
thumbnails and maps as numbers, of which each spans its own range in 65,534 steps; the browser draws
them. The exact ones are in the files under maps/, and in Python.
"""

import dataclasses
import functools
import html
import importlib.resources
import io
from collections.abc import Iterable, Mapping, Sequence
from string import Template
from typing import TextIO

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from capjax.data.pictures.given import FRAME_SIDE, THUMBNAIL_SIDE
from capjax.runtime.files import counted
from capjax.studies.contract import Summary
from capjax.viz.findings import summary_html
from capjax.viz.report.item import (
    ReportItem,
    ReportSentence,
    escaped,
    item_html,
    json_text,
)

__all__ = ["ReportHead", "ReportItem", "ReportSentence", "inline_html", "thumbnail", "write_page"]

SCRIPTS = (
    *("drawing.js", "picking.js", "item.js", "clip.js", "marks.js"),
    *("toolbar.js", "findings.js", "page.js"),
)
"""The page's script, in parts that know only those before them."""


@dataclasses.dataclass(frozen=True)
class ReportHead:
    """What a page says about the whole run.

    Attributes:
      title: first line.
      summary: name -> value lines under it.
      methods: names, in the order of the menu.
      ranges: method -> (lowest, highest) value of the run, for the raw scale.
      units: method -> unit of its maps' exponentials, of those whose maps are logarithms.
      measures: method -> what its maps explain, None of those that explain no scalar.
      run: digest that keeps this run's marks apart from other runs'.
      model: digest of the model.
      failures: (file, error) of images or clips that could not be explained.
      noun: what the captioner explains, "image" or "clip".
      notes: sentences on what was left out.
      summaries: study -> what its findings come to.
      links: (text, address, is this page) of the report's pages.
    """

    title: str
    summary: Mapping[str, str] = dataclasses.field(default_factory=dict)
    methods: Sequence[str] = ()
    ranges: Mapping[str, tuple[float, float]] = dataclasses.field(default_factory=dict)
    units: Mapping[str, str] = dataclasses.field(default_factory=dict)
    measures: Mapping[str, str | None] = dataclasses.field(default_factory=dict)
    run: str = ""
    model: str = ""
    failures: Sequence[tuple[str, str]] = ()
    noun: str = "image"
    notes: Sequence[str] = ()
    summaries: Mapping[str, Summary] = dataclasses.field(default_factory=dict)
    links: Sequence[tuple[str, str, bool]] = ()


def thumbnail(image: UInt8[np.ndarray, "*F H W 3"] | Image.Image, side: int | None = None) -> bytes:
    """JPEG of an upright RGB image, or of a clip's frames side by side.

    Args:
      image: [H W 3], or [F H W 3] for a clip, or a Pillow image.
      side: most pixels of the longest side, of each frame; default `THUMBNAIL_SIDE` for an image,
        `FRAME_SIDE` for a clip.
    """
    if isinstance(image, Image.Image):
        frames = [image]
    else:
        frames = [Image.fromarray(frame) for frame in (image if image.ndim == 4 else image[None])]
    side = side or (THUMBNAIL_SIDE if len(frames) == 1 else FRAME_SIDE)
    scale = min(1.0, side / max(frames[0].size))
    width, height = frames[0].size
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    sheet = Image.new("RGB", (len(frames) * size[0], size[1]))
    for index, frame in enumerate(frames):
        if scale < 1:
            frame = frame.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
        sheet.paste(frame, (index * size[0], 0))
    stream = io.BytesIO()
    sheet.save(stream, "JPEG", quality=82)
    return stream.getvalue()


def write_page(stream: TextIO, items: Iterable[ReportItem], head: ReportHead) -> None:
    """Writes one self-contained page; `items` are taken one by one, so memory stays flat."""
    start, end = page_frame(head, kind="report")
    stream.write(start)
    for item in items:
        stream.write(item_html(item))
    stream.write(end)


def inline_html(items: Sequence[ReportItem], head: ReportHead) -> str:
    """The same page inside a frame for a notebook cell.

    A frame of its own keeps the notebook's styles and the viewer's apart and needs no extension;
    it is sandboxed: it may run its script and nothing else.
    """
    start, end = page_frame(head, kind="inline")
    page = start + "".join(map(item_html, items)) + end
    height = 640 if len(items) <= 3 else 1100
    return (
        f'<iframe srcdoc="{html.escape(page)}" sandbox="allow-scripts" title="capjax" '
        f'style="width:100%;height:{height}px;border:0" loading="lazy"></iframe>'
    )


def page_frame(head: ReportHead, kind: str) -> tuple[str, str]:
    """The page before and after its items: of the kind "report", or "inline" in a notebook."""
    page = Template(viewer_part("page.html")).substitute(
        kind=kind,
        title=escaped(head.title),
        style=viewer_part("page.css"),
        script="\n".join(map(viewer_part, SCRIPTS)),
        summary="".join(
            f"<div><dt>{escaped(name)}</dt><dd>{escaped(value)}</dd></div>"
            for name, value in head.summary.items()
        ),
        introduction=_failures(head.failures, head.noun)
        + _left_out(head.notes)
        + "".join(summary_html(*own) for own in head.summaries.items()),
        toolbar=toolbar_html(head.methods, _measures(head.measures)),
        navigation=_navigation(head.links),
        report=json_text(
            {"ranges": head.ranges, "run": head.run, "model": head.model, "units": head.units}
        ),
    )
    start, end = page.split("<!--items-->\n")
    return start, end


def toolbar_html(methods: Sequence[str], measures: str = "") -> str:
    """The controls of how maps are drawn, for `toolbar.js`; `measures` says what they explain."""
    return Template(viewer_part("toolbar.html")).substitute(
        methods="".join(f"<option>{escaped(method)}</option>" for method in methods),
        measures=escaped(measures),
    )


@functools.cache
def viewer_part(name: str) -> str:
    """A file of the viewer, which other pages are built from too."""
    return importlib.resources.files("capjax.viz").joinpath("page", name).read_text("utf-8")


def _failures(failures: Sequence[tuple[str, str]], noun: str, shown: int = 300) -> str:
    if not failures:
        return ""
    rows = "".join(
        f"<li><code>{escaped(name)}</code>: {escaped(error)}</li>"
        for name, error in failures[:shown]
    )
    rest = f"<li>and {len(failures) - shown} more</li>" if len(failures) > shown else ""
    return (
        f'<details class="failures"><summary>{counted(len(failures), noun)} could not be '
        f"explained</summary>"
        f"<ul>{rows}{rest}</ul></details>"
    )


def _left_out(notes: Sequence[str]) -> str:
    return "".join(f'<p class="note">{escaped(note)}</p>' for note in notes)


def _measures(measures: Mapping[str, str | None]) -> str:
    """What the maps explain: the one measure of all methods, or each with its methods."""
    methods: dict[str, list[str]] = {}
    for method, measure in measures.items():
        methods.setdefault(measure or "none", []).append(method)
    if len(methods) > 1:
        return "Measure " + ", ".join(f"{one} ({', '.join(own)})" for one, own in methods.items())
    return " ".join(["Measure", *methods]) if methods else ""


def _navigation(links: Sequence[tuple[str, str, bool]]) -> str:
    if len(links) < 2:
        return ""
    entries = [
        f'<b aria-current="page">{escaped(text)}</b>'
        if current
        else f'<a href="{escaped(address)}">{escaped(text)}</a>'
        for text, address, current in links
    ]
    return f'<nav aria-label="pages">Pages {" ".join(entries)}</nav>'
