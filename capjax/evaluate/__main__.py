"""Scores a captioner on images with references: `python -m capjax.evaluate --help`."""

import argparse
import csv
import functools
import io
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Literal

from capjax.api import load
from capjax.captioner import Captioner
from capjax.data.captions.records import Record
from capjax.decoding.captions import caption_memory
from capjax.decoding.options import add_decoding_options, chosen_decoding, reading_as
from capjax.evaluate.against import options as against_options
from capjax.evaluate.against.drawing import comparison_figure, gallery_sheet
from capjax.evaluate.against.telling import image_rows
from capjax.evaluate.captions import caption_records, coco_results, read_records, score_records
from capjax.evaluate.faithfulness import options as faithfulness_options
from capjax.evaluate.grounding import evaluate_grounding
from capjax.evaluate.grounding_options import add_flags, check_flags, read_request
from capjax.evaluate.hallucination import options as hallucination_options
from capjax.evaluate.published import ENTRIES, HELP, format_published, read_published
from capjax.evaluate.queries import with_crop
from capjax.explainers.contract import Method
from capjax.metrics.card import format_scores
from capjax.metrics.grounding_table import format_grounding
from capjax.metrics.similarity import ENCODER_HELP, CaptionSimilarity, named_similarity
from capjax.runtime.command_line import (
    MODEL_HELP,
    add_batch_options,
    add_precision_option,
    refuse_repeated,
)
from capjax.runtime.files import check_writable, local_path, replacing, stopped_by_disk
from capjax.runtime.memory import AUTO, Memory, device_memory, fit_batch
from capjax.runtime.process import keep_programs
from capjax.runtime.standard_streams import outlive_readers
from capjax.studies.doubt.reranking import Reranker
from capjax.types import Caption

STOPPED, WRONG_USAGE = 1, 2
DESCRIPTION = (
    "Captions images and scores the captions against those that people wrote, with --grounding the "
    "maps against boxes, with --faithfulness against what words need, with --hallucination counts "
    "words for what is not there, and with --against compares two captioners. Exit code: 0 scored, "
    "1 --out takes no more, 2 wrong usage."
)


def results_path(out: Path) -> Path:
    """Where the captions go: `metrics.json` has `metrics.captions.json` beside it."""
    return out.with_name(f"{out.stem}.captions.json")


def phrases_path(out: Path) -> Path:
    """Where the scores of each phrase go: `metrics.json` has `metrics.phrases.csv` beside it."""
    return out.with_name(f"{out.stem}.phrases.csv")


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
        against_options.check_flags(options)
        faithfulness_options.check_flags(options)
        hallucination_options.check_flags(options)
        options.out = local_path(options.out, "--out")
        check_writable(options.out, "--out", folder=False)
        captioner = reading_as(options, load(options.model)).in_precision(options.precision)
        captioner = with_crop(captioner, options.crop)
        records = read_records(captioner, options.captions, options.images, options.split)
        decoding, max_len = chosen_decoding(options, captioner)
        reranker = Reranker.of(captioner, decoding, max_len, options.rerank, options.rerank_weight)
        request = None
        if options.grounding:
            request = read_request(captioner, options, records, methods)
        faithful = None
        if options.faithfulness:
            faithful = faithfulness_options.read_request(captioner, options, records, methods)
        doubted = None
        if options.hallucination:
            doubted = hallucination_options.read_request(captioner, options, records, decoding)
        references = [record.captions for record in records if record.captions]
        if not references:
            raise ValueError(f"none of the {len(records)} images has a reference; nothing to score")
        reported = read_published(options.published) if options.published else {}
        named = options.similarity
        similarity = named_similarity(named, references) if named else None
        writing: dict[str, Any] = {"decoding": decoding, "max_len": max_len}
        memory = device_memory(options.memory)
        fit = functools.partial(_fit, options.batch_size, memory, captioner)
        need = functools.partial(caption_memory, captioner, **writing)
        if reranker is not None:
            need = functools.partial(reranker.memory, usable=memory.usable)
        batch_size = fit(len(records), need)
        rival = None
        if options.against:
            rival = against_options.read_rival(
                captioner,
                options,
                records,
                load=load,
                fit=functools.partial(_fit, options.batch_size, memory),
                usable=memory.usable,
            )
        captions = caption_records(
            captioner, records, **writing, batch_size=batch_size, reranker=reranker
        )
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
            "precision": captioner.precision,
        }
        scores["card"]["decoding"] |= reranker.describe() if reranker else {}
        print(format_scores(scores))  # first: whatever becomes of the files, they are not lost
        if reported:
            print(f"\n{format_published(scores, scores['card']['split'], reported)}")
            scores["published"] = reported
        kept.write(options.out, scores)
        if rival is not None:
            _compare(kept, options.out, scores, records, captions, rival, similarity)
        if request is not None:
            scores["grounding"], phrases = evaluate_grounding(
                captioner, records, captions, request, fit=fit, usable=memory.usable
            )
            print(f"\n{format_grounding(scores['grounding'])}")
            kept.write(options.out, scores)
            if phrases.images:
                kept.write_rows(phrases_path(options.out), phrases.table(records))
        if doubted is not None:
            within: dict[str, Any] = {**writing, "out": options.out, "fit": fit}
            within["usable"] = memory.usable
            scores["hallucination"], text = hallucination_options.evaluate_hallucination(
                captioner, records, captions, doubted, **within
            )
            print(f"\n{text}")
            kept.write(options.out, scores)
            if options.rerank_curve:
                curve, text = hallucination_options.evaluate_reranking(
                    captioner, records, doubted, options.rerank_curve, **within
                )
                print(f"\n{text}")
                scores["hallucination"]["reranking"] = curve
                kept.write(options.out, scores)
        if faithful is not None:
            given = captioner, records, captions, *faithful
            found, text = faithfulness_options.evaluate_faithfulness(
                *given, out=options.out, fit=fit, usable=memory.usable
            )
            print(f"\n{text}")
            kept.write(options.out, scores | found)
    except (ValueError, OSError, ImportError, KeyboardInterrupt) as error:
        reason = stopped_by_disk(error) if isinstance(error, OSError) else str(error)
        print(f"evaluate: {reason or 'interrupted'}{kept}", file=sys.stderr)
        return STOPPED if isinstance(error, OSError | KeyboardInterrupt) else WRONG_USAGE
    print(f"written: {', '.join(map(str, kept))}")
    return 0


