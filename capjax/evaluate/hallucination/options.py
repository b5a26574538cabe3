"""The flags of the hallucination part of `python -m capjax.evaluate`, its files and its table."""

import argparse
import csv
import dataclasses
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
from capjax.studies.doubt.doubter import Kept, kept_doubt
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


@dataclasses.dataclass(frozen=True)
class Request:
    """What hallucinations are told by.

    Attributes:
      source: where objects are.
      notes: what a reader of the scores must know of it, and of doubt.json.
      kept: what was fitted for this captioner; None: all is cross-fitted.
    """

    source: BoxSource
    notes: tuple[str, ...]
    kept: Kept | None

    @property
    def samples(self) -> int:
        """Captions sampled from each image."""
        return SAMPLES if self.kept is None else self.kept.samples


def read_request(
    captioner: Captioner,
    options: argparse.Namespace,
    records: Sequence[Record],
    decoding: Decoding,
) -> Request:
    """What the command line asks for. A doubt.json that does not fit is a note.

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
    kept = None
    try:
        kept = None if captioner.doubt is None else kept_doubt(captioner)
    except ValueError as error:
        notes = [*notes, f"doubts are cross-fitted on these photographs: {error}"]
    return Request(source, tuple(notes), kept)


def evaluate_hallucination(
    captioner: Captioner,
    records: Sequence[Record],
    captions: Sequence[Caption],
    request: Request,
    *,
    decoding: Decoding,
    max_len: int,
    out: Path,
    fit: Fit,
    usable: float,
) -> tuple[dict[str, Any], str]:
    """Scores for `metrics.json`, and the text for the terminal.

    Beside `out`, `metrics.json`, it writes the calibration curve as `metrics.calibration.csv` and
    `.png`.

    Raises:
      ValueError: there is nothing to tell apart.
    """
    judged = judge(
        captioner,
        records,
        captions,
        request.source,
        decoding=decoding,
        max_len=max_len,
        fit=fit,
        usable=usable,
        samples=request.samples,
        signals=tuple(DOUBTFUL),
    )
    scores = score_judged(judged, request.kept) | {"notes": list(request.notes)}
    curves = {part: scores[part]["calibration_curve"] for part in (ALL, OTHERS)}
    title = "Object words: are doubts right?"
    figure = plot_calibration(curves, title=title)
    _write(out, "calibration", _calibration_rows(curves), figure)
    return scores, "\n".join([format_hallucination(scores), *request.notes])


def evaluate_reranking(
    captioner: Captioner,
    records: Sequence[Record],
    request: Request,
    weights: Sequence[float],
    *,
    decoding: Decoding,
    max_len: int,
    out: Path,
    fit: Fit,
    usable: float,
) -> tuple[dict[str, Any], str]:
    """The curve of reranking for `metrics.json`, and the text for the terminal.

    Beside `out`, `metrics.json`, it writes `metrics.reranking.csv` and `.png`.

    Raises:
      ValueError: no image has references and boxes, or there is nothing to tell apart.
    """
    kept = request.kept
    choices = read_choices(
        captioner,
        records,
        request.source,
        decoding=decoding,
        max_len=max_len,
        fit=fit,
        usable=usable,
        samples=request.samples,
        signals=USUAL if kept is None else kept.doubter.signals,
    )
    scores = score_curve(choices, kept, weights)
    points = scores["points"]
    figure = plot_reranking(points, allowed=ALLOWED, title="Reranking by doubt: weights")
    _write(out, "reranking", curve_rows(points), figure)
    return scores, format_curve(scores)


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
