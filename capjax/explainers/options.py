"""Methods and their options on a command line."""

import argparse
from collections.abc import Callable, Sequence
from typing import Any

from capjax.captioner import Captioner
from capjax.explainers.batch import check_methods
from capjax.explainers.choosing import Chosen
from capjax.explainers.contract import Method
from capjax.explainers.methods import METHODS


def add_method_options(add: Callable[..., Any], default: str) -> None:
    """`--methods` and `--set`.

    Args:
      add: `add_argument` of a parser or of a group of one.
      default: the method that is wanted where none is named.
    """
    add(
        "--methods",
        default=default,
        help=f"comma-separated, of: {', '.join(METHODS)}; with options as in ig@steps=64, which "
        f"keeps two settings of one method apart (default {default})",
    )
    add(
        "--set",
        action="append",
        default=[],
        metavar="METHOD.OPTION=VALUE",
        help="an option of a method of --methods; may be repeated",
    )


def chosen_methods(
    options: argparse.Namespace, captioner: Captioner, own: Sequence[Method] = ()
) -> tuple[Chosen, ...]:
    """The methods that a command line names, and those of one's own.

    Raises:
      ValueError: what `check_methods` raises.
    """
    names = [name for name in options.methods.split(",") if name]
    return check_methods(captioner, [*names, *own], options.set)
