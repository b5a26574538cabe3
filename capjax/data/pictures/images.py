"""Image files to what an encoder sees: upright RGB, whatever the file's format, mode and depth."""

import math
from collections.abc import Callable
from typing import NamedTuple, NoReturn

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from capjax.data.captions.records import is_clip_name
from capjax.data.pictures.opening import CLIP, READABLE, ImageFile, called, kind_of, opened
from capjax.data.pictures.resizers import PILLOW, RESIZERS, resized_part
from capjax.types import Geometry, Preprocessing

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
# A JPEG may be decoded at a fraction of its size that leaves at least this multiple of the size
# wanted: the antialiased resize then decides the pixels, not the decoder's box filter.
DRAFT_MARGIN = 2
MOST_RESIZED = 2**24
"""Most pixels of a picture that is resized whole and then cropped: 50 MB. Cropping by the shorter
side would stretch a narrow strip without limit, so only the part that is kept is made."""


def load_image(file: ImageFile) -> UInt8[np.ndarray, "H W 3"]:
    """The picture in a file at full size: upright, RGB, transparency on white, 16 bits scaled.

    Raises:
      ValueError: the file is missing, empty, truncated or no image; the text names it and why.
    """
    return np.asarray(_read(file, None).picture)


class Layout(NamedTuple):
    """How the picture lies in a file: (height, width) as stored and upright, and whether EXIF turns
    or flips it."""

    stored: tuple[int, int]
    upright: tuple[int, int]
    turned: bool


def layout_of(file: ImageFile) -> Layout:
    """The layout of the picture in a file, of most formats from its header alone.

    Raises:
      UnreadableFileError: as `load_image`.
    """
    try:
        with opened(file) as image:
            stored, orientation = (image.height, image.width), _orientation(image)
    except Exception as error:
        _refuse(file, error)
    upright = stored[::-1] if orientation in SIDEWAYS else stored
    return Layout(stored, upright, orientation in UPRIGHT)


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
    file: ImageFile,
    preprocessing: Preprocessing,
    *,
    grid: tuple[int, int] = (1, 1),
    resizer: str = PILLOW,
    exact: bool = False,
) -> tuple[UInt8[np.ndarray, "H2 W2 3"], Geometry]:
    """`prepare` of the picture in a file, fast for large JPEGs.

    A JPEG at least four times too large is decoded at 1/2, 1/4 or 1/8 of its size: values differ
    from `prepare(load_image(file))` by 1.5 of 255 on average at the most, single ones by up to 32,
    at edges of strong colours. The geometry is that of the full size.

    Args:
      file: path, or the file's content as a seekable binary stream.
      preprocessing: of the captioner.
      grid: (h, w) of the feature map, for the geometry (`Captioner.grid`).
      resizer: key of `capjax.data.pictures.resizers.RESIZERS`.
      exact: decodes a JPEG at its full size.

    Raises:
      ValueError: as `load_image`.
    """
    image, original, _ = _read(file, None if exact else preprocessing)
    return _fit(image, original, preprocessing, grid, resizer)


def load_prepared_pair(
    file: ImageFile,
    preprocessing: Preprocessing,
    other: Callable[[tuple[int, int]], Preprocessing],
    *,
    exact: bool = False,
) -> tuple[UInt8[np.ndarray, "H W 3"], UInt8[np.ndarray, "H2 W2 3"], tuple[int, int]]:
    """`load_prepared` twice, and the (height, width) of the original.

    The file is decoded once, unless a JPEG is decoded at different fractions of its size.

    Args:
      file: as of `load_prepared`.
      preprocessing: the first.
      other: (height, width) of the original -> the second.
      exact: as of `load_prepared`.

    Raises:
      ValueError: as `load_image`.
    """
    image, original, decoded = _read(file, None if exact else preprocessing)
    beside = other(original)
    again = image
    if not exact and decoded != _decoded_size(file, beside):
        again = _read(file, beside).picture
    one, _ = _fit(image, original, preprocessing, (1, 1))
    two, _ = _fit(again, original, beside, (1, 1))
    return one, two, original


