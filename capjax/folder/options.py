"""The command line of explain.py: its options, and what they mean for a captioner."""

import argparse
from typing import Any, get_args

from capjax.captioner import Captioner
from capjax.decoding import Decoding, describe
from capjax.decoding.options import (
    MODEL_HELP,
    add_decoding_options,
    at_least_one,
    refuse_idle,
    refuse_repeated,
)
from capjax.explainers import METHODS
from capjax.explainers.sentence import Sentence, Unknown
from capjax.runtime import locks
from capjax.runtime.files import printable
from capjax.runtime.version import code_version
from capjax.viz.strip_files import StripFiles, StripFormat
from capjax.viz.strips import FRAME_HEIGHT, IMAGE_HEIGHT


def make_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="explain.py",
        description="Captions images or clips and shows, for every word, where it comes from.",
        epilog="exit codes: 0 all explained; 1 --out could not be written to the end; 2 wrong "
        "usage, or --out holds another run; 3 some images could not be read",
    )
    refuse_repeated(parser)
    add = parser.add_argument
    add("--model", required=True, help=MODEL_HELP)
    add(
        "--images",
        required=True,
        nargs="+",
        help="folders, files, or quoted patterns such as '*.{jpg,png}'; clips too",
    )
    add("--out", required=True, help="folder of the results; continued when it exists")
    add(
        locks.BREAK,
        action="store_true",
        help="write to --out though a process of another machine locked it: that process is dead",
    )
    add("--methods", default="attention", help=f"comma-separated, of: {', '.join(METHODS)}")
    add(
        "--query",
        help="explain this sentence for every image, not each image's caption; "
        "[brackets] mark phrases that are explained as one",
    )
    add(
        "--unknown-words",
        choices=get_args(Unknown),
        default="token",
        help="how the captioner reads words of the query that it does not know: "
        "as its unknown token (default), or not at all",
    )
    add(
        "--precision",
        choices=("float32", "bfloat16"),
        default="float32",
        help="of the decoder's matrix products; sums and maps stay float32",
    )
    add(
        "--captions",
        help="captions by people, a file of any format: shown and scored",
    )
    add_decoding_options(parser)
    add(
        "--batch-size",
        type=at_least_one,
        default=16,
        help="images at once; a clip counts as its frames (default 16)",
    )
    formats = get_args(StripFormat)
    add(
        "--overlays",
        choices=(*formats, "none"),
        nargs="?",
        const=formats[0],
        help="format of the strip of word maps of each image and method: jpeg (default), webp "
        "(smaller, slower), png (about five times as large), or none; strips that are there are "
        "drawn again where format, height or font are given and differ",
    )
    add("--no-overlays", dest="overlays", action="store_const", const="none", help="as none")
    add(
        "--overlay-height",
        type=at_least_one,
        help=f"of each picture of a strip, in pixels (default {IMAGE_HEIGHT}, "
        f"of clips {FRAME_HEIGHT})",
    )
    add(
        "--font",
        help="a .ttf, .otf or .ttc file with the letters of the words, for overlays "
        "(default: a font of this machine that has them)",
    )
    return parser


def asked_for(options: argparse.Namespace, captioner: Captioner) -> Sentence | None:
    """The sentence to explain instead of captions, if one was given."""
    if options.query is None:
        refuse_idle(options, ["unknown_words"], "it is about words of a --query")
        return None
    return Sentence.of_query(captioner, options.query, unknown=options.unknown_words)


def remark_on_unknown(query: Sentence, unknown: Unknown) -> str | None:
    """A sentence on the words of a query that the captioner does not know, and how it reads them.

    Args:
      query: as `Sentence.of_query` made it.
      unknown: how that read them.
    """
    words = dict.fromkeys(query.words[index] for index in query.unknown)
    if not words:
        return None
    reads = {
        "token": "it reads its unknown token for each; --unknown-words=skip leaves them out",
        "skip": "it does not read them; --unknown-words=token reads its unknown token for each",
    }
    listed = printable(", ".join(words))
    return f"the captioner does not know these words of --query: {listed}; {reads[unknown]}"


def strip_files(options: argparse.Namespace) -> StripFiles | None:
    """How strips are written, if they are."""
    if options.overlays == "none":
        refuse_idle(options, ["overlay_height", "font"], "no overlays are written")
        return None
    return StripFiles(options.overlays, options.overlay_height, options.font)


def describe_run(
    options: argparse.Namespace,
    saved: Captioner,
    captioner: Captioner,
    decoding: Decoding,
    max_len: int,
) -> dict[str, Any]:
    """What run.json says of the `captioner` that the options make of the `saved` one."""
    return {
        "model_hash": captioner.hash,
        "model": options.model,
        "saved_model": saved.hash,
        "reading": getattr(captioner.net.decoder, "reading", None),
        "precision": options.precision,
        "query": options.query,
        "unknown_words": options.unknown_words,
        "decoding": describe(decoding, max_len),
        "code_version": code_version(),
    }
