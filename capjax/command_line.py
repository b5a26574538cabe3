"""Options that several commands share."""

import argparse

from capjax.api import MAX_TOKENS


def at_least_one(text: str) -> int:
    """A positive number on a command line."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"got {value}, expected 1 or more")
    return value


def add_decoding_options(parser: argparse.ArgumentParser) -> None:
    """How captions are written."""
    add = parser.add_argument
    add("--beam", type=at_least_one, default=3, help="beam width (default 3); 1 is greedy")
    add(
        "--length-penalty",
        type=float,
        default=1.0,
        help="beams rank by log p / length ** this (default 1); 0 favours short captions",
    )
    add(
        "--max-length",
        type=at_least_one,
        default=MAX_TOKENS,
        help=f"most tokens of a caption (default {MAX_TOKENS})",
    )
