"""Doubts on a command line."""

import argparse
from collections.abc import Callable
from typing import Any

from capjax.captioner import Captioner
from capjax.runtime.command_line import finite, refuse_idle
from capjax.studies.doubt.doubter import Kept, kept_doubt
from capjax.studies.doubt.reasons import DOUBTED


def add_doubt_options(add: Callable[..., Any]) -> None:
    """`--doubt`, `--no-doubt` and `--doubt-threshold`.

    Args:
      add: `add_argument` of a parser.
    """
    add(
        "--doubt",
        action=argparse.BooleanOptionalAction,
        help="say of each object word of a caption how probably it is hallucinated, and why "
        "(default: where the model has a doubt.json, which python -m capjax.evaluate.hallucination "
        "fit makes; captions take two to three times as long)",
    )
    add(
        "--doubt-threshold",
        type=_probability,
        default=DOUBTED,
        metavar="P",
        help=f"probability from which the report marks a word as doubtful (default {DOUBTED}); "
        "changes no result",
    )


def chosen_doubt(
    options: argparse.Namespace, captioner: Captioner, tell: Callable[[str], None]
) -> Kept | None:
    """What was fitted of when to doubt the captioner, where captions are to be doubted.

    Args:
      options: of the command line.
      captioner: that captions.
      tell: takes a sentence on why words are not doubted though the model has a doubt.json.

    Raises:
      ValueError: --doubt, and nothing was fitted for this captioner; the text says what to do.
    """
    if options.doubt:
        return kept_doubt(captioner)
    if captioner.doubt is None:
        refuse_idle(options, ["doubt_threshold"], "the model has no doubt.json; see --doubt")
    if options.doubt is False or captioner.doubt is None:
        return None
    try:
        return kept_doubt(captioner)
    except ValueError as error:
        tell(f"doubts of words: {error}")
        return None


def _probability(text: str) -> float:
    value = finite(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"got {text}, expected a probability, from 0 to 1")
    return value
