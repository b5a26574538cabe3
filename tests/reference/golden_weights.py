"""The generator behind the golden numbers: a short cycle of multiples of 0.1."""

import numpy as np


def golden(seed, *shape):
    """Array number `seed` of a shape, float64."""
    index = np.arange(int(np.prod(shape)))
    return (0.1 * (((7 * index + 3 * seed) % 11) - 5)).reshape(shape)
