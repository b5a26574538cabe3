"""Scores a captioner on images with references: `python -m capjax.evaluate --help`."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from capjax.api import load
from capjax.captioner import Captioner
from capjax.data.batches.pipeline import evaluation_batches
from capjax.data.captions.origin import drawn_by
from capjax.data.captions.records import require_images
from capjax.data.captions.splits import UNSPLIT
from capjax.data.inputs import file_inputs
from capjax.data.sources.sources import CaptionSet, Record, read_captions
from capjax.decoding import Decoding
from capjax.decoding.captions import caption_batch
from capjax.decoding.options import (
    MODEL_HELP,
    add_decoding_options,
    at_least_one,
    chosen_decoding,
    reading_as,
    refuse_repeated,
)
from capjax.evaluate.grounding import evaluate_grounding
from capjax.evaluate.grounding_options import add_flags, check_flags, read_request
from capjax.evaluate.queries import seeing
from capjax.experiment.similarity import KNOWN, CaptionSimilarity, named_similarity
from capjax.explainers.contract import Method
from capjax.metrics.captions import METRICS, score_captions
from capjax.metrics.card import format_scores, metric_card
from capjax.metrics.grounding_table import format_grounding
from capjax.runtime.files import check_writable, local_path, replacing, stopped_by_disk
from capjax.runtime.process import keep_programs
from capjax.runtime.standard_streams import outlive_readers
from capjax.runtime.version import code_version
from capjax.types import Caption

STOPPED, WRONG_USAGE = 1, 2
DESCRIPTION = (
    "Captions images and scores the captions against those that people wrote, and with --grounding "
    "the maps against boxes. Exit code: 0 scored, 1 --out takes no more, 2 wrong usage."
)


def score_records(
    captioner: Captioner,
    records: Sequence[Record],
    captions: Sequence[Caption],
    *,
    decoding: Decoding,
    max_len: int,
    metrics: Sequence[str] = METRICS,
    similarity: tuple[str, CaptionSimilarity] | None = None,
) -> dict[str, Any]:
    """The scores of `score_captions`, `unfinished` (captions that `max_len` cut) and `card`.

    Args:
      captioner: the model.
      records: images with their references, some of them with one at least; those without any are
        not scored, which a note says.
      captions: of each record.
      decoding, max_len: how they were written; `max_len` counts the end token.
      metrics: which of `capjax.metrics.captions.METRICS`.
      similarity: name of another score and what measures it, over the records with references.
    """
    references = {record.key: record.captions for record in records if record.captions}
    hypotheses = {
        record.key: caption.text
        for record, caption in zip(records, captions, strict=True)
        if record.captions
    }
    scores = score_captions(references, hypotheses, metrics=metrics)
    if len(references) < len(records):
        bare = len(records) - len(references)
        scores["notes"].append(
            f"{bare} of {len(records)} images have no reference: they are captioned and not scored"
        )
    if similarity is not None:
        scores[similarity[0]] = similarity[1].score(list(hypotheses.values()))
    scores["unfinished"] = sum(not caption.finished for caption in captions)
    scores["card"] = metric_card(
        split=", ".join(dict.fromkeys(record.split for record in records)),
        images=len(references),
        references=sum(map(len, references.values())),
        decoding=decoding,
        max_len=max_len,
        model_hash=captioner.hash,
        code=code_version(),
    )
    if similarity is not None:
        scores["card"]["similarity"] = similarity[1].encoder.name
    return scores


def caption_records(
    captioner: Captioner,
    records: Sequence[Record],
    *,
    decoding: Decoding,
    max_len: int,
    batch_size: int,
) -> list[Caption]:
    """The caption of each record, in order, with a progress bar; files are read ahead."""
    captions: list[Caption] = []
    inputs = file_inputs(records, captioner.preprocessing)
    batch_size = captioner.at_once(batch_size)
    with tqdm(total=len(records), desc="captions", unit="image", disable=None) as progress:
        for batch in evaluation_batches(inputs, len(records), batch_size=batch_size):
            _, found = caption_batch(captioner, batch["image"], decoding=decoding, max_len=max_len)
            kept = found[: int(batch["mask"].sum())]
            captions += kept
            progress.update(len(kept))
    return captions


def coco_results(records: Sequence[Record], captions: Sequence[Caption]) -> list[dict[str, Any]]:
    """Captions in COCO's results format, which other evaluation code reads."""
    return [
        {"image_id": record.image_id, "caption": caption.text}
        for record, caption in zip(records, captions, strict=True)
    ]


def results_path(out: Path) -> Path:
    """Where the captions go: `metrics.json` has `metrics.captions.json` beside it."""
    return out.with_name(f"{out.stem}.captions.json")


