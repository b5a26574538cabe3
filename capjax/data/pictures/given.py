"""What people hand over, as a captioner sees it and as people see it: files, Pillow images, arrays.

A captioner of clips (`Preprocessing.frames` > 0) sees clips, and a still image as a clip of one
frame; a captioner of images sees images. Letters: F frames seen of a clip, N frames of any number.
"""

import dataclasses
import functools
import io
import os
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any, BinaryIO, TypeGuard

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from capjax.data.pictures.arrays import is_array, is_one, on_host, rgb, rgb_frames
from capjax.data.pictures.clips import load_prepared_clip, prepare_clip, sample_clip
from capjax.data.pictures.frame_times import frame_indices
from capjax.data.pictures.images import (
    from_pillow,
    load_image,
    load_prepared,
    load_prepared_pair,
    prepare,
)
from capjax.data.pictures.opening import ImageFile
from capjax.runtime.files import local_path, printable
from capjax.types import Preprocessing

THUMBNAIL_SIDE = 320
"""Most pixels of the longest side of an image in a report."""
FRAME_SIDE = 192
"""Of each frame of a clip: a clip has dozens of them."""
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


PictureLike = str | os.PathLike[str] | Image.Image | BinaryIO | bytes | np.ndarray | Picture
"""A path, a Pillow image (its current frame), the content of a file (bytes, or a seekable stream),
or an array of NumPy, JAX or torch, uint8 or floats from 0 to 1: [H W 3] RGB, [H W 4] with
transparency, [H W 1] or [H W] grey, of a clip [N H W C]; or what `read_picture` read for a
captioner of the same preprocessing, of which nothing is decoded again."""


def several(images: Any, *, clips: bool) -> list[PictureLike]:
    """A list of images or clips, whether one or many were given.

    Raises:
      ValueError: none, or something else.
    """
    one = (str, os.PathLike, Image.Image, bytes, Picture)
    if isinstance(images, one) or hasattr(images, "read"):
        return [_source(images)]
    if is_array(images):
        images = on_host(images)
        if is_one(images, clips=clips):
            return [images]
    if isinstance(images, Mapping) or not isinstance(images, Iterable):
        raise ValueError(
            f"got {_described(images)} for images; expected a path, a Pillow image, an array, or a "
            "list of these"
        )
    found = [_source(image) for image in images]
    if not found:
        raise ValueError(f"got no images: {_described(images)} of none; give one or more")
    return found


def _source(image: Any) -> PictureLike:
    if isinstance(image, bytes):
        return io.BytesIO(image)
    if isinstance(image, (str, os.PathLike)):
        there = os.path.lexists(image)
        path = pathlib.Path(image) if there else local_path(image, "images")
        if path.is_dir():
            raise ValueError(
                f"{printable(path)} is a folder; give its files, such as "
                "sorted(pathlib.Path(folder).glob('*.jpg')), or use explain.py"
            )
        return path
    if isinstance(image, (Image.Image, Picture)) or hasattr(image, "read"):
        return image
    if is_array(image):
        return on_host(image)
    raise ValueError(
        f"got {_described(image)} for an image; expected a path, a Pillow image or an array"
    )


def _described(value: Any) -> str:
    return "None" if value is None else f"a {type(value).__name__}"


def prepared(
    source: PictureLike, preprocessing: Preprocessing, *, exact: bool = False
) -> tuple[UInt8[np.ndarray, "*F H W 3"], tuple[int, int]]:
    """What the encoder sees, and the (height, width) of the original.

    Args:
      source: an image or clip.
      preprocessing: of the captioner.
      exact: decodes a file of a large JPEG at its full size, see `load_prepared`.

    Raises:
      ValueError: a file that cannot be read, or an array that is no image (or clip).
    """
    if isinstance(source, Picture):
        return source.prepared, source.original
    if is_file(source) and preprocessing.frames:
        pixels, geometry = load_prepared_clip(source, preprocessing)
    elif is_file(source):
        pixels, geometry = load_prepared(source, preprocessing, exact=exact)
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
    if isinstance(source, Picture):
        return source.shown, source.seconds
    if not frames:
        return (load_image(source) if is_file(source) else _pixels(source)), None
    if is_file(source):
        sample = sample_clip(source, frames, keep=lambda frame: _reduced(frame, SHOWN_SIDE))
        return np.stack(sample.kept), sample.seconds
    given = _frames(source)
    chosen = frame_indices(len(given), frames)
    return np.stack([_reduced(given[index], SHOWN_SIDE) for index in chosen]), None


def read_picture(
    file: ImageFile,
    preprocessing: Preprocessing,
    *,
    side: int = THUMBNAIL_SIDE,
    exact: bool = False,
) -> Picture:
    """A file for the encoder and for people; a clip is decoded once for both.

    Args:
      file: path, or the content as a seekable binary stream.
      preprocessing: of the captioner.
      side: most pixels of the longest side of what is shown of an image.
      exact: decodes a large JPEG at its full size, see `load_prepared`.

    Raises:
      UnreadableFileError: not a whole image, or clip; the text names it and why.
    """
    if preprocessing.frames:
        sample = sample_clip(
            file,
            preprocessing.frames,
            keep=lambda frame: (
                prepare(frame, preprocessing)[0],
                _reduced(frame, FRAME_SIDE),
                frame.shape[:2],
            ),
        )
        seen, small, sizes = zip(*sample.kept, strict=True)
        return Picture(np.stack(seen), sizes[0], np.stack(small), sample.seconds)
    shrinking = functools.partial(_shrinking, side=side)
    seen, small, original = load_prepared_pair(file, preprocessing, shrinking, exact=exact)
    return Picture(seen, original, small)


def _reduced(frame: np.ndarray, side: int) -> np.ndarray:
    small, _ = prepare(frame, _shrinking((frame.shape[0], frame.shape[1]), side))
    return small


def _shrinking(size: tuple[int, int], side: int) -> Preprocessing:
    height, width = size
    scale = min(1.0, side / max(height, width))
    return Preprocessing((max(1, round(height * scale)), max(1, round(width * scale))))


def is_file(source: Any) -> TypeGuard[str | os.PathLike[str] | BinaryIO]:
    """Whether a picture was given as a path or as the content of a file."""
    return isinstance(source, (str, os.PathLike)) or hasattr(source, "read")


def _pixels(image: Any) -> UInt8[np.ndarray, "H W 3"]:
    if isinstance(image, Image.Image):
        return _from_pillow(image)
    return rgb(image)


def _frames(clip: Any) -> UInt8[np.ndarray, "N H W 3"]:
    if isinstance(clip, Image.Image):
        return _from_pillow(clip)[None]
    return rgb_frames(clip)


def _from_pillow(image: Image.Image) -> UInt8[np.ndarray, "H W 3"]:
    try:
        return from_pillow(image)
    except (ValueError, OSError) as error:
        width, height = image.size
        raise ValueError(
            f"cannot read the Pillow image of mode {image.mode} and {width}x{height} pixels: "
            f"{error}; convert it to RGB"
        ) from error