class _Kept:
    """The files that an evaluation has written so far, for the message of a part that failed."""

    def __init__(self) -> None:
        self._paths: dict[Path, None] = {}

    def write(self, path: Path, content: Any) -> None:
        """Writes a JSON file."""
        text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
        self._replace(path, text)

    def write_rows(self, path: Path, rows: Iterable[Sequence[Any]]) -> None:
        """Writes a CSV file."""
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        self._replace(path, text.getvalue())

    def save(self, path: Path, write: Callable[[BinaryIO], Any]) -> None:
        """Writes a file by what writes into a stream."""
        with replacing(path) as stream:
            write(stream)
        self._paths[path] = None

    def _replace(self, path: Path, text: str) -> None:
        self.save(path, lambda stream: stream.write(text.encode()))

    def __iter__(self) -> Iterator[Path]:
        return iter(self._paths)

    def __str__(self) -> str:
        return f"; kept: {', '.join(map(str, self))}" if self._paths else ""


def _compare(
    kept: _Kept,
    out: Path,
    scores: dict[str, Any],
    records: Sequence[Record],
    captions: Sequence[Caption],
    rival: against_options.Rival,
    similarity: CaptionSimilarity | None,
) -> None:
    """The other captioner's captions, scores, table and pictures, each written at once."""
    path = functools.partial(against_options.path_of, out)
    other = against_options.write_captions(rival, records)
    kept.write(path("against.captions.json"), coco_results(records, other))
    pair = against_options.pair_of(records, captions, other, rival.names, similarity)
    scores["against"], text = against_options.evaluate_against(pair, rival)
    print(f"\n{text}")
    kept.write(out, scores)
    kept.write_rows(path("against.csv"), image_rows(pair))
    figure = comparison_figure(pair, scores["against"])
    kept.save(path("against.png"), lambda file: figure.savefig(file, format="png", dpi=120))
    frames = rival.captioner.preprocessing.frames
    sheet = gallery_sheet(pair, records, count=rival.gallery, frames=frames)
    kept.save(path("against.gallery.png"), lambda file: sheet.save(file, "PNG"))


def _fit(
    asked: int | Literal["auto"],
    memory: Memory,
    captioner: Captioner,
    count: int,
    need: Callable[[int], float],
) -> int:
    """How many of so many images, or clips, are done at once; see `fit_batch`."""
    wanted = asked if asked == AUTO else captioner.at_once(asked)

    def tell(sentence: str) -> None:
        print(f"evaluate: {sentence}", file=sys.stderr)

    return fit_batch(wanted, count, need, memory, noun=captioner.noun, tell=tell)


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
    add_precision_option(parser.add_argument)
    add_batch_options(parser.add_argument, default=32)
    parser.add_argument("--published", metavar="NAMES", help=HELP + ", ".join(ENTRIES))
    parser.add_argument(
        "--similarity",
        metavar="ENCODER",
        help="of sentences: score the mean cosine of a caption and its references too, by "
        f"{ENCODER_HELP}",
    )
    add_flags(parser)
    faithfulness_options.add_flags(parser)
    hallucination_options.add_flags(parser)
    against_options.add_flags(parser)
    return parser


if __name__ == "__main__":
    outlive_readers()
    keep_programs()
    sys.exit(main())
