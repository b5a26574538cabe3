"""Options that several commands share."""

import argparse
import dataclasses
from typing import Any

from capjax.captioner import Captioner
from capjax.decoders.selection import READINGS
from capjax.decoding import Beam, Decoding, HuggingFaceBeam, default_decoding
from capjax.decoding.rules import MAX_TOKENS, SEARCHES

MODEL_HELP = (
    "a training workdir, a saved model, a shipped name, a folder as transformers writes it, or "
    "one of the hub: hf:owner/name[@revision]"
)


def at_least_one(text: str) -> int:
    """A positive number on a command line."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"got {value}, expected 1 or more")
    return value


def add_decoding_options(parser: argparse.ArgumentParser) -> None:
    """How captions are written; see `chosen_decoding`."""
    add = parser.add_argument
    add(
        "--search",
        choices=tuple(SEARCHES),
        help="rule of the beam search: ours or that of transformers "
        "(default: what the model was validated with, by its card, else beam)",
    )
    add(
        "--beam",
        type=at_least_one,
        help="beam width; 1 is greedy (default: the card's, else "
        + ", ".join(f"{rule.width} for {name}" for name, rule in SEARCHES.items())
        + ")",
    )
    add(
        "--length-penalty",
        type=float,
        help="beams rank by log p / length ** this; 0 favours short captions "
        "(default: the card's, else 1)",
    )
    add(
        "--max-length",
        type=at_least_one,
        help="most tokens of a caption, its end token included and a start token not "
        f"(default: the card's, else {MAX_TOKENS})",
    )
    add(
        "--reading",
        choices=READINGS,
        help="how attention is read while writing: the expected context, or one position a word, "
        "the most attended or a sampled one (default: as the model was saved)",
    )


def reading_as(options: argparse.Namespace, captioner: Captioner) -> Captioner:
    """The captioner, reading attention as the command line says."""
    return captioner.with_reading(options.reading) if options.reading else captioner


def chosen_decoding(options: argparse.Namespace, captioner: Captioner) -> tuple[Decoding, int]:
    """The method and the longest caption of a command line.

    What the options leave open is as in the model's card; with another --search than the card's,
    as usual for that search.
    """
    method, max_len = default_decoding(captioner)
    search: Any = SEARCHES[options.search] if options.search else method
    if options.search and type(search) is type(method):
        search = method
    given = {"width": options.beam, "length_penalty": options.length_penalty}
    given = {name: value for name, value in given.items() if value is not None}
    if given and not isinstance(search, Beam | HuggingFaceBeam):
        raise ValueError(
            f"this model writes with {type(search).__name__}, which has no {' or '.join(given)}; "
            "add --search=beam"
        )
    return dataclasses.replace(search, **given), options.max_length or max_len