def _fit(
    image: Image.Image,
    original: tuple[int, int],
    preprocessing: Preprocessing,
    grid: tuple[int, int],
    resizer: str = PILLOW,
) -> tuple[np.ndarray, Geometry]:
    geometry = preprocessing.geometry(original, grid)
    height, width = geometry.resized
    if math.prod(geometry.resized) > MOST_RESIZED:
        return np.asarray(resized_part(image, geometry, preprocessing.resample)), geometry
    if image.size != (width, height):
        image = RESIZERS[resizer](image, (width, height), preprocessing.resample)
    top, left, height, width = geometry.crop
    if image.size != (width, height):
        image = image.crop((left, top, left + width, top + height))
    return np.asarray(image), geometry


class _Decoded(NamedTuple):
    """An upright RGB picture, possibly reduced, its (height, width) before any reduction, and the
    (width, height) at which it was decoded."""

    picture: Image.Image
    original: tuple[int, int]
    size: tuple[int, int]


def _read(file: ImageFile, preprocessing: Preprocessing | None) -> _Decoded:
    try:
        with opened(file) as image:
            orientation = _orientation(image)
            width, height = image.size
            original = (width, height) if orientation in SIDEWAYS else (height, width)
            if preprocessing is not None:
                _draft(image, orientation in SIDEWAYS, original, preprocessing)
            size = image.size
            picture = _to_rgb(image)
    except Exception as error:
        # Pillow's decoders raise nearly anything on damaged input (OSError, SyntaxError,
        # struct.error, zlib.error, DecompressionBombError …), and one file must not end a run.
        _refuse(file, error)
    transpose = UPRIGHT.get(orientation)
    picture = picture if transpose is None else picture.transpose(transpose)
    return _Decoded(picture, original, size)


def _draft(
    image: Image.Image, sideways: bool, original: tuple[int, int], preprocessing: Preprocessing
) -> None:
    """Has a JPEG decoded at the fraction of its size that is enough; other formats stay."""
    height, width = preprocessing.geometry(original, (1, 1)).resized
    wanted = (height, width) if sideways else (width, height)
    image.draft(None, (DRAFT_MARGIN * wanted[0], DRAFT_MARGIN * wanted[1]))


def _decoded_size(file: ImageFile, preprocessing: Preprocessing) -> tuple[int, int]:
    """(width, height), as stored, at which a file that can be read is decoded."""
    with opened(file) as image:
        sideways = _orientation(image) in SIDEWAYS
        width, height = image.size
        original = (width, height) if sideways else (height, width)
        _draft(image, sideways, original, preprocessing)
        return image.size


class UnreadableFileError(ValueError):
    """A file that holds no complete picture or clip; the text names the file and the reason."""


def _refuse(file: ImageFile, error: Exception) -> NoReturn:
    raise UnreadableFileError(
        f"cannot read image {called(file)}: {reason(file, error)}; expected a whole file of one of "
        f"these kinds: {READABLE}"
    ) from error


def reason(file: ImageFile, error: Exception) -> str:
    """Why a picture could not be read, as a clause."""
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    if type(error) is ValueError:
        return str(error)
    kind = kind_of(file)
    if is_clip_name(called(file)) or kind == CLIP:
        return "it is a clip, and images are read here; a captioner trained on clips reads it"
    if isinstance(error, Image.DecompressionBombError):
        return f"{error} Make a smaller copy"
    if isinstance(error, Image.UnidentifiedImageError):
        if kind is not None:
            return f"it is {kind}"
        return "the content is no image of a known format, or cut too short to tell"
    return f"{type(error).__name__}: {error}"


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(ORIENTATION, 1)
    except Exception:
        # Damaged metadata leave the pixels as they are; Pillow raises several kinds of errors here.
        return 1
    return value if isinstance(value, int) else 1


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
    if image.mode == "RGB":
        image.load()  # a conversion would copy it: a fifth of the time of a photograph
        return image
    return image.convert("RGB")


def _from_integers(image: Image.Image) -> Image.Image:
    # Pillow clips 16-bit grey at 255 when asked for RGB.
    grey = np.asarray(image)
    if grey.min() < 0 or grey.max() > 65535:
        raise ValueError(f"got grey values {grey.min()}..{grey.max()}; expected 16 bits, 0..65535")
    scaled = np.empty(grey.shape, np.uint8)
    for row, values in enumerate(grey):  # whole pictures as integers of 64 bits would be large
        scaled[row] = (values.astype(np.int64) + 128) // 257
    return Image.fromarray(scaled).convert("RGB")
