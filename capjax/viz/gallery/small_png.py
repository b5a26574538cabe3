"""PNG files small enough for a page of documentation."""

import io
from pathlib import Path

from PIL import Image

from capjax.runtime.files import replacing

COLOURS = (256, 128, 64, 32)
"""Sizes of palettes, tried in this order."""
ROUNDS = 2
"""In which the colours of a palette are moved."""


def write_small(image: Image.Image, path: Path, most: int) -> int:
    """Writes a picture with as many colours as its file has room for, and returns the file's size.

    The same pixels make the same bytes. Nothing is dithered, which would spoil letters and make the
    file larger; the colours of a palette cover all that occur, and are then moved to their means.

    Args:
      image: RGB.
      path: of the file; its folder is made where missing.
      most: bytes that the file may have.

    Raises:
      ValueError: the file is too large even with the smallest palette.
    """
    for colours in (None, *COLOURS):
        reduced = image if colours is None else _reduced(image, colours)
        stream = io.BytesIO()
        reduced.save(stream, "PNG", optimize=True)
        if stream.tell() <= most:
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as file:
                file.write(stream.getvalue())
            return stream.tell()
    raise ValueError(
        f"{path.name} takes {stream.tell():,} bytes with {COLOURS[-1]} colours; expected at most "
        f"{most:,}: draw it smaller"
    )


def _reduced(image: Image.Image, colours: int) -> Image.Image:
    cover, dither = Image.Quantize.MAXCOVERAGE, Image.Dither.NONE
    return image.quantize(colours, method=cover, kmeans=ROUNDS, dither=dither)
