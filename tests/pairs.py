"""Grids of variants thinned to pairs: what goes wrong takes one value or two, hardly ever three."""

import itertools
from collections.abc import Sequence
from typing import Any


def pairs(*choices: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Few combinations of these choices, so that any two values of two choices meet in one."""

    def met(combination: tuple[Any, ...]) -> set[Any]:
        return set(itertools.combinations(enumerate(combination), 2))

    every = list(itertools.product(*choices))
    missing: set[Any] = set().union(*map(met, every))
    found = []
    while missing:
        found.append(max(every, key=lambda combination: len(met(combination) & missing)))
        missing -= met(found[-1])
    return found
