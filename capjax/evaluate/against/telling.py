"""A comparison of two captioners as text for the terminal, and as rows for a file."""

from collections.abc import Mapping, Sequence
from typing import Any

from capjax.evaluate.against.comparing import AGAINST, MODEL, SENTENCE_BLEU, Pair
from capjax.metrics.intervals import format_measured
from capjax.runtime.text_table import format_table


def format_comparison(scores: Mapping[str, Any], names: tuple[str, str]) -> str:
    """The comparison as text tables.

    Args:
      scores: from `compare`.
      names: of the two captioners.
    """
    rows: list[Sequence[object]] = [["", *names, f"{names[0]} - {names[1]}"]]
    for name, own in scores["metrics"].items():
        shown = (format_measured(own[MODEL]), format_measured(own[AGAINST]))
        rows.append([name, *shown, format_measured(own["difference"], "+")])
    rank = [["Spearman over images", ""]]
    rank += [[name, format_measured(own, "+")] for name, own in scores["correlations"].items()]
    spread = [["distribution", "least", "quarter", "half", "three quarters", "largest"]]
    spread += [
        [name, *(f"{value:.3f}" for value in own)] for name, own in scores["distributions"].items()
    ]
    measured_by = [f"{scores['similarity']} by {scores['encoder']}"] if scores["encoder"] else []
    return "\n".join(
        [
            f"{names[0]} against {names[1]} on {scores['n']} images; 95 % intervals over images, "
            f"differences paired; the same caption of {scores['same']:.0%}",
            format_table(rows),
            "",
            format_table(rank),
            "",
            format_table(spread),
            *measured_by,
            *scores["notes"],
        ]
    )


def image_rows(pair: Pair) -> list[list[Any]]:
    """One row an image for a CSV file, names first; the columns of similarity name the encoder."""
    measure = f"{pair.score} by {pair.encoder}"
    columns = ["image"]
    for title in (MODEL, AGAINST):
        columns += [f"{title}: caption", f"{title}: {SENTENCE_BLEU}"]
        columns += [f"{title}: {name.partition(',')[0]}" for name in pair.model.means]
        if pair.score is not None:
            columns += [f"{title}: {which}, {measure}" for which in ("first", "mean", "best")]
    if pair.score is not None:
        columns.append(f"each with the other, {measure}")
    rows: list[list[Any]] = [columns]
    for number, key in enumerate(pair.keys):
        row: list[Any] = [key]
        for side in pair.sides:
            row += [side.captions[number], float(side.bleu[number])]
            row += [float(own[number]) for own in side.means.values()]
            if side.cosines is not None:
                own = side.cosines[number]
                row += [float(own[0]), float(own.mean()), float(own.max())]
        if pair.between is not None:
            row.append(float(pair.between[number]))
        rows.append(row)
    return rows
