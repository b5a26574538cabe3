"""The flags of the hallucination part of `python -m capjax.evaluate`, its files and its table."""

import argparse
import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from capjax.captioner import Captioner
from capjax.data.boxes.grounded import BoxSource
from capjax.data.captions.records import Record
from capjax.decoding import Decoding
from capjax.evaluate.grounding import Fit
from capjax.evaluate.grounding_options import read_source
from capjax.evaluate.hallucination.measuring import judge
from capjax.evaluate.hallucination.reranking import (
    ALLOWED,
    WEIGHTS,
    curve_rows,
    format_curve,
    read_choices,
    score_curve,
)
from capjax.evaluate.hallucination.scores import ALL, OTHERS, format_hallucination, score_judged
from capjax.runtime.command_line import not_negative, refuse_idle
from capjax.runtime.files import replacing
from capjax.studies.doubt.doubter import kept_doubt
from capjax.studies.doubt.reranking import check_several
from capjax.studies.doubt.signals import DOUBTFUL, SAMPLES, USUAL
from capjax.types import Caption
from capjax.viz.figures import new_figure_class
from capjax.viz.scores.calibration import plot_calibration
from capjax.viz.scores.reranking import plot_reranking


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The flag of the hallucination part of the command."""
    group = parser.add_argument_group("hallucination: do captions name what is not there?")
    group.add_argument(
        "--hallucination",
        action="store_true",
        help="with --boxes: CHAIR, and how well each signal of doubt, and their combination, tells "
        "which object words are hallucinated",
    )
    group.add_argument(
        "--rerank-curve",
        nargs="?",
        type=_weights,
        const=WEIGHTS,
        metavar="WEIGHT,WEIGHT…",
        help="with --hallucination: CHAIR against CIDEr and BLEU-4 over weights of --rerank=doubt, "
        f"with paired intervals (default: {','.join(f'{own:g}' for own in WEIGHTS)}; 0 is the "
        "search's own order)",
    )


def _weights(text: str) -> tuple[float, ...]:
    return tuple(not_negative(own) for own in text.split(","))


def check_flags(options: argparse.Namespace) -> None:
    """Raises ValueError for flags that the other ones leave without effect."""
    if not options.hallucination:
        refuse_idle(options, ["rerank_curve"], "CHAIR is counted with --hallucination")


def read_boxes(
    captioner: Captioner,
    options: argparse.Namespace,
    records: Sequence[Record],
    decoding: Decoding,
) -> tuple[BoxSource, list[str]]:
    """Where objects are, and notes on it.

    Raises:
      ValueError: no boxes, or of other pictures; or the captioner sees clips, or ends with one
        caption where several are asked for.
      FileNotFoundError: a file that is not there.
      ImportError: matplotlib is not installed; the text says how to get it.
    """
    if captioner.preprocessing.frames:
        raise ValueError("--hallucination needs boxes of photographs, and this model sees clips")
    if options.boxes is None:
        raise ValueError(
            "--hallucination needs to know what photographs show: add --boxes=COCO_INSTANCES_JSON"
        )
    if options.rerank_curve:
        check_several(decoding)
    new_figure_class()  # before the work rather than after it
    source, notes = read_source(captioner, options, records)
    assert isinstance(source, BoxSource)
    return source, notes


def evaluate_hallucination(
    captioner: Captioner,
    records: Sequence[Record],
    captions: Sequence[Caption],
    source: BoxSource,
    notes: Sequence[str],
    *,
    decoding: Decoding,
    max_len: int,
    out: Path,
    fit: Fit,
    rerank_curve: Sequence[float] | None = None,
) -> tuple[dict[str, Any], str]:
    """Scores for `metrics.json`, and the text for the terminal.

    Beside `out`, `metrics.json`, it writes the calibration curve as `metrics.calibration.csv` and
    `.png`, and with `rerank_curve`, weights, that of reranking as `metrics.reranking.csv` and
    `.png`.

    Raises:
      ValueError: doubt.json was fitted for another model, or there is nothing to tell apart.
    """
    kept = None if captioner.doubt is None else kept_doubt(captioner)
    given = captioner, records, captions, source
    reading: dict[str, Any] = {
        "decoding": decoding,
        "max_len": max_len,
        "fit": fit,
        "samples": SAMPLES if kept is None else kept.samples,
    }
    judged = judge(*given, **reading, signals=tuple(DOUBTFUL))
    scores = score_judged(judged, kept) | {"notes": list(notes)}
    curves = {part: scores[part]["calibration_curve"] for part in (ALL, OTHERS)}
    title = "Object words: are doubts right?"
    figure = plot_calibration(curves, title=title)
    _write(out, "calibration", _calibration_rows(curves), figure)
    texts = [format_hallucination(scores), *notes]
    if rerank_curve:
        signals = USUAL if kept is None else kept.doubter.signals
        choices = read_choices(captioner, records, source, **reading, signals=signals)
        scores["reranking"] = score_curve(choices, kept, rerank_curve)
        points = scores["reranking"]["points"]
        title = "Reranking by doubt: weights"
        figure = plot_reranking(points, allowed=ALLOWED, title=title)
        _write(out, "reranking", curve_rows(points), figure)
        texts += ["", format_curve(scores["reranking"])]
    return scores, "\n".join(texts)


def _calibration_rows(curves: Mapping[str, Sequence[Mapping[str, float]]]) -> list[Sequence[Any]]:
    rows: list[Sequence[Any]] = [("words", "predicted", "observed", "n")]
    for part, bins in curves.items():
        rows += [(part, own["predicted"], own["observed"], own["n"]) for own in bins]
    return rows


def _write(out: Path, what: str, rows: Sequence[Sequence[Any]], figure: Any) -> None:
    """Writes numbers and figure beside the scores."""
    text = io.StringIO()
    shown = ([f"{own:.6f}" if isinstance(own, float) else own for own in row] for row in rows)
    csv.writer(text, lineterminator="\n").writerows(shown)
    with replacing(out.with_name(f"{out.stem}.{what}.csv")) as stream:
        stream.write(text.getvalue().encode())
    with replacing(out.with_name(f"{out.stem}.{what}.png")) as stream:
        figure.savefig(stream, format="png", dpi=150)
