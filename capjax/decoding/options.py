"""Options that several commands share."""

import argparse
import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from capjax.captioner import Captioner
from capjax.decoders.selection import READINGS
from capjax.decoding import Beam, Decoding, HuggingFaceBeam, default_decoding
from capjax.decoding.rules import MAX_TOKENS, SEARCHES

MODEL_HELP = (
    "a training workdir, a saved model, a shipped name, a folder as transformers writes it, or "
    "one of the hub: hf:owner/name[@revision]"
)


_GIVEN = "_given"


class _Once(argparse.Action):
    """Stores a value; an option that is given twice is an error, not its last value."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        seen: set[str] = vars(namespace).setdefault(_GIVEN, set())
        if self.dest in seen:
            raise argparse.ArgumentError(self, "given twice; give it once")
        seen.add(self.dest)
        setattr(namespace, self.dest, values)


def refuse_repeated(parser: argparse.ArgumentParser) -> None:
    """Makes options that are added from now on errors where they are given twice."""
    for name in (None, "store"):
        parser.register("action", name, _Once)


def given(options: argparse.Namespace) -> set[str]:
    """Names of the options with a value that stand on the command line, defaults left out.

    Args:
      options: of a parser that refuses repeated ones.
    """
    return set(vars(options).get(_GIVEN, ()))


def refuse_idle(options: argparse.Namespace, names: Sequence[str], why: str) -> None:
    """Raises ValueError where one of some options is given that would change nothing, and why."""
    idle = [f"--{name.replace('_', '-')}" for name in names if name in given(options)]
    if idle:
        raise ValueError(f"{' and '.join(idle)} would have no effect: {why}")


def at_least_one(text: str) -> int:
    """A positive whole number on a command line."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a whole number from 1")
    return value


def finite(text: str) -> float:
    """A finite number on a command line."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a number")
    return value


def not_negative(text: str) -> float:
    """A finite number from 0 on a command line."""
    value = finite(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"got {text}, expected 0 or more")
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
        type=finite,
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
