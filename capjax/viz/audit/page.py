"""The page of an audit: no script, nothing from elsewhere; examples lead to the run's pictures."""

import base64
import dataclasses
import io
import urllib.parse
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from PIL import Image

from capjax.studies.contract import Cell, Table
from capjax.viz.colormaps import colour_table
from capjax.viz.report.item import ANY, escaped
from capjax.viz.report.page import viewer_part
from capjax.viz.scrolled import scrolled

MOST_ROWS = 30
"""Of a table on the page; its files have all."""
SENTENCE = 24
"""Letters from which a cell is given room."""


@dataclasses.dataclass(frozen=True, eq=False)
class ShownExample:
    """An image to look at.

    Attributes:
      name: of its file.
      about: what it is an example of.
      caption: of it.
      picture: a JPEG file's bytes, small; None where there is none.
      links: what it says -> address, relative to the page; the first is where the picture leads.
    """

    name: str
    about: str
    caption: str
    picture: bytes | None
    links: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, eq=False)
class ShownTable:
    """A table and its files.

    Attributes:
      title: of the table.
      table: all of it.
      files: what it says -> address, relative to the page.
      marked: rows to mark.
    """

    title: str
    table: Table
    files: Mapping[str, str]
    marked: frozenset[int] = frozenset()


@dataclasses.dataclass(frozen=True, eq=False)
class Section:
    """A question and its answer.

    Attributes:
      title: the question.
      about: how it was answered.
      found: sentences.
      missing: sentences on what could not be answered.
      tables, examples: below them.
      maps: label -> [h w] a map to show, each from zero to its own largest value.
    """

    title: str
    about: str
    found: Sequence[str] = ()
    missing: Sequence[str] = ()
    tables: Sequence[ShownTable] = ()
    examples: Sequence[ShownExample] = ()
    maps: Mapping[str, Float[np.ndarray, "h w"]] = dataclasses.field(default_factory=dict)


def page_html(
    title: str, facts: Mapping[str, str], notes: Sequence[str], sections: Sequence[Section]
) -> str:
    """The whole page.

    Args:
      title: first line.
      facts: name -> value, below it.
      notes: sentences on what was left out.
      sections: in order.
    """
    summary = "".join(
        f"<div><dt>{escaped(name)}</dt><dd>{escaped(value)}</dd></div>"
        for name, value in facts.items()
    )
    contents = "".join(
        f'<li><a href="#q{number}">{escaped(own.title)}</a> {_first(own)}</li>'
        for number, own in enumerate(sections, start=1)
    )
    body = "".join(_section(number, own) for number, own in enumerate(sections, start=1))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="color-scheme" content="light dark"><title>{escaped(title)}</title>\n'
        f"<style>\n{viewer_part('page.css')}{viewer_part('audit.css')}</style></head>\n"
        f'<body><header><h1>{escaped(title)}</h1><dl class="summary">{summary}</dl>'
        f"{_notes(notes)}</header>\n"
        f'<nav class="contents" aria-label="questions"><ol>{contents}</ol></nav>\n{body}'
        "</body></html>\n"
    )


def _first(section: Section) -> str:
    """The first sentence of an answer, or what is missing."""
    texts = [*section.found, *section.missing]
    return f"<span>{escaped(texts[0])}</span>" if texts else ""


def _section(number: int, section: Section) -> str:
    found = "".join(f"<p>{escaped(text)}</p>" for text in section.found)
    maps = "".join(_map(label, own) for label, own in section.maps.items())
    examples = "".join(map(_example, section.examples))
    return (
        f'<section class="question" id="q{number}"><h2>{escaped(section.title)}</h2>'
        f'<p class="about">{escaped(section.about)}</p>{_notes(section.missing)}{found}'
        + (f'<div class="maps">{maps}</div>' if maps else "")
        + "".join(map(_table, section.tables))
        + (f'<div class="examples">{examples}</div>' if examples else "")
        + "</section>\n"
    )


def _notes(texts: Sequence[str]) -> str:
    return "".join(f'<p class="note">{escaped(text)}</p>' for text in texts)


def _table(shown: ShownTable) -> str:
    table, rows = shown.table, shown.table.rows
    numeric = [
        all(not isinstance(row[at], str) for row in rows) for at in range(len(table.columns))
    ]
    head = "".join(
        f'<th scope="col"{_kind(None, number)}>{escaped(name)}</th>'
        for name, number in zip(table.columns, numeric, strict=True)
    )
    lines = []
    for number, row in enumerate(rows[:MOST_ROWS]):
        cells = "".join(
            f"<td{_kind(cell, own)}>{_cell(cell)}</td>"
            for cell, own in zip(row, numeric, strict=True)
        )
        mark = ' class="flagged"' if number in shown.marked else ""
        lines.append(f"<tr{mark}>{cells}</tr>")
    some = f"the first {MOST_ROWS} of " if len(rows) > MOST_ROWS else ""
    links = ", ".join(_link(text, address) for text, address in shown.files.items())
    rest = f"{shown.title}: {some}{len(rows):,} {'row' if len(rows) == 1 else 'rows'}"
    return scrolled(
        f"<table><caption>{escaped(rest)} · {links}</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>",
        shown.title,
    )


def _kind(cell: Cell, number: bool) -> str:
    if number:
        return ' class="number"'
    return ' class="prose"' if isinstance(cell, str) and len(cell) > SENTENCE else ""


def _cell(cell: Cell) -> str:
    if cell is None:
        return "—"
    if isinstance(cell, float):
        return f"{cell:.3g}"
    return f"{cell:,}" if isinstance(cell, int) else f"<bdi {ANY}>{escaped(cell)}</bdi>"


def _link(text: str, address: str) -> str:
    quoted = urllib.parse.quote(address, errors="surrogateescape")
    return f'<a href="{escaped(quoted)}">{escaped(text)}</a>'


def _example(example: ShownExample) -> str:
    picture = ""
    if example.picture is not None:
        data = base64.b64encode(example.picture).decode()
        picture = f'<img loading="lazy" src="data:image/jpeg;base64,{data}" alt="">'
        if example.links:
            address = next(iter(example.links.values()))
            quoted = escaped(urllib.parse.quote(address, errors="surrogateescape"))
            picture = f'<a href="{quoted}">{picture}</a>'
    links = " · ".join(_link(text, address) for text, address in example.links.items())
    return (
        f"<figure>{picture}<figcaption><b>{escaped(example.about)}</b>"
        f"<span><bdi {ANY}>{escaped(example.caption)}</bdi></span>"
        f"<span><code>{escaped(example.name)}</code></span><span>{links}</span></figcaption>"
        "</figure>"
    )


def _map(label: str, values: Float[np.ndarray, "h w"]) -> str:
    largest = float(np.max(values))
    levels = np.round(255 * values / largest if largest > 0 else values).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(colour_table("heat")[levels]).save(stream, "PNG")
    data = base64.b64encode(stream.getvalue()).decode()
    text = escaped(label)
    return (
        f'<figure><img src="data:image/png;base64,{data}" alt="mean map of {text}">'
        f"<figcaption>{text}</figcaption></figure>"
    )
