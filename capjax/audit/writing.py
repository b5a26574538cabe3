"""Writes an audit: the page, its tables as CSV and Parquet, and what it was made from.

index.html        the page
<table>.csv       every table whole; <table>.parquet too where that was asked for
audit.json        options, what was audited, and which files belong to the audit
"""

import io
import json
import math
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image

from capjax.audit.contract import FLAGGED, Answered, Example, Question
from capjax.folder.maps.arrow import import_pyarrow
from capjax.folder.maps.contract import UNREADABLE
from capjax.folder.opened.image import ImageResult
from capjax.folder.opened.results import Results
from capjax.runtime.files import printable, replacing
from capjax.studies.contract import Cell, Table
from capjax.viz.audit.page import Section, ShownExample, ShownTable, page_html
from capjax.viz.report.page import thumbnail

INDEX, DESCRIBED = "index.html", "audit.json"
REPORT = "index.html"
"""Of the run."""
SIDE = 220
"""Most pixels of the longest side of an example's picture."""


def write_audit(
    out: pathlib.Path,
    results: Results,
    answers: Sequence[tuple[Question, Answered]],
    *,
    facts: Mapping[str, str],
    notes: Sequence[str],
    formats: Sequence[str],
    described: Mapping[str, Any],
) -> None:
    """Writes all files of an audit, each whole; those of an earlier audit that are no more go.

    Args:
      out: folder that no other process writes into.
      results: that were audited.
      answers: in order.
      facts, notes: for the head of the page.
      formats: of tables, "csv" and "parquet".
      described: for audit.json.
    """
    before = _files_before(out)
    files = [INDEX]
    sections = []
    for question, answer in answers:
        tables = []
        for title, table in answer.tables.items():
            names = {form: f"{title.replace(' ', '_')}.{form}" for form in formats}
            whole = Table(table.columns, tuple(tuple(map(_plain, row)) for row in table.rows))
            for form, name in names.items():
                write_table(out / name, whole, form)
            files += names.values()
            tables.append(ShownTable(title, whole, {n: n for n in names.values()}, _marked(whole)))
        sections.append(
            Section(
                question.TITLE,
                question.ABOUT,
                answer.found,
                answer.missing,
                tables,
                [_shown(out, results, example) for example in answer.examples],
                answer.maps,
            )
        )
    page = page_html("Audit of a run", facts, notes, sections)
    with replacing(out / INDEX) as stream:
        stream.write(page.encode("utf-8", "xmlcharrefreplace"))
    found = {question.TITLE: list(answer.found) for question, answer in answers}
    body = {**described, "found": found, "files": sorted(files)}
    with replacing(out / DESCRIBED) as stream:
        stream.write((json.dumps(body, indent=2) + "\n").encode())
    for stale in before - set(files):
        (out / stale).unlink(missing_ok=True)


def write_table(path: pathlib.Path, table: Table, form: str) -> None:
    """Writes a table as "csv" or "parquet".

    Raises:
      ImportError: Parquet without pyarrow.
    """
    if form == "csv":
        with replacing(path) as stream:
            stream.write(table.to_csv().encode(errors="backslashreplace"))
        return
    pa = import_pyarrow()
    import pyarrow.parquet as parquet

    columns = zip(table.columns, zip(*table.rows, strict=True), strict=True) if table.rows else ()
    arrays = {name: pa.array(own, _kind(pa, own)) for name, own in columns}
    whole = pa.table(arrays or {name: pa.nulls(0) for name in table.columns})
    with replacing(path) as stream:
        parquet.write_table(whole, stream)


def _kind(pa: Any, values: Sequence[Cell]) -> Any:
    if any(isinstance(value, str) for value in values):
        return pa.string()
    return pa.float64() if any(isinstance(value, float) for value in values) else pa.int64()


def _plain(cell: Cell) -> Cell:
    """A cell without NaN, which files and pages have no word for."""
    if isinstance(cell, float) and not math.isfinite(cell):
        return None
    return printable(cell) if isinstance(cell, str) else cell


def _marked(table: Table) -> frozenset[int]:
    if FLAGGED not in table.columns:
        return frozenset()
    place = table.columns.index(FLAGGED)
    return frozenset(number for number, row in enumerate(table.rows) if row[place])


def _files_before(out: pathlib.Path) -> set[str]:
    try:
        files = json.loads((out / DESCRIBED).read_text("utf-8"))["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return set()
    return {name for name in files if isinstance(name, str) and pathlib.Path(name).name == name}


def _shown(out: pathlib.Path, results: Results, example: Example) -> ShownExample:
    """An example with its picture and where it leads: the overlay of its maps, and the report."""
    result = results[example.number]
    links = {}
    methods = dict(result.answers[0].methods) if result.answers else {}
    order = [example.method] if example.method in methods else list(methods)
    for method in order:
        overlay = methods[method].overlay
        if overlay is not None and (results.folder / overlay).is_file():
            links[f"maps ({method})"] = _address(out, results.folder / overlay)
            break
    if (results.folder / REPORT).is_file():
        links["report"] = _address(out, results.folder / REPORT)
    return ShownExample(
        printable(result.file), example.about, result.caption, _picture(result), links
    )


def _picture(result: ImageResult) -> bytes | None:
    """A small picture of an image; None where it was removed or is damaged."""
    try:
        stored = Image.open(io.BytesIO(result.maps.thumbnail(result.record)))
        return thumbnail(stored.convert("RGB"), SIDE)
    except UNREADABLE:
        return None


def _address(out: pathlib.Path, path: pathlib.Path) -> str:
    return pathlib.Path(os.path.relpath(path.resolve(), out.resolve())).as_posix()
