"""Fits what tells which words of a model not to believe, and keeps it as doubt.json beside it."""

import argparse
import functools
import hashlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from capjax.captioner import Captioner, captioner_folder, load_captioner
from capjax.data.boxes.grounded import BoxSource
from capjax.data.captions.records import Record
from capjax.decoding import default_decoding
from capjax.decoding.captions import caption_memory
from capjax.evaluate.captions import caption_records, read_records
from capjax.evaluate.grounding_options import read_source
from capjax.evaluate.hallucination.measuring import Judged, digest, judge
from capjax.evaluate.hallucination.scores import format_hallucination, score_judged
from capjax.runtime import locks
from capjax.runtime.command_line import add_batch_options, at_least_one
from capjax.runtime.files import check_writable, local_path
from capjax.runtime.memory import AUTO, device_memory, fit_batch
from capjax.studies.doubt.doubter import (
    Doubter,
    Kept,
    available,
    compared_with,
    cross_fitted,
    curve_of,
)
from capjax.studies.doubt.signals import DEARER, DOUBTFUL, SAMPLES, USUAL, readable_signals


def add_parser(commands: Any) -> None:
    """Adds `fit` to sub-parsers; its function is left as `command`, which returns what to print."""
    parser = commands.add_parser(
        "fit", help="on photographs that the model did not learn from; writes doubt.json beside it"
    )
    add = parser.add_argument
    add("--model", required=True, help="folder of a saved captioner, or a workdir")
    add("--captions", required=True, help="what people wrote about the photographs, in any format")
    add("--boxes", required=True, type=Path, help="COCO instances JSON of the same photographs")
    add("--images", type=Path, help="folder that the file's image names start from")
    add("--split", help="of a file that holds several; `all` for every photograph")
    add("--object-words", type=Path, help="TOML, class = [words]; default: COCO's 80 classes")
    add(
        "--signals",
        type=_signals,
        default=("usual",),
        help=f"to read, comma-separated, of: {', '.join(DOUBTFUL)}; `usual` stands for all but the "
        f"dearer {' and '.join(DEARER)}, as in usual,peak (default usual). What is not read "
        "costs nothing when captions are doubted",
    )
    add("--samples", type=at_least_one, default=SAMPLES, help="captions sampled from each image")
    add_batch_options(add, default=32)
    parser.set_defaults(command=fit, entities=None)


def fit(options: argparse.Namespace) -> str:
    """Writes doubt.json; returns the scores of what was fitted, cross-fitted, and where it is.

    Raises:
      ValueError, OSError: files are missing, damaged or of other pictures, or there is nothing to
        tell apart.
    """
    folder = captioner_folder(local_path(options.model, "--model"))
    if folder is None:
        raise ValueError(f"{options.model} is no folder of a saved captioner; give one")
    check_writable(folder, "--model", folder=True)
    captioner = load_captioner(folder)
    if captioner.preprocessing.frames:
        raise ValueError("doubts are told from boxes of photographs, and this model sees clips")
    wanted = _readable(captioner, options.signals)
    records = read_records(captioner, options.captions, options.images, options.split)
    source, notes = read_source(captioner, options, records)
    assert isinstance(source, BoxSource)  # --boxes is required, and there are no entities
    judged = _judged(captioner, options, records, source, wanted)
    signals = tuple(name for name in available(judged.captions) if name in wanted)
    scores = score_judged(judged, None, signals)
    given = judged.captions, judged.truth, judged.folds
    doubter = Doubter.fit(*given, signals=signals)
    chances = cross_fitted(*given, signals=signals, choose=True)
    kept = Kept(
        doubter,
        captioner.hash,
        source.words,
        options.samples,
        {
            "photographs": sorted(map(digest, judged.keys)),
            "captions": {file.name: file.sha256 for file in records.files},
            "boxes": {options.boxes.name: _sha256(options.boxes)},
            "words": sum(map(len, judged.truth)),
            "hallucinated": int(sum(own.sum() for own in judged.truth)),
        },
        curve_of(chances, judged.truth),
        compared_with(captioner, doubter.signals),
    )
    with locks.held(folder / locks.FILE):
        path = kept.write(folder)
    return "\n".join([*notes, format_hallucination(scores), f"written: {path}"])


def _judged(
    captioner: Captioner,
    options: argparse.Namespace,
    records: Sequence[Record],
    source: BoxSource,
    signals: Sequence[str],
) -> Judged:
    decoding, max_len = default_decoding(captioner)
    memory = device_memory(options.memory)
    asked = options.batch_size
    wanted = asked if asked == AUTO else captioner.at_once(asked)
    need = functools.partial(caption_memory, captioner, decoding=decoding, max_len=max_len)

    def fitted(count: int, need: Callable[[int], float]) -> int:
        def tell(sentence: str) -> None:
            sys.stderr.write(f"{sentence}\n")

        return fit_batch(wanted, count, need, memory, noun=captioner.noun, tell=tell)

    captions = caption_records(
        captioner,
        records,
        decoding=decoding,
        max_len=max_len,
        batch_size=fitted(len(records), need),
    )
    return judge(
        captioner,
        records,
        captions,
        source,
        decoding=decoding,
        max_len=max_len,
        fit=fitted,
        usable=memory.usable,
        samples=options.samples,
        signals=signals,
    )


def _readable(captioner: Captioner, named: Sequence[str]) -> tuple[str, ...]:
    """The signals to read: those named, and of the usual ones those that the captioner has.

    Raises:
      ValueError: it has not all that are named; the text says what to do.
    """
    usual = USUAL if "usual" in named else ()
    asked = tuple(name for name in DOUBTFUL if name in {*named, *usual})
    readable = readable_signals(captioner, asked, max_len=default_decoding(captioner)[1])
    lacking = [name for name in named if name in DOUBTFUL and name not in readable]
    if lacking:
        remedy = "leave it out of --signals"
        if "bits" in lacking:
            remedy += ", or give it pictures to compare with (python -m capjax.explainers.language)"
        raise ValueError(f"this captioner cannot tell {', '.join(lacking)}; {remedy}")
    return tuple(name for name in asked if name in readable)


def _signals(text: str) -> tuple[str, ...]:
    """Names of signals, and `usual` where that is named."""
    names = {name.strip() for name in text.split(",")} - {""}
    unknown = names - {*DOUBTFUL, "usual"}
    if unknown or not names:
        raise argparse.ArgumentTypeError(
            f"got {text!r}, expected usual, or names of {', '.join(DOUBTFUL)}"
        )
    return tuple(sorted(names))


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
