"""What several commands share: options with checked values, each given at most once."""

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from typing import Any

from capjax.runtime.memory import AUTO, GIGABYTE

MODEL_HELP = (
    "a training workdir, a checkpoint of one (WORKDIR@STEP), a saved model, a shipped name, a "
    "folder as transformers writes it, or one of the hub: hf:owner/name[@revision]"
)
_GIVEN = "_given"


class _Once(argparse.Action):
    """Stores a value; refuses an option that is given twice."""

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


class Listing(argparse.Action):
    """Prints what `described()` gives and ends, as --help does."""

    def __init__(self, option_strings: Sequence[str], dest: str, **named: Any) -> None:
        self._described: Callable[[], str] = named.pop("described")
        super().__init__(option_strings, dest, nargs=0, default=argparse.SUPPRESS, **named)

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        """Prints and ends the process."""
        sys.stdout.write(self._described() + "\n")
        parser.exit()


def refuse_repeated(parser: argparse.ArgumentParser) -> None:
    """Makes the parser refuse an option that is given twice, of those added from now on."""
    for name in (None, "store"):
        parser.register("action", name, _Once)


def given(options: argparse.Namespace) -> set[str]:
    """Names of the options that were given a value on the command line; defaults do not count.

    Args:
      options: from a parser after `refuse_repeated`.
    """
    return set(vars(options).get(_GIVEN, ()))


def refuse_idle(options: argparse.Namespace, names: Sequence[str], why: str) -> None:
    """Refuses options that would change nothing.

    Args:
      options: from a parser after `refuse_repeated`.
      names: of the options that have no effect here.
      why: for the message.

    Raises:
      ValueError: one of them was given.
    """
    idle = [f"--{name.replace('_', '-')}" for name in names if name in given(options)]
    if idle:
        raise ValueError(f"{' and '.join(idle)} would have no effect: {why}")


def at_least_one(text: str) -> int:
    """Parses a whole number from 1."""
    return _whole_number(text, 1)


def from_zero(text: str) -> int:
    """Parses a whole number from 0."""
    return _whole_number(text, 0)


def _whole_number(text: str, least: int) -> int:
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if value < least:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a whole number from {least}")
    return value


def add_batch_options(add: Callable[..., Any], default: int) -> None:
    """Adds --batch-size, a number or "auto", and --memory, in bytes once parsed.

    Args:
      add: a parser's `add_argument`.
      default: images at once.
    """
    add(
        "--batch-size",
        type=_number_or_auto,
        default=default,
        metavar="{N,auto}",
        help=f"images at once, over all devices; a clip counts as its frames (default {default}); "
        "auto: the most that fit into memory by the compiler's account, which is printed first; a "
        "number that does not fit is refused before the work; changes no result",
    )
    add(
        "--memory",
        type=_gigabytes,
        metavar="GB",
        help="what --batch-size may count on, of each device (default: what the device gives out; "
        "on a processor what the machine has free)",
    )


def add_precision_option(add: Callable[..., Any]) -> None:
    """Adds --precision, for `Captioner.in_precision`."""
    add(
        "--precision",
        choices=("float32", "bfloat16"),
        help="of products and activations of encoder and decoder (default: as the model was saved, "
        "mostly float32); sums, softmax and maps stay float32",
    )


def _number_or_auto(text: str) -> int | str:
    return AUTO if text == AUTO else at_least_one(text)


def _gigabytes(text: str) -> float:
    value = finite(text)
    if value <= 0:
        raise argparse.ArgumentTypeError(f"got {text}, expected gigabytes, more than 0")
    return value * GIGABYTE


def finite(text: str) -> float:
    """Parses a finite number."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a number")
    return value


def not_negative(text: str) -> float:
    """Parses a finite number from 0."""
    value = finite(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"got {text}, expected 0 or more")
    return value
