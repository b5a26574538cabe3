"""Copies of a picture that a person takes for the same: with noise, and stored as JPEG."""

import io
import zlib

import numpy as np
from jaxtyping import UInt8
from PIL import Image


def with_noise(
    picture: UInt8[np.ndarray, "*F H W 3"], level: float, number: int
) -> UInt8[np.ndarray, "*F H W 3"]:
    """The picture with Gaussian noise on every value, rounded to 8 bits.

    Args:
      picture: of an image or clip.
      level: standard deviation, in levels of 255.
      number: of the copy; each draws other noise, from the pixels alone.
    """
    draw = np.random.default_rng((zlib.crc32(picture.tobytes()), number))
    moved = picture + level * draw.standard_normal(picture.shape, np.float32)
    return np.clip(np.rint(moved), 0, 255).astype(np.uint8)


def as_jpeg(picture: UInt8[np.ndarray, "*F H W 3"], quality: int) -> UInt8[np.ndarray, "*F H W 3"]:
    """The picture as it comes back from a JPEG file; each frame of a clip by itself.

    Args:
      picture: of an image or clip.
      quality: of Pillow, 1 to 100; colours at half the resolution, as usual.
    """
    frames = picture.reshape(-1, *picture.shape[-3:])
    return np.stack([_back(frame, quality) for frame in frames]).reshape(picture.shape)


def _back(frame: UInt8[np.ndarray, "H W 3"], quality: int) -> UInt8[np.ndarray, "H W 3"]:
    stream = io.BytesIO()
    Image.fromarray(frame).save(stream, "JPEG", quality=quality)
    with Image.open(stream) as image:
        return np.asarray(image.convert("RGB"))
