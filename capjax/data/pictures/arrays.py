"""Arrays that people hand over as pictures, as uint8 RGB: of NumPy, JAX or torch, grey or float."""

from typing import Any, NoReturn

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from capjax.data.pictures.images import from_pillow

CHANNELS = (1, 3, 4)
"""Of grey, RGB, and RGB with transparency."""
EXPECTED = "expected uint8 or floats from 0 to 1, [H W 3], [H W 4], [H W 1] or [H W]"
EXPECTED_CLIP = (
    "expected uint8 [N H W 3], the frames of a clip, or floats from 0 to 1; the last dimension may "
    "be 3, 4 or 1"
)


def is_array(value: Any) -> bool:
    """Whether a value is an array of numbers, of whatever library."""
    return hasattr(value, "__array__") and hasattr(value, "shape") and hasattr(value, "dtype")


def on_host(array: Any) -> np.ndarray:
    """The values as NumPy has them, those of torch without its gradients and its device."""
    for step in ("detach", "cpu"):
        array = getattr(array, step, lambda same=array: same)()
    found = np.asarray(array)
    # NumPy knows bfloat16 by its name alone.
    return found.astype(np.float32) if found.dtype.name == "bfloat16" else found


def is_one(array: np.ndarray, *, clips: bool) -> bool:
    """Whether an array is one picture (or clip), not a batch of them.

    Three dimensions of which neither the first nor the last can be channels are grey images; one
    dimension is a list.
    """
    if clips or array.ndim != 3:
        return 1 < array.ndim <= (4 if clips else 2)
    return array.shape[-1] in CHANNELS or array.shape[0] in CHANNELS


def rgb(image: Any) -> UInt8[np.ndarray, "H W 3"]:
    """One picture.

    Raises:
      ValueError: another shape, dtype or range; the text says which and what to do.
    """
    array = on_host(image)
    if array.ndim not in (2, 3) or not array.size:
        _refuse(array, EXPECTED)
    if array.ndim == 3 and array.shape[-1] not in CHANNELS:
        _refuse(array, EXPECTED, channel_first=array.shape[0] in CHANNELS)
    return _coloured(_bytes(array, EXPECTED))


def rgb_frames(clip: Any) -> UInt8[np.ndarray, "N H W 3"]:
    """The frames of a clip; a single picture is a clip of one frame.

    Raises:
      ValueError: as `rgb`.
    """
    array = on_host(clip)
    if array.ndim in (2, 3) and array.size and (array.ndim == 2 or array.shape[-1] in CHANNELS):
        return rgb(array)[None]
    if array.ndim != 4 or not array.size or array.shape[-1] not in CHANNELS:
        first = array.ndim == 4 and array.shape[1] in CHANNELS and array.size > 0
        _refuse(array, EXPECTED_CLIP, channel_first=first)
    pixels = _bytes(array, EXPECTED_CLIP)
    return pixels if pixels.shape[-1] == 3 else np.stack([_coloured(frame) for frame in pixels])


def _coloured(pixels: UInt8[np.ndarray, "H W *C"]) -> UInt8[np.ndarray, "H W 3"]:
    if pixels.ndim == 3 and pixels.shape[-1] == 3:
        return pixels
    if pixels.ndim == 3 and pixels.shape[-1] == 4:
        return from_pillow(Image.fromarray(pixels))
    return np.repeat(pixels.reshape(*pixels.shape[:2], 1), 3, axis=2)


def _bytes(array: np.ndarray, expected: str) -> np.ndarray:
    """The values as 0..255."""
    if array.dtype == np.uint8:
        return array
    if not np.issubdtype(array.dtype, np.floating):
        whole = np.issubdtype(array.dtype, np.integer) and 0 <= array.min() and array.max() <= 255
        _refuse(array, expected, advice="use .astype('uint8')" if whole else "")
    low, high = float(array.min()), float(array.max())
    if not (low >= 0 and high <= 1):  # not a number is neither
        advice = "divide by 255" if low >= 0 and high <= 255 else "undo its normalisation"
        _refuse(array, expected, advice=advice if np.isfinite([low, high]).all() else "")
    return np.rint(array * np.float32(255)).astype(np.uint8)


def _refuse(
    array: np.ndarray, expected: str, *, channel_first: bool = False, advice: str = ""
) -> NoReturn:
    numbers = array.size and array.dtype.kind in "iuf"
    span = f", {array.min():g} to {array.max():g}" if numbers else ""
    if channel_first:
        order = "(1, 2, 0)" if array.ndim == 3 else "(0, 2, 3, 1)"
        advice = f"channels come last: use .transpose{order}, of torch .permute{order}"
    raise ValueError(
        f"got an array of {array.dtype} {array.shape}{span}; {expected}"
        + (f"; {advice}" if advice else "")
    )
