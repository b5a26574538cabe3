"""Findings of studies and their summaries as HTML: pictures side by side, tables, numbers."""

import base64
import html
import io
from collections.abc import Mapping

import numpy as np
from PIL import Image

from capjax.studies.contract import Cell, Curve, Finding, Summary, Table
from capjax.viz.charts.line_chart import SHARPNESS, line_chart

PICTURE_SIDE = 320
"""Most pixels of the longest side of a picture in a page; files beside it are whole."""


def finding_html(study: str, finding: Finding) -> str:
    """One finding under its study's name."""
    if finding.refused is not None:
        body = f"<p>nothing found: {html.escape(finding.refused)}</p>"
    else:
        pictures = "".join(_picture(title, own) for title, own in finding.pictures.items())
        body = f'<div class="pictures">{pictures}</div>' if pictures else ""
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


def _picture(title: str, picture: np.ndarray) -> str:
    image = Image.fromarray(picture)
    image.thumbnail((PICTURE_SIDE, PICTURE_SIDE))
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=85)
    data = base64.b64encode(stream.getvalue()).decode()
    text = html.escape(title)
    return (
        f'<figure><img src="data:image/jpeg;base64,{data}" width="{image.width}" '
        f'height="{image.height}" alt="{text}"><figcaption>{text}</figcaption></figure>'
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
            "<tr>" + "".join(f"<td>{_cell(cell)}</td>" for cell in row) + "</tr>"
            for row in table.rows
        )
        found.append(
            f"<table><caption>{html.escape(title)}</caption><thead><tr>{head}</tr></thead>"
            f"<tbody>{rows}</tbody></table>"
        )
    return found


def _cell(cell: Cell) -> str:
    if cell is None:
        return "—"
    return f"{cell:.4g}" if isinstance(cell, float) else html.escape(str(cell))
