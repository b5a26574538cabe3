"""Antialiased resizing of 8-bit RGB pictures: Pillow's, and the same with vector instructions."""

import dataclasses
import importlib.util
import threading
from collections.abc import Callable, Mapping
from typing import Any

from PIL import Image

from capjax.types import Geometry, Preprocessing

PILLOW, SIMD = "pillow", "simd"
RESAMPLING = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
CROP_SHORTER, CROP_SIDE = 256, 224
"""Show, Attend and Tell's protocol: the shorter side to 256 pixels, of which the central 224."""
_own = threading.local()


def with_pillow(image: Image.Image, size: tuple[int, int], resample: str) -> Image.Image:
    """An RGB picture of (width, height) `size`; `resample` as in `Preprocessing`.

    Rows first, then columns, in two calls. Each pass rounds, so their order changes values, and
    Pillow 13 and later choose it by the shape of the picture.
    """
    rule = RESAMPLING[resample]
    return image.resize((size[0], image.height), rule).resize(size, rule)


def with_simd(image: Image.Image, size: tuple[int, int], resample: str) -> Image.Image:
    """Resizes in a third of the time (cykooz-resizer: AVX2, SSE4.1, Neon).

    Values are Pillow's or next to them: its fixed-point arithmetic rounds differently. "bicubic" is
    left to Pillow, which takes the two passes in the other order: overshoots are clipped between
    them, so values at hard edges would differ by up to 20 of 255.
    """
    if resample != "bilinear":
        return with_pillow(image, size, resample)
    resizer, options = _resizer()
    result = Image.new("RGB", size)
    resizer.resize_pil(image, result, options)
    return result


def resized_part(image: Image.Image, geometry: Geometry, resample: str) -> Image.Image:
    """What `geometry.crop` keeps of the resized RGB picture, without making the rest.

    Values differ from those of the whole where Pillow rounds between its two passes.
    """
    top, left, height, width = geometry.crop
    down, across = image.height / geometry.resized[0], image.width / geometry.resized[1]
    box = (left * across, top * down, (left + width) * across, (top + height) * down)
    box = (*box[:2], min(box[2], image.width), min(box[3], image.height))
    return image.resize((width, height), RESAMPLING[resample], box=box)


def _resizer() -> tuple[Any, Any]:
    """This thread's: one is not shared, as it keeps a buffer."""
    if not hasattr(_own, "resizer"):
        try:
            import cykooz_resizer
        except ImportError as error:
            raise ImportError(f"resizer {SIMD!r}: {_MISSING}") from error
        triangle = cykooz_resizer.ResizeAlg.convolution(cykooz_resizer.FilterType.bilinear)
        _own.options = cykooz_resizer.ResizeOptions(resize_alg=triangle, use_alpha=False)
        _own.resizer = cykooz_resizer.Resizer()
    return _own.resizer, _own.options


RESIZERS: Mapping[str, Callable[[Image.Image, tuple[int, int], str], Image.Image]] = {
    PILLOW: with_pillow,
    SIMD: with_simd,
}
_MISSING = 'cykooz-resizer is not installed; pip install "capjax[fast]"'


def check_resizer(name: str) -> None:
    """Raises ValueError for a resizer that does not exist or is not installed."""
    if name not in RESIZERS:
        raise ValueError(f"data.resizer is {name!r}; choose one of: {', '.join(RESIZERS)}")
    if name == SIMD and importlib.util.find_spec("cykooz_resizer") is None:
        raise ValueError(f"data.resizer is {name!r}, but {_MISSING}, or choose {PILLOW!r}")


def check_resize(resize: str, shorter: int) -> None:
    """Raises ValueError for `data.resize` and `data.shorter` without meaning."""
    if resize not in ("", "squash", "crop"):
        raise ValueError(f"data.resize is {resize!r}; choose squash or crop, or leave it empty")
    if shorter and resize != "crop":
        raise ValueError(
            f"data.shorter={shorter} is the shorter side before a crop, and data.resize is "
            f"{resize!r}; set data.resize=crop, or data.shorter=0"
        )


def resizing(preprocessing: Preprocessing, resize: str, shorter: int = 0) -> Preprocessing:
    """The preprocessing with another way to its size; see `data.resize` and `data.shorter`."""
    if not resize:
        return preprocessing
    if resize == "squash":
        return dataclasses.replace(preprocessing, resize="squash", shorter=None)
    usual = round(max(preprocessing.size) * CROP_SHORTER / CROP_SIDE)
    return dataclasses.replace(preprocessing, resize="crop", shorter=shorter or usual)
