"""Maps in half precision, each map under a scale of its own.

A scale is a power of two that brings the largest value of its map to [2^14, 2^15). Dividing and
multiplying by it is exact, so that rounding to float16 is all that is lost: of each value at most
2^-11 of itself down to 2^-29 of the map's largest, below that at most 2^-39 of the largest.
Gradients of 1e-12, which float16 alone would take for zero, keep their digits. NaN, for padding,
and infinities stay.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Float16

from capjax.folder.maps.arrays import Arrays

SCALE = ".scale"
"""Ends the name of the scales of an array."""
_HIGHEST = 15
_LOWEST_SCALE = -126
"""Exponents: of the largest value, scaled, below; and of the smallest normal float32."""


def pack(arrays: Mapping[str, np.ndarray]) -> Arrays:
    """Arrays of maps as float16 and their scales; others as they are."""
    packed: Arrays = {}
    for name, values in arrays.items():
        if values.dtype.kind == "f":
            packed[name], packed[name + SCALE] = halved(values)
        else:
            packed[name] = values
    return packed


def unpack(packed: Mapping[str, np.ndarray]) -> Arrays:
    """The inverse of `pack`, up to rounding."""
    return {
        name: whole(values, packed[name + SCALE]) if name + SCALE in packed else values
        for name, values in packed.items()
        if not name.endswith(SCALE)
    }


def packed_as(packed: Mapping[str, np.ndarray], arrays: Mapping[str, np.ndarray]) -> Arrays:
    """Arrays that were unpacked from `packed`, or some of them, bit for bit as they are there."""
    kept: Arrays = {}
    for name, values in arrays.items():
        if name + SCALE in packed:
            kept[name], kept[name + SCALE] = packed[name], packed[name + SCALE]
        else:
            kept[name] = values
    return kept


def halved(
    maps: Float[np.ndarray, "N ..."],
) -> tuple[Float16[np.ndarray, "N ..."], Float[np.ndarray, " N"]]:
    """Maps in float16 and the scale of each."""
    maps = np.asarray(maps, np.float32)
    size = np.abs(np.where(np.isfinite(maps), maps, 0))
    largest = size.max(axis=tuple(range(1, maps.ndim)), initial=0)
    _, exponent = np.frexp(largest)
    scale = np.ldexp(np.float32(1), np.maximum(exponent - _HIGHEST, _LOWEST_SCALE))
    scale = np.where(largest > 0, scale, 1).astype(np.float32)
    return (maps / _along(scale, maps)).astype(np.float16), scale


def whole(
    halves: Float16[np.ndarray, "N ..."], scale: Float[np.ndarray, " N"]
) -> Float[np.ndarray, "N ..."]:
    """Maps in float32."""
    return halves.astype(np.float32) * _along(scale, halves)


def _along(scale: np.ndarray, maps: np.ndarray) -> np.ndarray:
    return scale.reshape(-1, *(1,) * (maps.ndim - 1))
