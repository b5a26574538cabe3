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
from capjax.evaluate.hallucination.scores import ALL, OTHERS, format_hallucination, score_judged
from capjax.runtime.files import replacing
from capjax.studies.doubt.doubter import kept_doubt
from capjax.studies.doubt.signals import DOUBTFUL, SAMPLES
from capjax.types import Caption
from capjax.viz.figures import new_figure_class
from capjax.viz.scores.calibration import plot_calibration


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The flag of the hallucination part of the command."""
    group = parser.add_argument_group("hallucination: do captions name what is not there?")
    group.add_argument(
        "--hallucination",
        action="store_true",
        help="with --boxes: CHAIR, and how well each signal of doubt, and their combination, tells "
        "which object words are hallucinated",
    )


def read_boxes(
    captioner: Captioner, options: argparse.Namespace, records: Sequence[Record]
) -> tuple[BoxSource, list[str]]:
    """Where objects are, and notes on it.

    Raises:
      ValueError: no boxes, or of other pictures; or the captioner sees clips.
      FileNotFoundError: a file that is not there.
      ImportError: matplotlib is not installed; the text says how to get it.
    """
    if captioner.preprocessing.frames:
        raise ValueError("--hallucination needs boxes of photographs, and this model sees clips")
    if options.boxes is None:
        raise ValueError(
            "--hallucination needs to know what photographs show: add --boxes=COCO_INSTANCES_JSON"
        )
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
) -> tuple[dict[str, Any], str]:
    """Scores for `metrics.json`, and the text for the terminal.

    Beside `out`, `metrics.json`, it writes the calibration curve as `metrics.calibration.csv` and
    `.png`.

    Raises:
      ValueError: doubt.json was fitted for another model, or there is nothing to tell apart.
    """
    kept = None if captioner.doubt is None else kept_doubt(captioner)
    given = captioner, records, captions, source
    judged = judge(
        *given,
        decoding=decoding,
        max_len=max_len,
        fit=fit,
        samples=SAMPLES if kept is None else kept.samples,
        signals=tuple(DOUBTFUL),
    )
    scores = score_judged(judged, kept) | {"notes": list(notes)}
    curves = {part: scores[part]["calibration_curve"] for part in (ALL, OTHERS)}
    with replacing(_beside(out, "csv")) as stream:
        stream.write(_csv(curves).encode())
    with replacing(_beside(out, "png")) as stream:
        title = "Object words: are doubts right?"
        plot_calibration(curves, title=title).savefig(stream, format="png", dpi=150)
    return scores, "\n".join([format_hallucination(scores), *notes])


def _csv(curves: Mapping[str, Sequence[Mapping[str, float]]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("words", "predicted", "observed", "n"))
    for part, bins in curves.items():
        for own in bins:
            writer.writerow((part, f"{own['predicted']:.6f}", f"{own['observed']:.6f}", own["n"]))
    return text.getvalue()


def _beside(out: Path, suffix: str) -> Path:
    return out.with_name(f"{out.stem}.calibration.{suffix}")
