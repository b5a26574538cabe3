"""Options of the commands that write captions, and the decoding that they choose."""

import argparse
import dataclasses
from typing import Any

from capjax.captioner import Captioner
from capjax.decoders.selection import READINGS
from capjax.decoding import Beam, Decoding, HuggingFaceBeam, default_decoding
from capjax.decoding.rules import MAX_TOKENS, RERANK_WEIGHT, RERANKINGS, SEARCHES
from capjax.runtime.command_line import at_least_one, finite, not_negative


def add_decoding_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options that `chosen_decoding` and `reading_as` read, and those of reranking."""
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
        type=finite,
        help="beams rank by log p / length ** this; 0 favours short captions "
        "(default: the card's, else 1)",
    )
    add(
        "--max-length",
        type=at_least_one,
        help="most tokens of a caption, with its end token and without a start token "
        f"(default: the card's, else {MAX_TOKENS})",
    )
    add(
        "--reading",
        choices=READINGS,
        help="what attention passes on while a caption is written: the mean of all positions "
        "(expected), the most attended position (argmax) or a random one (sample) "
        "(default: as the model was saved)",
    )
    add(
        "--rerank",
        choices=RERANKINGS,
        help="doubt: of the captions that a beam search ends with take the one with the largest "
        "score - weight * expected hallucinated object words, by the model's doubt.json "
        "(default: the largest score)",
    )
    add(
        "--rerank-weight",
        type=not_negative,
        help="of a hallucinated object word against log-probability per token; 0 changes nothing "
        f"(default: {RERANK_WEIGHT:g})",
    )


def reading_as(options: argparse.Namespace, captioner: Captioner) -> Captioner:
    """The captioner with the command line's `--reading` of attention, if one is given."""
    return captioner.with_reading(options.reading) if options.reading else captioner


def chosen_decoding(options: argparse.Namespace, captioner: Captioner) -> tuple[Decoding, int]:
    """The decoding method that a command line asks for, and the most tokens of a caption.

    Options that are not given are taken from the model's card. With another --search than the
    card's they are that search's defaults.

    Raises:
      ValueError: an option has no meaning for the search.
    """
    method, max_len = default_decoding(captioner)
    search: Any = SEARCHES[options.search] if options.search else method
    if options.search and type(search) is type(method):
        search = method
    asked = {"width": options.beam, "length_penalty": options.length_penalty}
    asked = {name: value for name, value in asked.items() if value is not None}
    if asked and not isinstance(search, Beam | HuggingFaceBeam):
        raise ValueError(
            f"this model writes with {type(search).__name__}, which has no {' or '.join(asked)}; "
            "add --search=beam"
        )
    search = dataclasses.replace(search, **asked)
    if "length_penalty" in asked and search.width == 1:
        raise ValueError(
            "--length-penalty would have no effect: one beam ranks nothing; add --beam=3"
        )
    return search, options.max_length or max_len
