"""Superpixels of pictures (SLIC, Achanta et al. 2012), cut on the host."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Int, UInt8

from capjax.explainers.contract import Method

COMPACTNESS, SIGMA = 20.0, 1.0
"""How much nearness counts against likeness of colour, and the smoothing before, in pixels: those
of ACE (Ghorbani et al. 2019)."""


def superpixels(
    images: UInt8[np.ndarray, "B *F H W 3"], segments: int
) -> Int[np.ndarray, "B *F H W"]:
    """The superpixel of each pixel, 0 to at most `segments` - 1, of every picture or frame.

    Raises:
      ValueError: scikit-image is not installed.
    """
    slic = require()
    pictures = images.reshape(-1, *images.shape[-3:])
    labels = np.stack([_cut(slic, picture, segments) for picture in pictures])
    return labels.reshape(images.shape[:-1])


def superpixels_for(
    methods: Sequence[Method], images: UInt8[np.ndarray, "B *F H W 3"]
) -> dict[int, np.ndarray]:
    """Those that methods ask for, by their number (`Request.superpixels`)."""
    return {number: superpixels(images, number) for number in _asked(methods)}


def superpixel_shapes(
    methods: Sequence[Method], images: jax.ShapeDtypeStruct
) -> dict[int, jax.ShapeDtypeStruct]:
    """The shapes of them, wherever the images are."""
    shape = jax.ShapeDtypeStruct(images.shape[:-1], np.int32)
    return {number: shape for number in _asked(methods)}


def _asked(methods: Sequence[Method]) -> list[int]:
    return sorted({method.superpixels for method in methods} - {0})


def _cut(slic: Any, picture: np.ndarray, segments: int) -> Int[np.ndarray, "H W"]:
    """One picture's, asking for fewer while there are too many."""

    def cut(asked: int) -> np.ndarray:
        options = {"compactness": COMPACTNESS, "sigma": SIGMA, "start_label": 0}
        return np.asarray(slic(picture, n_segments=asked, **options), np.int32)

    asked, labels = segments, cut(segments)
    while labels.max() >= segments:
        asked -= 1
        labels = cut(asked)
    return labels


def require() -> Any:
    """scikit-image's SLIC.

    Raises:
      ValueError: it is not installed.
    """
    try:
        from skimage.segmentation import slic
    except ImportError as error:
        raise ValueError(
            'superpixels need scikit-image: pip install "capjax[segments]"; or leave `segments` '
            "out, and the players are cells of a grid"
        ) from error
    return slic
