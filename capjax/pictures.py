"""What people hand over, as a captioner sees it and as people see it: files, Pillow images, arrays.

A captioner of clips (`Preprocessing.frames` > 0) sees clips, and a still image as a clip of one
frame; a captioner of images sees images. Letters: F frames seen of a clip, N frames of any number.
"""

import dataclasses
import os
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from capjax.data.clips import load_prepared_clip, prepare_clip, sample_clip
from capjax.data.frame_times import frame_indices
from capjax.data.images import from_pillow, load_image, load_prepared, prepare
from capjax.types import Preprocessing
from capjax.viz.report import FRAME_SIDE, THUMBNAIL_SIDE

PictureLike = str | os.PathLike[str] | Image.Image | np.ndarray
"""A path, a Pillow image (its current frame), or uint8 RGB: [H W 3], of a clip [N H W 3]."""
SHOWN_SIDE = 640
"""Frames of clips are kept for people no larger than this, in pixels of the longest side."""


@dataclasses.dataclass(frozen=True)
class Picture:
    """One image or clip, read.

    Attributes:
      prepared: what the encoder sees, [H W 3] or [F H W 3].
      original: (height, width) of the upright image or frames.
      shown: small and upright, for people, [H W 3] or [F H W 3].
      seconds: [F] when each frame of a clip is shown; None for an image.
    """

    prepared: UInt8[np.ndarray, "*F H W 3"]
    original: tuple[int, int]
    shown: UInt8[np.ndarray, "*F H2 W2 3"]
    seconds: Float[np.ndarray, " F"] | None = None

    @property
    def moments(self) -> dict[str, Any]:
        """Of a clip, its number of frames and when each is shown, as plain values."""
        if self.seconds is None:
            return {}
        times = [round(float(second), 3) for second in self.seconds]
        return {"frames": len(times), "seconds": times}


def several(images: Any, *, clips: bool) -> list[PictureLike]:
    """A list of images or clips, whether one or many were given."""
    if isinstance(images, (str, os.PathLike, Image.Image)):
        return [images]
    if isinstance(images, np.ndarray) and images.ndim in ((3, 4) if clips else (3,)):
        return [images]
    return list(images)


def prepared(
    source: PictureLike, preprocessing: Preprocessing
) -> tuple[UInt8[np.ndarray, "*F H W 3"], tuple[int, int]]:
    """What the encoder sees, and the (height, width) of the original.

    Raises:
      ValueError: a file that cannot be read, or an array that is no image (or clip).
    """
    if isinstance(source, (str, os.PathLike)):
        load: Callable[..., Any] = load_prepared_clip if preprocessing.frames else load_prepared
        pixels, geometry = load(source, preprocessing)
    elif preprocessing.frames:
        pixels, geometry = prepare_clip(_frames(source), preprocessing)
    else:
        pixels, geometry = prepare(_pixels(source), preprocessing)
    return pixels, geometry.original


def shown(
    source: PictureLike, frames: int
) -> tuple[UInt8[np.ndarray, "*F H W 3"], Float[np.ndarray, " F"] | None]:
    """What people see of it, upright, and when each frame of a clip file is shown.

    Args:
      source: an image at full size, or a clip, whose frames are made no larger than `SHOWN_SIDE`.
      frames: of a clip, as many as the captioner saw; 0 for an image.
    """
    if not frames:
        is_file = isinstance(source, (str, os.PathLike))
        return (load_image(source) if is_file else _pixels(source)), None  # type: ignore[arg-type]
    if isinstance(source, (str, os.PathLike)):
        sample = sample_clip(source, frames, keep=lambda frame: _reduced(frame, SHOWN_SIDE))
        return np.stack(sample.kept), sample.seconds
    given = _frames(source)
    chosen = frame_indices(len(given), frames)
    return np.stack([_reduced(given[index], SHOWN_SIDE) for index in chosen]), None


def read_picture(path: str | os.PathLike[str], preprocessing: Preprocessing) -> Picture:
    """A file for a report: a clip is decoded once for the encoder and for people.

    Raises:
      UnreadableFileError: not a whole image, or clip; the text names it and why.
    """
    if preprocessing.frames:
        sample = sample_clip(
            path,
            preprocessing.frames,
            keep=lambda frame: (
                prepare(frame, preprocessing)[0],
                _reduced(frame, FRAME_SIDE),
                frame.shape[:2],
            ),
        )
        seen, small, sizes = zip(*sample.kept, strict=True)
        return Picture(np.stack(seen), sizes[0], np.stack(small), sample.seconds)
    seen, geometry = load_prepared(path, preprocessing)
    small, _ = load_prepared(path, _shrinking(geometry.original, THUMBNAIL_SIDE))
    return Picture(seen, geometry.original, small)


def _reduced(frame: np.ndarray, side: int) -> np.ndarray:
    small, _ = prepare(frame, _shrinking((frame.shape[0], frame.shape[1]), side))
    return small


def _shrinking(size: tuple[int, int], side: int) -> Preprocessing:
    height, width = size
    scale = min(1.0, side / max(height, width))
    return Preprocessing((max(1, round(height * scale)), max(1, round(width * scale))))


def _pixels(image: Any) -> UInt8[np.ndarray, "H W 3"]:
    if isinstance(image, Image.Image):
        return from_pillow(image)
    array = np.asarray(image)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[-1] != 3:
        raise ValueError(
            f"got an array of {array.dtype} {array.shape}; expected uint8 [H W 3], 0..255"
        )
    return array


def _frames(clip: Any) -> UInt8[np.ndarray, "N H W 3"]:
    if isinstance(clip, Image.Image):
        return from_pillow(clip)[None]
    array = np.asarray(clip)
    array = array[None] if array.ndim == 3 else array
    if array.dtype != np.uint8 or array.ndim != 4 or array.shape[-1] != 3 or not len(array):
        raise ValueError(
            f"got an array of {array.dtype} {array.shape}; expected uint8 [N H W 3], 0..255: the "
            "frames of a clip"
        )
    return array
