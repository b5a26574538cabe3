"""What bfloat16 changes: captions, their scores, maps and where maps point, beside float32.

    python benchmarks/precision.py --model=NAME --captions=JSON --images=FOLDER --boxes=JSON
                                   [--count=100] [--methods=attention,gradcam,…] [--save]

The captioner runs end to end in either precision: encoder, decoder, maps. Both explain the same
sentences, the captions of float32; Spearman's correlation is that of the two maps of a word, and
the ratios are its median and 5th percentile over words. Scores of captions, and pointing on
people's captions, have their 95 % intervals over images.
"""

from __future__ import annotations

import collections
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from protocol import argument_parser, report
from scipy.stats import spearmanr

import capjax
from capjax.captioner import Captioner
from capjax.data.batches.pipeline import evaluation_batches
from capjax.data.boxes.grounded import BoxSource, read_mentions
from capjax.data.boxes.instances import read_instances
from capjax.data.boxes.object_words import read_object_words
from capjax.data.captions.records import Record
from capjax.data.inputs import file_inputs
from capjax.decoding import default_decoding
from capjax.evaluate.captions import caption_records, read_records
from capjax.evaluate.grounding import Request, evaluate_grounding
from capjax.evaluate.queries import Protocol
from capjax.explainers.batch import check_methods, explain_batch
from capjax.metrics.captions import score_images
from capjax.metrics.intervals import bootstrap_intervals
from capjax.types import Caption

BATCH = 16
SCORES = ("BLEU-4", "ROUGE-L", "CIDEr")


def correlations(
    one: Captioner,
    other: Captioner,
    records: Sequence[Record],
    captions: Sequence[Caption],
    methods: Sequence[str],
) -> dict[str, list[float]]:
    """Spearman's correlation of two captioners' maps of every word; 1 where both maps are flat."""
    found: dict[str, list[float]] = collections.defaultdict(list)
    others = _maps(other, records, captions, methods)
    for name, maps in _maps(one, records, captions, methods).items():
        for first, second in zip(maps, others[name], strict=True):
            if np.ptp(first) == 0 and np.ptp(second) == 0:
                found[name].append(1.0)
            else:
                found[name].append(float(spearmanr(first.ravel(), second.ravel()).statistic))
    return dict(found)


def _maps(
    captioner: Captioner,
    records: Sequence[Record],
    captions: Sequence[Caption],
    methods: Sequence[str],
) -> dict[str, list[np.ndarray]]:
    """The maps of every word of every caption, by method."""
    chosen = check_methods(captioner, methods)
    decoding, longest = default_decoding(captioner)
    inputs = file_inputs(records, captioner.preprocessing)
    found: dict[str, list[np.ndarray]] = collections.defaultdict(list)
    for number, batch in enumerate(evaluation_batches(inputs, len(records), batch_size=BATCH)):
        own = captions[number * BATCH : (number + 1) * BATCH]
        explained = explain_batch(
            captioner,
            batch["image"],
            [captioner.preprocessing.size] * len(own),
            methods=chosen,
            decoding=decoding,
            max_len=longest,
            captions=own,
            least_tokens=longest,
        )
        for (answer,) in explained:
            for name, explanation in answer.explanations.items():
                found[name] += list(explanation.maps)
    return found


def scored(records: Sequence[Record], captions: Sequence[Caption]) -> dict[str, Any]:
    """Each score's mean over images and its interval."""
    references = {record.key: record.captions for record in records}
    written = {record.key: own.text for record, own in zip(records, captions, strict=True)}
    images = score_images(references, written, metrics=("BLEU", "ROUGE-L", "CIDEr"))
    rows = np.array([[own[name] for own in images.values()] for name in SCORES], float)
    ends = bootstrap_intervals(rows, list(images))
    return {name: (row.mean(), *end) for name, row, end in zip(SCORES, rows, ends, strict=True)}


def pointed(
    captioner: Captioner,
    records: Sequence[Record],
    captions: Sequence[Caption],
    methods: Sequence[str],
    files: Mapping[str, Any],
) -> dict[str, Any]:
    """Each method's pointing game and its interval."""
    images = read_instances(files["boxes"])
    classes = {item.category for image in images.values() for item in image.instances}
    words = read_object_words(None).including(classes)
    source = BoxSource(images, words, read_mentions(files["captions"]))
    request = Request(check_methods(captioner, methods), Protocol(), source)
    found, _ = evaluate_grounding(
        captioner, records, captions, request, fit=lambda count, need: BATCH
    )
    return {
        f"pointing_{name}": (own["pointing_game"], *own["interval"]["pointing_game"])
        for name, own in found.items()
    }


def main() -> None:
    """Runs both precisions and reports."""
    parser = argument_parser(__doc__, timed=False)
    parser.add_argument("--model", required=True, help="what explain.py loads")
    parser.add_argument("--captions", required=True, help="of people")
    parser.add_argument("--images", type=Path, required=True, help="a folder")
    parser.add_argument("--boxes", type=Path, help="COCO instances")
    parser.add_argument("--count", type=int, default=100, help="of the first images")
    parser.add_argument("--methods", default="attention,caption_guided,gradcam,ig")
    options = parser.parse_args()
    methods = options.methods.split(",")
    exact = capjax.load(options.model)
    rounded = exact.in_precision("bfloat16")
    everything = read_records(exact, options.captions, options.images, None)
    records = list(everything)[: options.count]
    decoding, longest = default_decoding(exact)
    writing: dict[str, Any] = {"decoding": decoding, "max_len": longest, "batch_size": BATCH}
    captions = {
        name: caption_records(own, records, **writing)
        for name, own in (("float32", exact), ("bfloat16", rounded))
    }
    same = np.mean([one.text == other.text for one, other in zip(*captions.values(), strict=True)])
    figures = {"images": float(len(records)), "same_captions": float(same)}

    def add(name: str, found: Mapping[str, Any]) -> None:
        for score, (value, low, high) in found.items():
            own = f"{score}_{name}"
            figures.update({own: value, f"{own}_low": low, f"{own}_high": high})

    for name, own in captions.items():
        add(name, scored(records, own))
    ratios = {}
    for method, values in correlations(
        exact, rounded, records, captions["float32"], methods
    ).items():
        ratios |= {
            f"spearman_{method}_median": float(np.median(values)),
            f"spearman_{method}_5th": float(np.percentile(values, 5)),
        }
    if options.boxes:
        files = {"boxes": options.boxes, "captions": options.captions}
        for name, own in (("float32", exact), ("bfloat16", rounded)):
            add(name, pointed(own, records, captions[name], methods, files))
    report("precision", ratios=ratios, figures=figures, save=options.save)


if __name__ == "__main__":
    main()
