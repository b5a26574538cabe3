"""Which effects of earlier words are drawn as arrows, and the arcs that they are drawn along."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

LEAST_BITS = 0.5
"""Smaller effects get no arrow."""

MOST_ARROWS = 2
"""Into each word: its largest effects."""

FULL_BITS = 6.0
"""From this many on, arrows are as thick as they get."""


class Arrow(NamedTuple):
    """What one word owes to an earlier one.

    Attributes:
      start, end: numbers of the earlier word and of the later one.
      bits: that the earlier word adds to the later one's log-probability; negative where it makes
        the later one less probable.
    """

    start: int
    end: int
    bits: float

    @property
    def strength(self) -> float:
        """From 0 to 1."""
        return min(abs(self.bits), FULL_BITS) / FULL_BITS


def arrows(effects: Float[np.ndarray, "N N"]) -> list[Arrow]:
    """The effects to draw, of at least `LEAST_BITS`, at most `MOST_ARROWS` into each word.

    Args:
      effects: bits that each word (row) owes to each earlier one (column).
    """
    found = []
    for end, row in enumerate(np.asarray(effects, np.float64)):
        strongest = np.argsort(-np.abs(row[:end]), kind="stable")[:MOST_ARROWS]
        found += [
            Arrow(int(start), end, float(row[start]))
            for start in sorted(strongest)
            if abs(row[start]) >= LEAST_BITS
        ]
    return found


def check_effects(effects: Float[np.ndarray, "N N"], words: Sequence[str]) -> None:
    """Raises ValueError for effects that are not one a pair of words."""
    shape = np.shape(effects)
    if shape != (len(words), len(words)):
        raise ValueError(
            f"got effects of shape {shape} for {len(words)} words; expected one a pair of words, "
            f"[{len(words)} {len(words)}]"
        )
