"""Boxes in pixels: (x0, y0, x1, y1), 0-based, both ends inclusive."""

import math

Box = tuple[int, int, int, int]


def pixels_between(low: float, high: float) -> tuple[int, int]:
    """First and last pixel whose centre lies in [low, high) on a continuous axis.

    Pixel i covers [i, i + 1). Where no centre lies in the interval, first is last + 1.
    """
    return math.ceil(low - 0.5), math.ceil(high - 0.5) - 1
