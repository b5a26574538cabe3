"""Validation scores of several runs in one table, seeds together, published ones beside them.

    python -m capjax.experiment.table RUN [RUN …]

Runs of one recipe are one row: their settings, and those of the captioners that they started from,
differ only in the seed and in what no score depends on. A row has the mean over seeds and its 95 %
interval (Student's t), which says nothing about the sampling of images.
"""

import argparse
import dataclasses
import json
import math
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.special import stdtrit

from capjax.captioner import MODEL_FILE, captioner_folder
from capjax.config import with_defaults
from capjax.experiment.run import FINAL_FILE
from capjax.experiment.workdir import HARMLESS
from capjax.metrics.card import COLUMNS
from capjax.metrics.published import FACTS, published
from capjax.runtime.standard_streams import outlive_readers
from capjax.runtime.text_table import format_table

OK, USAGE = 0, 2


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
      name: what was run, or where the scores were published.
      seeds: how many runs; 0 for published scores.
      scores: mean of each score.
      widths: half the 95 % interval of each mean; empty below two seeds.
    """

    name: str
    seeds: int
    scores: Mapping[str, float]
    widths: Mapping[str, float]


def published_rows(config: Mapping[str, Any]) -> list[Row]:
    """The scores that the papers a config reproduces report on its dataset, as far as known.

    Args:
      config: plain values, as in `config.json`.
    """
    rows = []
    for name in config["evaluation"].get("published", "").split(","):
        entry = published().get(name, {}).get(config["data"]["name"])
        if entry is not None:
            scores = {score: value for score, value in entry.items() if score not in FACTS}
            split = f", {entry['split']} split" if "split" in entry else ""
            rows.append(Row(entry["source"] + split, 0, scores, {}))
    return rows


def rows_of(folders: Sequence[pathlib.Path]) -> list[Row]:
    """Makes the rows: one a recipe, in the order given, then one for each set of published scores.

    Raises:
      ValueError: a folder holds no finished run, or the same run twice.
    """
    groups: dict[str, list[tuple[str, dict[str, Any]]]] = {}
    seen: set[str] = set()
    reported: dict[str, Row] = {}
    for folder in folders:
        config, scores = _read(folder)
        start = _card(folder).get("init_from") if (folder / MODEL_FILE).is_file() else None
        recipe = _recipe(config, start)
        own = [recipe, config["seed"], config.get("init_from")]
        whole = json.dumps(own, sort_keys=True)
        if whole in seen:
            raise ValueError(f"{folder} is the same run as one before it: same settings, same seed")
        seen.add(whole)
        groups.setdefault(json.dumps(recipe, sort_keys=True), []).append((folder.name, scores))
        reported.update({row.name: row for row in published_rows(config)})
    return [_summary(own) for own in groups.values()] + list(reported.values())


def _recipe(stored: Mapping[str, Any], start: Mapping[str, Any] | None) -> dict[str, Any]:
    """The settings that scores depend on, without the seed.

    The captioner that a run started from is replaced by its own recipe.

    Args:
      stored: settings.
      start: what the model's card says of that captioner. Older cards say nothing; then the run is
        looked for where it was.
    """
    config = with_defaults(stored)
    del config["seed"]
    for path in HARMLESS:
        part: Any = config
        *parents, name = path.split(".")
        for parent in parents:
            part = part[parent]
        del part[name]
    if config["init_from"] and start is None:
        folder = captioner_folder(config["init_from"])
        start = {} if folder is None else {"name": str(folder), **_card(folder)}
    if start:
        config["init_from"] = start["name"]
        if "config" in start:
            config["init_from"] = _recipe(start["config"], start.get("init_from"))
    return config


def _card(folder: pathlib.Path) -> dict[str, Any]:
    return json.loads((folder / MODEL_FILE).read_text(encoding="utf-8"))["card"]


def _read(folder: pathlib.Path) -> tuple[dict[str, Any], dict[str, Any]]:
    files = [folder / "config.json", folder / FINAL_FILE]
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise ValueError(
            f"{folder} lacks {' and '.join(missing)}; expected the workdir of a finished train.py"
        )
    config, scores = (json.loads(file.read_text(encoding="utf-8")) for file in files)
    if "encoder" not in config:
        raise ValueError(
            f"{folder} trained an inpainter, which writes no captions; `python -m capjax.inpaint "
            "evaluate` compares fills"
        )
    return config, scores


def _summary(runs: Sequence[tuple[str, Mapping[str, Any]]]) -> Row:
    """Mean and interval of runs of one kind, named after what their folders' names share."""
    names = [name for name, _ in runs]
    shared = _shared_start(names).rstrip("_-. ") or names[0]
    means, widths = {}, {}
    for column in COLUMNS:
        values = [scores.get(column) for _, scores in runs]
        if any(value is None for value in values):
            continue
        numbers = np.array(values, float)
        means[column] = float(numbers.mean())
        if len(numbers) > 1:
            error = float(numbers.std(ddof=1)) / math.sqrt(len(numbers))
            # As `scipy.stats.t.ppf`, whose module takes a second to import.
            widths[column] = float(stdtrit(len(numbers) - 1, 0.975)) * error
    return Row(shared, len(runs), means, widths)


def _shared_start(names: Sequence[str]) -> str:
    shortest = min(names, key=len)
    for length in range(len(shortest), 0, -1):
        if all(name.startswith(shortest[:length]) for name in names):
            return shortest[:length]
    return ""


def format_rows(rows: Sequence[Row]) -> str:
    """The table as text."""
    columns = [name for name in COLUMNS if any(name in row.scores for row in rows)]
    lines = [["", "seeds", *columns]]
    for row in rows:
        cells = [row.name, str(row.seeds) if row.seeds else "published"]
        for column in columns:
            cell = f"{row.scores[column]:.3f}" if column in row.scores else "-"
            cells.append(cell + (f" ±{row.widths[column]:.3f}" if column in row.widths else ""))
        lines.append(cells)
    return format_table(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m capjax.experiment.table",
        description="Validation scores of training runs, seeds together, beside published ones. "
        "The interval is that of the mean over seeds (95 %).",
    )
    parser.add_argument(
        "runs", nargs="+", type=pathlib.Path, metavar="RUN", help="finished workdir"
    )
    options = parser.parse_args(arguments)
    try:
        print(format_rows(rows_of(options.runs)))
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return USAGE
    return OK


if __name__ == "__main__":
    outlive_readers()
    sys.exit(main())
