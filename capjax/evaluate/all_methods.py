"""`--methods=all`: every method that a captioner can give, and why it cannot give the others."""

import argparse
from collections.abc import Sequence

from capjax.captioner import Captioner
from capjax.explainers.batch import check_methods
from capjax.explainers.choosing import SEPARATOR, Chosen, choose
from capjax.explainers.contract import Method
from capjax.explainers.methods import METHODS
from capjax.explainers.options import chosen_methods

ALL = "all"


def evaluated_methods(
    options: argparse.Namespace, captioner: Captioner, own: Sequence[Method] = ()
) -> tuple[tuple[Chosen, ...], dict[str, str]]:
    """The methods of `--methods` and of one's own, and name -> reason of those that are refused.

    Only of `all` something may be refused: a method that somebody names is an error then.

    Raises:
      ValueError: what `check_methods` raises, or every method is refused.
    """
    names = [name for name in options.methods.split(",") if name]
    if ALL not in names:
        return chosen_methods(options, captioner, own), {}
    others = [name for name in names if name not in {ALL, *(method.NAME for method in own)}]
    measure = options.measure
    choose([*METHODS, *others], options.set, measure)  # options of no method are refused first
    allowed: list[str] = []
    refused: dict[str, str] = {}
    for name in METHODS:
        try:
            check_methods(captioner, [name], _of(name, options.set), measure=measure)
        except ValueError as error:
            refused[name] = str(error)
        else:
            allowed.append(name)
    named = [*others, *own]
    if named:
        check_methods(captioner, named, measure=measure)
    if not allowed and not named:
        raise ValueError(
            f"this captioner can give none of the methods: {'; '.join(refused.values())}"
        )
    kept = [text for name in allowed for text in _of(name, options.set)]
    return choose([*allowed, *named], kept, measure), refused


def _of(name: str, texts: Sequence[str]) -> list[str]:
    """The options of one method, as in "ig.steps=16"."""
    return [text for text in texts if text.partition(".")[0] == name.partition(SEPARATOR)[0]]
