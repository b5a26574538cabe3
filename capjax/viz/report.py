"""The HTML viewer of explanations: one self-contained page, offline, streamed to disk.

The same page serves `explain.py`'s report and a notebook cell. Photographs are embedded as JPEG
thumbnails and maps as raw float32 arrays; the browser draws them, so every number stays available.
"""

import base64
import dataclasses
import functools
import html
import importlib.resources
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from string import Template
from typing import Any, TextIO

import numpy as np
from PIL import Image

from capjax.types import Explanation

THUMBNAIL_SIDE = 320


@dataclasses.dataclass(frozen=True)
class ReportItem:
    """One image of a report.

    Attributes:
      name: shown above the words, and the key of the reader's marks.
      thumbnail: JPEG bytes of the upright photograph, whole, any size.
      caption: what the captioner says by itself.
      explanations: of the same words, one a method; at least one.
      query: the sentence that was explained instead of the caption, if any.
      references: captions written by people.
      scores: name -> score of the caption.
    """

    name: str
    thumbnail: bytes
    caption: str
    explanations: Sequence[Explanation]
    query: str | None = None
    references: Sequence[str] = ()
    scores: Mapping[str, float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class ReportHead:
    """What a page says about the whole run.

    Attributes:
      title: first line.
      summary: name -> value lines under it.
      methods: names, in the order of the menu.
      ranges: method -> (lowest, highest) value of the run, for the raw scale.
      run: digest that keeps this run's marks apart from other runs'.
      model: digest of the model.
      failures: (file, error) of images that could not be explained.
      links: (text, address, is this page) of the report's pages.
    """

    title: str
    summary: Mapping[str, str] = dataclasses.field(default_factory=dict)
    methods: Sequence[str] = ()
    ranges: Mapping[str, tuple[float, float]] = dataclasses.field(default_factory=dict)
    run: str = ""
    model: str = ""
    failures: Sequence[tuple[str, str]] = ()
    links: Sequence[tuple[str, str, bool]] = ()


def thumbnail(image: np.ndarray | Image.Image, side: int = THUMBNAIL_SIDE) -> bytes:
    """JPEG of an upright RGB image [H W 3] whose longest side is at most `side` pixels."""
    picture = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    scale = side / max(picture.size)
    if scale < 1:
        size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
        picture = picture.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
    stream = io.BytesIO()
    picture.convert("RGB").save(stream, "JPEG", quality=82)
    return stream.getvalue()


def write_page(stream: TextIO, items: Iterable[ReportItem], head: ReportHead) -> None:
    """Writes one self-contained page; `items` are taken one by one, so memory stays flat."""
    start, end = _frame(head, kind="report")
    stream.write(start)
    for item in items:
        stream.write(item_html(item))
    stream.write(end)


def inline_html(items: Sequence[ReportItem], head: ReportHead) -> str:
    """The same page inside a frame for a notebook cell.

    A frame of its own keeps the notebook's styles and the viewer's apart and needs no extension;
    it is sandboxed: it may run its script and nothing else.
    """
    start, end = _frame(head, kind="inline")
    page = start + "".join(map(item_html, items)) + end
    height = 640 if len(items) <= 3 else 1100
    return (
        f'<iframe srcdoc="{html.escape(page)}" sandbox="allow-scripts" title="capjax" '
        f'style="width:100%;height:{height}px;border:0" loading="lazy"></iframe>'
    )


def item_html(item: ReportItem) -> str:
    """One image as an `<article>`: readable as it is, drawn over by the page's script."""
    first = item.explanations[0]
    picture = base64.b64encode(item.thumbnail).decode()
    width, height = Image.open(io.BytesIO(item.thumbnail)).size
    text = " ".join([item.caption, *first.words, *item.references])
    lines = [
        f'<article class="item" data-file="{_text(item.name)}" data-text="{_text(text)}">',
        f'<div class="photo"><img src="data:image/jpeg;base64,{picture}" width="{width}" '
        f'height="{height}" alt="{_text(item.name)}: {_text(item.caption)}"></div>',
        '<div class="bar idle"><span class="low"></span><canvas aria-hidden="true"></canvas>'
        '<span class="high"></span><span class="readout" aria-live="polite"></span></div>',
        '<div class="text">',
        f'<div class="words" role="group" aria-label="words">{_words(first)}</div>',
    ]
    if item.query is not None:
        lines.append(f'<p class="own">The model itself says: {_text(item.caption)}</p>')
    lines += [f'<p class="note">{_text(note)}</p>' for note in _notes(item.explanations)]
    lines.append(f'<p class="facts">{_facts(item)}</p>')
    if item.references:
        entries = "".join(f"<li>{_text(reference)}</li>" for reference in item.references)
        lines.append(
            f"<details><summary>{_count(len(item.references), 'caption')} by people</summary>"
            f"<ul>{entries}</ul></details>"
        )
    lines += [
        '<div class="actions"><button type="button" data-mark="right" aria-pressed="false">'
        '✓ right</button><button type="button" data-mark="wrong" aria-pressed="false">✗ wrong'
        '</button><button type="button" data-all aria-expanded="false">all words</button></div>',
        '<div class="all" hidden></div>',
        f'</div><script type="application/json">{_json(_map_data(item))}</script></article>\n',
    ]
    return "\n".join(lines)


def _frame(head: ReportHead, kind: str) -> tuple[str, str]:
    """The page before and after its items."""
    page = Template(_part("page.html")).substitute(
        kind=kind,
        title=_text(head.title),
        style=_part("page.css"),
        script=_part("page.js"),
        summary="".join(
            f"<div><dt>{_text(name)}</dt><dd>{_text(value)}</dd></div>"
            for name, value in head.summary.items()
        ),
        introduction=_failures(head.failures),
        methods="".join(f"<option>{_text(method)}</option>" for method in head.methods),
        navigation=_navigation(head.links),
        report=_json({"ranges": head.ranges, "run": head.run, "model": head.model}),
    )
    start, end = page.split("<!--items-->\n")
    return start, end


@functools.cache
def _part(name: str) -> str:
    return importlib.resources.files("capjax.viz").joinpath("page", name).read_text("utf-8")


def _words(explanation: Explanation) -> str:
    unknown = set(explanation.flags.get("unknown_words", ()))
    buttons = []
    for index, word in enumerate(explanation.words):
        kind = "word unknown" if index in unknown else "word"
        title = ' title="not in the model’s vocabulary"' if index in unknown else ""
        probability = float(np.exp(explanation.score[index]))
        buttons.append(
            f'<button type="button" class="{kind}"{title} aria-pressed="false" '
            f'style="--p:{probability:.3f}">{_text(word)}</button>'
        )
    return "".join(buttons)


def _notes(explanations: Sequence[Explanation]) -> list[str]:
    """Warnings a reader needs before trusting the maps."""
    notes = []
    for explanation in explanations:
        flags, method = explanation.flags, explanation.method
        constant = [explanation.words[index] for index in flags.get("degenerate_words", ())]
        if constant and len(constant) == len(explanation.words):
            notes.append(f"{method}: every map is constant, there is nothing to see.")
        elif constant:
            notes.append(f"{method}: constant map, nothing to see, for {', '.join(constant)}.")
        elif flags.get("flat"):
            notes.append(f"{method}: the maps of the words are nearly alike; read none by itself.")
    unknown = [explanations[0].words[i] for i in explanations[0].flags.get("unknown_words", ())]
    if unknown:
        notes.append(
            f"Not in the model’s vocabulary, explained as an unknown word: {', '.join(unknown)}."
        )
    if explanations[0].flags.get("unfinished"):
        notes.append("The caption was cut at the length limit.")
    return notes


def _facts(item: ReportItem) -> str:
    score = item.explanations[0].score
    facts = [_text(item.name)]
    facts += [f"{_text(name)} <b>{value:.3f}</b>" for name, value in item.scores.items()]
    if len(score):
        facts.append(f"mean log p <b>{float(np.mean(score)):.2f}</b>")
    return " · ".join(facts)


def _map_data(item: ReportItem) -> dict[str, Any]:
    first = item.explanations[0]
    geometry = first.geometry
    height, width = geometry.original
    x0, y0, _, _ = geometry.cell_box(0, 0)
    _, _, x1, y1 = geometry.cell_box(geometry.grid[0] - 1, geometry.grid[1] - 1)
    methods = {}
    for explanation in item.explanations:
        maps = np.asarray(explanation.maps, "<f4")
        if maps.ndim != 4 or maps.shape[1] != 1:
            raise ValueError(
                f"{item.name}: got {explanation.method} maps of shape {maps.shape}; the viewer "
                "draws images, [N 1 h w]"
            )
        methods[explanation.method] = {
            "maps": base64.b64encode(maps.tobytes()).decode(),
            "signed": bool((maps < 0).any()),
            "entropy": [_finite(value) for value in explanation.flags.get("entropy", ())],
        }
    return {
        "box": [x0 / width, y0 / height, x1 / width, y1 / height],
        "grid": list(geometry.grid),
        "words": list(first.words),
        "log_probs": [_finite(value) for value in first.score],
        "methods": methods,
    }


def _finite(value: float | None) -> float | None:
    """JSON has no infinity."""
    return round(float(value), 6) if value is not None and np.isfinite(value) else None


def _failures(failures: Sequence[tuple[str, str]], shown: int = 300) -> str:
    if not failures:
        return ""
    rows = "".join(
        f"<li><code>{_text(name)}</code>: {_text(error)}</li>" for name, error in failures[:shown]
    )
    rest = f"<li>and {len(failures) - shown} more</li>" if len(failures) > shown else ""
    return (
        f'<details class="failures"><summary>{_count(len(failures), "image")} could not be '
        f"explained</summary>"
        f"<ul>{rows}{rest}</ul></details>"
    )


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _navigation(links: Sequence[tuple[str, str, bool]]) -> str:
    if len(links) < 2:
        return ""
    entries = [
        f'<b aria-current="page">{_text(text)}</b>'
        if current
        else f'<a href="{_text(address)}">{_text(text)}</a>'
        for text, address, current in links
    ]
    return f'<nav aria-label="pages">Pages {" ".join(entries)}</nav>'


def _text(value: str) -> str:
    return html.escape(value, quote=True)


def _json(value: Any) -> str:
    """JSON that cannot end the script element it stands in."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
