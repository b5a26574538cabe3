"""The table of fills: scores with intervals, and paired differences to one of the fills."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from capjax.evaluate.restoration.measuring import BETTER, SCORES, Values
from capjax.metrics.intervals import bootstrap_intervals
from capjax.runtime.text_table import format_table
from capjax.studies.contract import Table

TITLES = {
    "psnr_hole": "PSNR, hole",
    "ssim_hole": "SSIM, hole",
    "l1_hole": "L1, hole",
    "psnr": "PSNR",
    "ssim": "SSIM",
    "l1": "L1",
}
"""Score -> what it is called, in the order of the columns; those inside the hole come first."""


def summaries(values: Values, against: str | None = None) -> list[dict[str, Any]]:
    """One entry a kind and fill: mean and 95 % interval of each score over photographs.

    Args:
      values: with the photographs in one order.
      against: a fill; `better` is then how much better a fill is than it, paired, with an interval:
        above 0 is better in every score.
    """
    found = []
    for (kind, fill), own in values.items():
        entry = {"holes": kind, "fill": fill, "n": len(own[SCORES[0]]), "scores": _means(own)}
        if against is not None and fill != against:
            other = values[kind, against]
            entry["better"] = _means(
                {
                    name: BETTER[name] * (np.array(own[name]) - np.array(other[name]))
                    for name in SCORES
                }
            )
        found.append(entry)
    return found


def _means(scores: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    table = np.array([scores[name] for name in SCORES])
    ends = bootstrap_intervals(table, range(table.shape[1]))
    return {
        name: {"value": float(row.mean()), "interval": list(map(float, own))}
        for name, row, own in zip(SCORES, table, ends, strict=True)
    }


def as_table(found: Sequence[Mapping[str, Any]]) -> Table:
    """Every number, a column each."""
    columns = ["holes", "fill", "n"]
    for name in TITLES:
        columns += [name, f"{name}_low", f"{name}_high"]
    rows = []
    for entry in found:
        cells = [entry["holes"], entry["fill"], entry["n"]]
        for name in TITLES:
            cells += [entry["scores"][name]["value"], *entry["scores"][name]["interval"]]
        rows.append(tuple(cells))
    return Table(tuple(columns), tuple(rows))


def as_text(found: Sequence[Mapping[str, Any]], against: str | None = None) -> str:
    """The table for people, and that of the differences where there are some."""
    n = found[0]["n"]
    parts = [_text(found, "scores", f"mean [95 %] over {n}", sign="")]
    compared = [entry for entry in found if "better" in entry]
    if compared:
        parts.append(_text(compared, "better", f"better than {against}", sign="+"))
    return "\n\n".join(parts)


def _text(found: Sequence[Mapping[str, Any]], part: str, corner: str, sign: str) -> str:
    rows = [[corner, "", *TITLES.values()]]
    for entry in found:
        cells = []
        for name in TITLES:
            value, places = entry[part][name], 2 if name.startswith("psnr") else 4
            numbers = [f"{own:{sign}.{places}f}" for own in (value["value"], *value["interval"])]
            cells.append(f"{numbers[0]} [{numbers[1]}, {numbers[2]}]")
        rows.append([entry["holes"], entry["fill"], *cells])
    return format_table(rows, left=2)
