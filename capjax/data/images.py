"""Image files to what an encoder sees: upright RGB, whatever the file's format, mode and depth."""

import os
from typing import NoReturn

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from capjax.data.records import is_clip_name
from capjax.types import Geometry, Preprocessing

# A fixed list: Pillow would also hand a file to Ghostscript if its content asks for it.
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "JPEG2000")
ORIENTATION = 0x0112  # EXIF tag
# EXIF orientation -> what puts the picture upright.
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SIDEWAYS = (5, 6, 7, 8)
RESAMPLING = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
# A JPEG may be decoded at a fraction of its size that leaves at least this multiple of the size
# wanted: the antialiased resize then decides the pixels, not the decoder's box filter.
DRAFT_MARGIN = 2


def load_image(path: str | os.PathLike[str]) -> UInt8[np.ndarray, "H W 3"]:
    """The picture in a file at full size: upright, RGB, transparency on white, 16 bits scaled.

    Raises:
      ValueError: the file is missing, empty, truncated or no image; the text names it and why.
    """
    image, _ = _read(path, None)
    return np.asarray(image)


def from_pillow(image: Image.Image) -> UInt8[np.ndarray, "H W 3"]:
    """An open Pillow image at full size: upright, RGB, transparency on white, 16 bits scaled."""
    transpose = UPRIGHT.get(_orientation(image))
    picture = _to_rgb(image)
    return np.asarray(picture if transpose is None else picture.transpose(transpose))


def prepare(
    image: UInt8[np.ndarray, "H W 3"],
    preprocessing: Preprocessing,
    *,
    grid: tuple[int, int] = (1, 1),
) -> tuple[UInt8[np.ndarray, "H2 W2 3"], Geometry]:
    """An image resized and cropped as `preprocessing` says, and where it lies on the original.

    Args:
      image: upright RGB.
      preprocessing: of the captioner.
      grid: (h, w) of the feature map, for the geometry (`Captioner.grid`).
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3:
        raise ValueError(f"got {image.dtype} {image.shape}; expected uint8 [H W 3] from load_image")
    return _fit(Image.fromarray(image), image.shape[:2], preprocessing, grid)


def load_prepared(
    path: str | os.PathLike[str],
    preprocessing: Preprocessing,
    *,
    grid: tuple[int, int] = (1, 1),
) -> tuple[UInt8[np.ndarray, "H2 W2 3"], Geometry]:
    """`prepare` of the picture in a file, fast for large JPEGs.

    A JPEG at least four times too large is decoded at 1/2, 1/4 or 1/8 of its size: values differ
    from `prepare(load_image(path))` by a few of 255. The geometry is that of the full size.

    Raises:
      ValueError: as `load_image`.
    """
    image, original = _read(path, preprocessing)
    return _fit(image, original, preprocessing, grid)


def _fit(
    image: Image.Image,
    original: tuple[int, int],
    preprocessing: Preprocessing,
    grid: tuple[int, int],
) -> tuple[np.ndarray, Geometry]:
    geometry = preprocessing.geometry(original, grid)
    height, width = geometry.resized
    if image.size != (width, height):
        image = image.resize((width, height), RESAMPLING[preprocessing.resample])
    top, left, height, width = geometry.crop
    if image.size != (width, height):
        image = image.crop((left, top, left + width, top + height))
    return np.asarray(image), geometry


def _read(
    path: str | os.PathLike[str], preprocessing: Preprocessing | None
) -> tuple[Image.Image, tuple[int, int]]:
    """Upright RGB picture, possibly reduced, and its (height, width) before any reduction."""
    try:
        if os.path.getsize(path) == 0:
            _refuse(path, "the file is empty")
        with Image.open(path, formats=FORMATS) as image:
            orientation = _orientation(image)
            width, height = image.size
            original = (width, height) if orientation in SIDEWAYS else (height, width)
            if preprocessing is not None:
                _draft(image, original, preprocessing, sideways=orientation in SIDEWAYS)
            picture = _to_rgb(image)
    except UnreadableFileError:
        raise
    except Exception as error:
        # Pillow's decoders raise nearly anything on damaged input (OSError, SyntaxError,
        # struct.error, zlib.error, DecompressionBombError …), and one file must not end a run.
        _refuse(path, _reason(path, error), cause=error)
    transpose = UPRIGHT.get(orientation)
    return (picture if transpose is None else picture.transpose(transpose)), original


class UnreadableFileError(ValueError):
    """A file that holds no complete picture or clip; the text names the file and the reason."""


def _refuse(
    path: str | os.PathLike[str], reason: str, *, cause: Exception | None = None
) -> NoReturn:
    raise UnreadableFileError(
        f"cannot read image {os.fspath(path)}: {reason}; expected a whole JPEG, PNG, GIF, BMP, "
        "TIFF, WebP, PPM or JPEG 2000 file"
    ) from cause


def _reason(path: str | os.PathLike[str], error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    if is_clip_name(os.fspath(path)):
        return "it is a clip, and images are read here; a captioner trained on clips reads it"
    if isinstance(error, Image.UnidentifiedImageError):
        return "the content is no image of a known format, or cut too short to tell"
    return f"{type(error).__name__}: {error}"


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(ORIENTATION, 1)
    except Exception:
        # Damaged metadata leave the pixels as they are; Pillow raises several kinds of errors here.
        return 1
    return value if isinstance(value, int) else 1


def _draft(
    image: Image.Image,
    original: tuple[int, int],
    preprocessing: Preprocessing,
    *,
    sideways: bool,
) -> None:
    height, width = preprocessing.geometry(original, (1, 1)).resized
    if sideways:
        height, width = width, height
    image.draft(None, (DRAFT_MARGIN * width, DRAFT_MARGIN * height))


def _to_rgb(image: Image.Image) -> Image.Image:
    """8-bit RGB of the first frame, in any of Pillow's modes."""
    if image.mode.startswith("I"):
        return _from_integers(image)
    if image.mode == "F":
        raise ValueError("floating-point pixels have no defined white; convert the file to 8 bits")
    if "A" in image.getbands() or "a" in image.getbands() or "transparency" in image.info:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, layer).convert("RGB")
    return image.convert("RGB")


def _from_integers(image: Image.Image) -> Image.Image:
    # Pillow clips 16-bit grey at 255 when asked for RGB.
    grey = np.asarray(image).astype(np.int64)
    if grey.min() < 0 or grey.max() > 65535:
        raise ValueError(f"got grey values {grey.min()}..{grey.max()}; expected 16 bits, 0..65535")
    return Image.fromarray(((grey + 128) // 257).astype(np.uint8)).convert("RGB")