def main(arguments: Sequence[str] | None = None, *, methods: Sequence[Method] = ()) -> int:
    """Runs the command; returns its exit code: 0, 2 for wrong usage, 1 when --out takes no more.

    What is done is written at once: captions before they are scored, scores before maps are. Where
    a later part fails, they stay, and the last line says where.

    Args:
      arguments: of the command line; default: those of the process.
      methods: of your own, scored beside those of --methods.
    """
    options = _parser().parse_args(arguments)
    try:
        check_flags(options)
        options.out = local_path(options.out, "--out")
        check_writable(options.out, "--out", folder=False)
        captioner = seeing(reading_as(options, load(options.model)), options.crop)
        records = _records(options, captioner)
        decoding, max_len = chosen_decoding(options, captioner)
        request = None
        if options.grounding:
            request = read_request(captioner, options, records, methods)
        references = [record.captions for record in records if record.captions]
        if not references:
            raise ValueError(f"none of the {len(records)} images has a reference; nothing to score")
        named = options.similarity
        similarity = named_similarity(named, references) if named else None
        writing: dict[str, Any] = {"decoding": decoding, "max_len": max_len}
        batch_size = options.batch_size
        captions = caption_records(captioner, records, **writing, batch_size=batch_size)
    except (ValueError, OSError, ImportError) as error:
        print(f"evaluate: {error}", file=sys.stderr)
        return WRONG_USAGE
    kept = _Kept()
    try:
        kept.write(results_path(options.out), coco_results(records, captions))
        scores = score_records(captioner, records, captions, **writing, similarity=similarity)
        scores["notes"] += records.remarks
        scores["card"] |= {
            "model": options.model,
            "reading": getattr(captioner.net.decoder, "reading", None),
            "captions": ", ".join(file.name for file in records.files),
            "crop": options.crop,
        }
        print(format_scores(scores))  # first: whatever becomes of the files, they are not lost
        kept.write(options.out, scores)
        if request is not None:
            scores["grounding"] = evaluate_grounding(
                captioner, records, captions, request, batch_size=batch_size
            )
            print(f"\n{format_grounding(scores['grounding'])}")
            kept.write(options.out, scores)
    except (ValueError, OSError, ImportError, KeyboardInterrupt) as error:
        reason = stopped_by_disk(error) if isinstance(error, OSError) else str(error)
        print(f"evaluate: {reason or 'interrupted'}{kept}", file=sys.stderr)
        return STOPPED if isinstance(error, OSError | KeyboardInterrupt) else WRONG_USAGE
    print(f"written: {options.out}, {results_path(options.out)}")
    return 0


class _Kept:
    """The files that an evaluation has written so far, for the message of a part that failed."""

    def __init__(self) -> None:
        self._paths: dict[Path, None] = {}

    def write(self, path: Path, content: Any) -> None:
        """Writes a JSON file."""
        _write(path, content)
        self._paths[path] = None

    def __str__(self) -> str:
        return f"; kept: {', '.join(map(str, self._paths))}" if self._paths else ""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m capjax.evaluate", description=DESCRIPTION)
    refuse_repeated(parser)
    parser.add_argument("--model", required=True, help=MODEL_HELP)
    parser.add_argument(
        "--captions",
        required=True,
        help="file of any format that `python -m capjax.data check` reads; several with commas",
    )
    parser.add_argument("--images", type=Path, help="folder that the file's image names start from")
    parser.add_argument("--split", help="of a file that holds several; `all` for every image")
    parser.add_argument("--out", required=True, help="metrics.json")
    add_decoding_options(parser)
    parser.add_argument(
        "--batch-size",
        type=at_least_one,
        default=32,
        help="images at once; a clip counts as its frames (default 32); changes no score",
    )
    parser.add_argument(
        "--similarity",
        help="score the mean cosine of text embeddings of a caption and its references too: "
        f"{' or '.join(KNOWN)}, a folder with such an encoder, or hf:owner/name",
    )
    add_flags(parser)
    return parser


def _records(options: argparse.Namespace, captioner: Captioner) -> CaptionSet:
    """The records to score; a file of several splits needs one named.

    A file without splits that the captioner was trained on is divided as it was then.
    """
    found = read_captions(options.captions, options.images, check_images=False)
    draw = drawn_by(captioner.card, found.files)
    found = found if draw is None else found.divided(draw)
    found = found if options.split in (None, UNSPLIT) else found.select(options.split)
    require_images(found)
    if options.split is None and len(found.splits) > 1:
        there = ", ".join(f"{name} ({count[0]} images)" for name, count in found.splits.items())
        raise ValueError(f"{options.captions} holds several splits: {there}; pass --split")
    return found


def _write(path: Path, content: Any) -> None:
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    with replacing(path) as stream:
        stream.write(text.encode())


if __name__ == "__main__":
    outlive_readers()
    keep_programs()
    sys.exit(main())
