"""Success against epsilon, as a table and as a curve."""

from collections.abc import Mapping, Sequence

import numpy as np

from capjax.metrics.intervals import bootstrap_intervals
from capjax.studies.contract import Curve, Table

LABEL = "fooled at {:g}/255"
"""The number of a finding: 1 where the captioner was fooled within so many levels."""

Fooled = Mapping[str, Mapping[float, Sequence[bool]]]
"""Attack -> epsilon in levels of 255 -> whether each picture was fooled."""


def success_table(fooled: Fooled) -> Table:
    """Share of pictures fooled, with its 95 % interval over pictures."""
    rows = []
    for attack, own in fooled.items():
        for epsilon, found in sorted(own.items()):
            values = np.array([found], np.float64)
            ((low, high),) = bootstrap_intervals(values, range(len(found)))
            rows.append(
                (attack, epsilon, float(values.mean()), float(low), float(high), len(found))
            )
    return Table(("attack", "epsilon/255", "fooled", "from", "to", "pictures"), tuple(rows))


def curve(fooled: Fooled) -> Curve:
    """Share of pictures fooled against epsilon, a line an attack."""
    lines = {
        attack: tuple((epsilon, float(np.mean(found))) for epsilon, found in sorted(own.items()))
        for attack, own in fooled.items()
    }
    return Curve("largest change, in levels of 255", "share of pictures fooled", lines)
