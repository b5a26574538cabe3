"""Scores that papers report, beside those of an evaluation, each with the split it is of."""

from collections.abc import Mapping, Sequence
from typing import Any

from capjax.metrics.published import FACTS, published
from capjax.runtime.text_table import format_table

HELP = "scores that papers report, to print beside: NAME.DATASET, several with commas; of: "
ENTRIES = {
    f"{name}.{data}": own for name, sets in published().items() for data, own in sets.items()
}
"""By the name that `--published` takes."""


def read_published(names: str) -> dict[str, Mapping[str, Any]]:
    """The entries of `capjax/metrics/published.toml` that are named.

    Args:
      names: such as "xu2015_soft.flickr8k", several with commas.

    Raises:
      ValueError: there is no such entry; the text lists all.
    """
    wanted = names.split(",")
    unknown = [name for name in wanted if name not in ENTRIES]
    if unknown:
        raise ValueError(
            f"no published scores are known as {unknown[0]!r}; choose from: {', '.join(ENTRIES)}"
        )
    return {name: ENTRIES[name] for name in wanted}


def format_published(
    scores: Mapping[str, Any], split: str | None, entries: Mapping[str, Mapping[str, Any]]
) -> str:
    """A table: what was scored here, then what was published, the split beside each.

    Args:
      scores: of `metrics.json`.
      split: that they are of; None where the captions name none.
      entries: of `read_published`.
    """
    reported = {name for own in entries.values() for name in own if name not in FACTS}
    columns = [name for name in scores if name in reported]
    rows: list[Sequence[str]] = [["", "split", *columns]]
    rows.append(["scored here", _named(split), *(_digits(scores[name]) for name in columns)])
    for own in entries.values():
        cells = (_digits(own.get(name)) for name in columns)
        rows.append([own["source"], _named(own.get("split")), *cells])
    lines = [format_table(rows, left=2)]
    if any(own.get("split", "") != split for own in entries.values()):
        lines.append("scores of different splits, or of splits that are not named, do not compare")
    return "\n".join(lines)


def _named(split: str | None) -> str:
    return split or "not named"


def _digits(score: Any) -> str:
    return f"{score:.3f}" if isinstance(score, float) else ""
