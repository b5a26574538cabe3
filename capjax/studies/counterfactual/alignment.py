"""Which words of two captions are the same, by their longest common subsequence."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

Change = Literal["kept", "lost", "gained"]


class Aligned(NamedTuple):
    """Two captions, word by word.

    Attributes:
      pairs: (place in the one, place in the other) of the words that both say, in order.
      lost: places in the one that the other lacks.
      gained: places in the other that the one lacks.
    """

    pairs: tuple[tuple[int, int], ...]
    lost: tuple[int, ...]
    gained: tuple[int, ...]


def align(before: Sequence[str], after: Sequence[str]) -> Aligned:
    """The longest common subsequence; of several the one whose words come first."""
    longest = np.zeros((len(before) + 1, len(after) + 1), int)
    for one in reversed(range(len(before))):
        for other in reversed(range(len(after))):
            longest[one, other] = (
                1 + longest[one + 1, other + 1]
                if before[one] == after[other]
                else max(longest[one + 1, other], longest[one, other + 1])
            )
    pairs = list[tuple[int, int]]()
    one = other = 0
    while one < len(before) and other < len(after):
        if before[one] == after[other]:
            pairs.append((one, other))
            one, other = one + 1, other + 1
        elif longest[one + 1, other] >= longest[one, other + 1]:
            one += 1
        else:
            other += 1
    kept, there = ({pair[side] for pair in pairs} for side in (0, 1))
    return Aligned(
        tuple(pairs),
        tuple(at for at in range(len(before)) if at not in kept),
        tuple(at for at in range(len(after)) if at not in there),
    )


def changes(before: Sequence[str], after: Sequence[str]) -> tuple[tuple[str, Change], ...]:
    """The words of both captions as one text: what was lost stands before what came instead."""
    found = align(before, after)
    told = list[tuple[str, Change]]()
    one = other = 0
    for here, there in (*found.pairs, (len(before), len(after))):
        told += [(word, "lost") for word in before[one:here]]
        told += [(word, "gained") for word in after[other:there]]
        if here < len(before):
            told.append((before[here], "kept"))
        one, other = here + 1, there + 1
    return tuple(told)
