"""The table of faithfulness: for a terminal, and as comma-separated values."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from capjax.metrics.faithfulness_summary import COLUMNS, Column
from capjax.runtime.text_table import format_table

ARROWS = {"high": "↑", "low": "↓", None: ""}


def shown_columns(faithfulness: Mapping[str, Mapping[str, Any]]) -> list[Column]:
    """The columns for people that some method has a number for."""
    own = faithfulness.values()
    return [
        column
        for column in COLUMNS
        if column.shown and any(column.name in scores for scores in own)
    ]


def format_faithfulness(
    faithfulness: Mapping[str, Mapping[str, Any]],
    agreement: Sequence[Mapping[str, Any]] = (),
    notes: Sequence[str] = (),
) -> str:
    """Every method a row: values with their 95 % intervals over images, then what they agree on.

    Args:
      faithfulness: method -> its scores, or `refused`, the reason why it has none.
      agreement: from `rank_agreement`.
      notes: sentences for the end.
    """
    columns = shown_columns(faithfulness)
    rows = [["Faithfulness", *(f"{c.title} {ARROWS[c.better]}".rstrip() for c in columns), "im/s"]]
    for method, own in faithfulness.items():
        if "refused" not in own:
            mark = " (insensitive)" if own.get("insensitive") else ""
            cells = [" ".join(part for part in cell(own, column)) for column in columns]
            rows.append([method + mark, *cells, speed(own)])
    lines = [format_table(rows)]
    lines += [
        f"{method}: {own['refused']}" for method, own in faithfulness.items() if "refused" in own
    ]
    if agreement:
        lines += ["", _agreement(agreement)]
    return "\n".join([*lines, *(f"note: {note}" for note in notes)])


def cell(scores: Mapping[str, Any], column: Column) -> tuple[str, str]:
    """A value and its interval, as ".451" and ".39-.50"; dashes where there is none."""
    if column.name not in scores:
        return "-", ""
    low, high = scores["interval"][column.name]
    return _short(scores[column.name], 3), f"{_short(low, 2)}–{_short(high, 2)}"


def speed(scores: Mapping[str, Any]) -> str:
    """Images a second, with three digits; a dash where none was timed."""
    value = scores.get("images_per_second")
    if value is None:
        return "-"
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _short(value: float, digits: int) -> str:
    text = f"{value:.{digits}f}"
    return text.replace("0.", ".", 1) if text.lstrip("-").startswith("0.") else text


def _agreement(pairs: Sequence[Mapping[str, Any]]) -> str:
    """Spearman / Kendall of every pair of scores, as a triangle."""
    names = [column.name for column in COLUMNS if any(column.name in p["scores"] for p in pairs)]
    titles = {column.name: column.title for column in COLUMNS}
    found = {tuple(pair["scores"]): pair for pair in pairs}
    rows = [["Spearman / Kendall over methods", *(titles[name] for name in names[:-1])]]
    for at, name in enumerate(names[1:], 1):
        cells = []
        for other in names[:-1]:
            pair = found.get((other, name)) if names.index(other) < at else None
            cells.append(f"{pair['spearman']:+.2f} / {pair['kendall']:+.2f}" if pair else "")
        rows.append([titles[name], *cells])
    return format_table(rows)


def faithfulness_csv(faithfulness: Mapping[str, Mapping[str, Any]]) -> str:
    """One line a method: each score with the ends of its interval, speed, and what was refused."""
    columns = [column.name for column in COLUMNS]
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    ends = [name + end for name in columns for end in ("", "_low", "_high")]
    writer.writerow(["method", *ends, "insensitive", "images_per_second", "refused"])
    for method, own in faithfulness.items():
        numbers: list[Any] = []
        for name in columns:
            there = name in own
            numbers += [own[name], *own["interval"][name]] if there else ["", "", ""]
        last = [own.get(name, "") for name in ("insensitive", "images_per_second", "refused")]
        writer.writerow([method, *numbers, *last])
    return stream.getvalue()
