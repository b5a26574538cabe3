"""Colour maps as tables of 256 RGB triples, so that drawing needs no plotting library."""

import functools

import numpy as np
from jaxtyping import UInt8

STOPS = {
    "gray": ("#000000", "#ffffff"),
    "heat": (
        *("#000004", "#1b0c41", "#4a0c6b", "#781c6d", "#a52c60"),
        *("#cf4446", "#ed6925", "#fb9b06", "#f7d13d", "#fcffa4"),
    ),
    "viridis": (
        *("#440154", "#482878", "#3e4989", "#31688e", "#26828e"),
        *("#1f9e89", "#35b779", "#6ece58", "#b5de2b", "#fde725"),
    ),
    "signed": ("#053061", "#2166ac", "#67a9cf", "#f7f7f7", "#ef8a62", "#b2182b", "#67001f"),
}
"""Equally spaced colours between which a map is linear. "signed" is for values around zero, which
is its middle; "heat" and "viridis" grow lighter evenly, so they survive a black-and-white print."""


@functools.cache
def colour_table(name: str) -> UInt8[np.ndarray, "256 3"]:
    """The colours of the levels 0, 1/255, ... 1; read-only.

    Raises:
      ValueError: an unknown name.
    """
    if name not in STOPS:
        raise ValueError(f"unknown colour map {name!r}; choose one of: {', '.join(STOPS)}")
    stops = np.array(
        [[int(stop[at : at + 2], 16) for at in (1, 3, 5)] for stop in STOPS[name]], np.float64
    )
    place = np.linspace(0, 1, len(stops))
    levels = np.linspace(0, 1, 256)
    table = np.stack([np.interp(levels, place, stops[:, channel]) for channel in range(3)], axis=1)
    table = np.round(table).astype(np.uint8)
    table.flags.writeable = False
    return table
