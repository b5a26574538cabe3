"""Tables of the grounding scores of several methods, with their baselines."""

from collections.abc import Mapping, Sequence
from typing import Any

from capjax.runtime.text_table import format_table

MOST_COLUMNS = 12
"""Classes beyond this many are left to the JSON file."""

_TABLES = (
    ("pointing_game", "Pointing game", ("random", "centre")),
    ("pointing_game_over_centre", "Over the centre", ()),
    ("attention_correctness", "Attention correctness", ("uniform",)),
)

_DIFFERENCES = ("pointing_game_over_centre",)


def format_grounding(grounding: Mapping[str, Mapping[str, Any]]) -> str:
    """A table a metric, from what `metrics.json` has under `grounding`.

    Rows are baselines and methods. Columns are the groups, or the categories where they are few,
    and last the micro average over all phrases with its 95 % interval.
    """
    lines: list[str] = []
    first = next(iter(grounding.values()))
    if "n" in first:
        for name, title, baselines in _TABLES:
            lines += [_table(grounding, name, title, baselines), ""]
    if "temporal" in first:
        temporal = {method: own["temporal"] for method, own in grounding.items()}
        title = "Temporal pointing"
        lines += [_table(temporal, "temporal_pointing", title, ("random",)), ""]
    protocol = ", ".join(f"{key}={value}" for key, value in first["protocol"].items())
    notes = [f"note: {note}" for note in first.get("notes", ())]
    return "\n".join([*lines, f"protocol: {protocol}", *notes])


def _table(
    grounding: Mapping[str, Mapping[str, Any]], name: str, title: str, baselines: Sequence[str]
) -> str:
    first = next(iter(grounding.values()))
    parts = first.get("groups") or first["categories"]
    columns = list(parts) if len(parts) <= MOST_COLUMNS else []
    key = "groups" if "groups" in first else "categories"
    rows = [[title, *columns, "micro average"]]
    rows.append(["n", *(str(parts[column]["n"]) for column in columns), str(first["n"])])
    for baseline in baselines:
        cells = [_cell(parts[c]["baselines"], parts[c], baseline, False) for c in columns]
        rows.append([baseline, *cells, _cell(first["baselines"], first, baseline, True)])
    for method, own in grounding.items():
        cells = [_cell(own[key][c], own[key][c], name, key == "groups") for c in columns]
        rows.append([method, *cells, _cell(own, own, name, True)])
    return format_table(rows)


def _cell(values: Mapping[str, Any], part: Mapping[str, Any], name: str, interval: bool) -> str:
    sign = "+" if name in _DIFFERENCES else ""
    ends = [values[name], *(part["interval"][name] if interval else ())]
    value, *between = (f"{end:{sign}.3f}" for end in ends)
    return f"{value} [{', '.join(between)}]" if between else value
