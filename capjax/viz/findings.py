"""Findings of studies and their summaries as HTML: pictures side by side, tables, numbers."""

import base64
import dataclasses
import html
import io
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from PIL import Image

from capjax.studies.contract import Cell, Curve, Finding, Spot, Summary, Table
from capjax.studies.counterfactual.record import Counterfactuals
from capjax.viz.charts.line_chart import SHARPNESS, line_chart
from capjax.viz.counterfactual.pictures import pictures as counterfactual_pictures
from capjax.viz.scrolled import scrolled

PICTURE_SIDE = 320
"""Most pixels of the longest side of a picture in a page; files beside it are whole."""


MOST_ROWS = 8
"""Of a table that is shown at once; longer ones are opened."""
SENTENCE = 24
"""Letters from which a cell is given room."""

RENDERERS: Mapping[type, Callable[[Any], Mapping[str, np.ndarray]]] = {
    Counterfactuals: counterfactual_pictures,
}
"""Kind of a finding's record -> what draws its pictures, by title."""


def with_drawn(finding: Finding) -> Finding:
    """The finding with the pictures that are drawn from its record before its own."""
    if finding.record is None:
        return finding
    own = RENDERERS[type(finding.record)](finding.record)
    return dataclasses.replace(finding, pictures={**own, **finding.pictures}, record=None)


def finding_html(study: str, finding: Finding) -> str:
    """One finding under its study's name."""
    if finding.refused is not None:
        body = f"<p>nothing found: {html.escape(finding.refused)}</p>"
    else:
        others = dict(finding.pictures)
        body = ""
        if spots := {title: spot for title, spot in finding.spots.items() if title in others}:
            first = next(iter(others))
            worlds = {title: others.pop(title) for title in (first, *spots)}
            body = _worlds(worlds, spots)
        pictures = "".join(_picture(title, own) for title, own in others.items())
        body += f'<div class="pictures">{pictures}</div>' if pictures else ""
        body += _numbers(finding.numbers) + "".join(_tables(finding.tables))
    return f'<section class="finding"><h3>{html.escape(study)}</h3>{body}</section>'


def summary_html(study: str, summary: Summary) -> str:
    """What all findings of a study come to; empty where they come to nothing."""
    charts = "".join(_chart(title, own) for title, own in summary.curves.items())
    body = f'<div class="pictures">{charts}</div>' if charts else ""
    body += _numbers(summary.numbers) + "".join(_tables(summary.tables))
    if not body:
        return ""
    return f'<section class="finding"><h3>{html.escape(study)}</h3>{body}</section>'


def _worlds(pictures: Mapping[str, np.ndarray], spots: Mapping[str, Spot]) -> str:
    """The first picture with its places to tap, and the others that take its place."""
    first, *rest = pictures
    images = _image(first, pictures[first])
    images += "".join(_image(title, pictures[title], hidden=True) for title in rest)
    # Places within others come last, so that they lie on top.
    order = sorted(rest, key=lambda title: -_area(spots[title].box))
    places = {title: number for number, title in enumerate(rest)}
    buttons = "".join(_spot(title, spots[title], places[title]) for title in order)
    said = f'<p class="said">{html.escape(first)}; tap an object to see the picture without it</p>'
    said += "".join(f'<p class="said" hidden>{_said(title, spots[title])}</p>' for title in rest)
    return f'<div class="worlds"><div class="stage">{images}{buttons}</div>{said}</div>'


def _spot(title: str, spot: Spot, number: int) -> str:
    x0, y0, x1, y1 = (100 * end for end in spot.box)
    style = f"left:{x0:.2f}%;top:{y0:.2f}%;width:{x1 - x0:.2f}%;height:{y1 - y0:.2f}%"
    return (
        f'<button type="button" class="spot" data-view="{number + 1}" aria-pressed="false" '
        f'title="{html.escape(title)}" aria-label="{html.escape(title)}" style="{style}"></button>'
    )


def _area(box: tuple[float, float, float, float]) -> float:
    x0, y0, x1, y1 = box
    return (x1 - x0) * (y1 - y0)


def _said(title: str, spot: Spot) -> str:
    """What is said of the other picture: words lost struck out, words gained underlined."""
    marks = {"lost": "del", "gained": "ins"}
    words = [
        f"<{marks[change]}>{html.escape(word)}</{marks[change]}>"
        if change in marks
        else html.escape(word)
        for word, change in spot.words
    ]
    return f"<b>{html.escape(title)}:</b> {' '.join(words)}"


def _picture(title: str, picture: np.ndarray) -> str:
    text = html.escape(title)
    return f"<figure>{_image(title, picture)}<figcaption>{text}</figcaption></figure>"


def _image(title: str, picture: np.ndarray, *, hidden: bool = False) -> str:
    image = Image.fromarray(picture)
    image.thumbnail((PICTURE_SIDE, PICTURE_SIDE))
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=85)
    data = base64.b64encode(stream.getvalue()).decode()
    return (
        f'<img src="data:image/jpeg;base64,{data}" width="{image.width}" '
        f'height="{image.height}" alt="{html.escape(title)}"{" hidden" if hidden else ""}>'
    )


def _chart(title: str, curve: Curve) -> str:
    """A chart is a PNG: lines and small letters suffer from JPEG."""
    image = line_chart(curve)
    stream = io.BytesIO()
    image.save(stream, "PNG")
    data = base64.b64encode(stream.getvalue()).decode()
    text = html.escape(title)
    return (
        f'<figure><img src="data:image/png;base64,{data}" width="{image.width // SHARPNESS}" '
        f'height="{image.height // SHARPNESS}" alt="{text}"><figcaption>{text}</figcaption>'
        "</figure>"
    )


def _numbers(numbers: Mapping[str, float]) -> str:
    facts = [f"{html.escape(name)} <b>{value:.4g}</b>" for name, value in numbers.items()]
    return f'<p class="facts">{" · ".join(facts)}</p>' if facts else ""


def _tables(tables: Mapping[str, Table]) -> list[str]:
    found = []
    for title, table in tables.items():
        head = "".join(f"<th>{html.escape(name)}</th>" for name in table.columns)
        rows = "".join(
            "<tr>" + "".join(f"<td{_kind(cell)}>{_cell(cell)}</td>" for cell in row) + "</tr>"
            for row in table.rows
        )
        text = (
            f"<table><caption>{html.escape(title)}</caption><thead><tr>{head}</tr></thead>"
            f"<tbody>{rows}</tbody></table>"
        )
        long = len(table.rows) > MOST_ROWS
        found.append(
            f'<details class="wide"><summary>{html.escape(title)}: {len(table.rows)} rows</summary>'
            f"{text}</details>"
            if long
            else scrolled(text, title)
        )
    return found


def _kind(cell: Cell) -> str:
    return ' class="prose"' if isinstance(cell, str) and len(cell) > SENTENCE else ""


def _cell(cell: Cell) -> str:
    if cell is None:
        return "—"
    return f"{cell:.4g}" if isinstance(cell, float) else html.escape(str(cell))
