"""Methods and their options on a command line."""

import argparse
from collections.abc import Callable, Sequence
from typing import Any, get_args

from capjax.captioner import Captioner
from capjax.explainers.batch import check_methods
from capjax.explainers.choosing import Chosen
from capjax.explainers.contract import Method
from capjax.explainers.methods import METHODS
from capjax.explainers.request import Measure


def add_method_options(add: Callable[..., Any], default: str, every: str = "") -> None:
    """`--methods`, `--set` and `--measure`.

    Args:
      add: `add_argument` of a parser or of a group of one.
      default: the method that is wanted where none is named.
      every: says that all may be named at once, where they may.
    """
    add(
        "--methods",
        default=default,
        help=f"comma-separated, of: {', '.join(METHODS)}{every}; "
        f"ig@steps=64 sets options and keeps both settings apart (default {default})",
    )
    add(
        "--set",
        action="append",
        default=[],
        metavar="METHOD.OPTION=VALUE",
        help="an option of a method of --methods, or of a study; may be repeated",
    )
    add(
        "--measure",
        choices=get_args(Measure),
        help="score that maps explain (default: each method's own, see --list-methods); "
        "ig@measure=logit sets it for one method",
    )


def chosen_methods(
    options: argparse.Namespace,
    captioner: Captioner,
    own: Sequence[Method] = (),
    *,
    contrasts: bool = False,
) -> tuple[Chosen, ...]:
    """The methods that a command line names, and those of one's own.

    Args:
      options: of the command line.
      captioner: that is explained.
      own: methods beside those of `METHODS`, in their places where they are named.
      contrasts: a word is to be told from another one.

    Raises:
      ValueError: what `check_methods` raises.
    """
    names = [name for name in options.methods.split(",") if name]
    named = {method.NAME: method for method in own if method.NAME in names}
    wanted = [
        *(named.get(name, name) for name in names),
        *(method for method in own if method.NAME not in named),
    ]
    asked = {"measure": options.measure, "contrasts": contrasts}
    return check_methods(captioner, wanted, options.set, **asked)
