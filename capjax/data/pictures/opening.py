"""Opening picture files: which formats, and what is in the way of a sound picture.

Metadata decide nothing but which way is up. Pillow refuses a PNG for large ones, to keep a small
file from filling the memory with text; here such text is left out instead.
"""

import contextlib
import io
import os
import stat
import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from PIL import Image, PngImagePlugin

from capjax.runtime.files import printable

ImageFile = str | os.PathLike[str] | BinaryIO
"""A path, or the content of a file as a seekable binary stream."""


def called(file: ImageFile) -> str:
    """What an error calls a file: its path, or a stream's name."""
    if isinstance(file, (str, os.PathLike)):
        return printable(file)
    return printable(str(getattr(file, "name", "in memory")))


def in_memory(content: bytes, name: str) -> BinaryIO:
    """The content of a file as a stream, with the name that errors call it by."""
    stream = io.BytesIO(content)
    stream.name = name
    return stream


def _reads_avif() -> bool:
    try:
        from PIL import AvifImagePlugin
    except ImportError:  # before Pillow 11.3
        return False
    return AvifImagePlugin.SUPPORTED


# A fixed list: Pillow would also hand a file to Ghostscript if its content asks for it.
FORMATS = (
    *("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "JPEG2000"),
    *(("AVIF",) if _reads_avif() else ()),
)
READABLE = "JPEG, PNG, GIF, BMP, TIFF, WebP, PPM, JPEG 2000" + ", AVIF" * ("AVIF" in FORMATS)

CLIP = "a clip"
_SIGNATURES: tuple[tuple[int, tuple[bytes, ...], str], ...] = (
    (4, (b"ftypheic", b"ftypheix", b"ftypmif1", b"ftypmsf1", b"ftyphevc"), "a HEIC photograph"),
    (4, (b"ftypavif", b"ftypavis"), "an AVIF picture, which Pillow reads from version 11.3 on"),
    (4, (b"ftyp",), CLIP),
    (0, (b"\xff\x0a", b"\0\0\0\x0cJXL "), "a JPEG XL picture"),
    (0, (b"8BPS",), "a Photoshop document"),
    (0, (b"<svg", b"<?xml"), "a drawing made of lines (SVG), or other XML"),
    (0, (b"%PDF", b"%!PS"), "a document (PDF or PostScript)"),
    (
        0,
        (b"<!DOCTYPE", b"<!doctype", b"<html", b"<HTML"),
        "a web page, as failed downloads leave",
    ),
    (0, (b"version https://git-lfs",), "a pointer of Git LFS; `git lfs pull` fetches the picture"),
)
"""(offset, beginnings, what it is) of files that are taken for pictures and are none of these."""

_TEXTS = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")
_SIGNATURE = b"\x89PNG\r\n\x1a\n"


@contextlib.contextmanager
def opened(file: ImageFile) -> Iterator[Image.Image]:
    """The picture in a file, its pixels not yet decoded.

    Raises:
      ValueError: an empty file, or no ordinary one.
      Exception: nearly anything that Pillow raises on damaged content.
    """
    check_content(file)
    if isinstance(file, (str, os.PathLike)):
        with open(file, "rb") as stream, opened(stream) as image:
            yield image
        return
    beginning = _at(file, 0, len(_SIGNATURE))
    file.seek(0)
    content = _without_large_texts(file) if beginning == _SIGNATURE else file
    with Image.open(content, formats=FORMATS) as image:
        yield image


def check_content(file: ImageFile) -> None:
    """Raises ValueError for a file that is empty, or no ordinary one."""
    if isinstance(file, (str, os.PathLike)):
        found = os.stat(file)
        if not stat.S_ISREG(found.st_mode):  # reading a pipe would wait for ever
            is_folder = stat.S_ISDIR(found.st_mode)
            raise ValueError("it is a folder" if is_folder else "it is no ordinary file")
        empty = not found.st_size
    else:
        empty = not _at(file, 0, 1)
        file.seek(0)
    if empty:
        raise ValueError("the file is empty")


def kind_of(file: ImageFile) -> str | None:
    """What a file is that Pillow does not know; None where that is unknown."""
    try:
        if isinstance(file, (str, os.PathLike)):
            with open(file, "rb") as stream:
                return kind_of(stream)
        start = _at(file, 0, 64).removeprefix(b"\xef\xbb\xbf").lstrip()
    except OSError:
        return None
    for offset, beginnings, name in _SIGNATURES:
        if start[offset:].startswith(beginnings):
            return name
    return None


def _without_large_texts(file: BinaryIO) -> BinaryIO:
    """A PNG without the texts and profiles that Pillow refuses for their size; else as it is."""
    place, texts, dropped = len(_SIGNATURE), 0, False
    kept = [(0, place)]
    while len(head := _at(file, place, 8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        size = _text_size(kind, _at(file, place + 8, length)) if kind in _TEXTS else 0
        if size > PngImagePlugin.MAX_TEXT_CHUNK or texts + size > PngImagePlugin.MAX_TEXT_MEMORY:
            dropped = True
        else:
            kept.append((place, 12 + length))
            texts += size
        place += 12 + length
    file.seek(0)
    if not dropped:
        return file
    return io.BytesIO(b"".join(_at(file, start, length) for start, length in kept))


def _text_size(kind: bytes, body: bytes) -> int:
    """Bytes of the text or profile in a chunk of PNG, counted no further than Pillow allows."""
    _, _, text = body.partition(b"\0")
    if kind == b"tEXt":
        return len(text)
    if kind == b"iTXt":
        compressed = text.startswith(b"\1")
        text = text[2:].split(b"\0", 2)[-1]  # after the language and the translated keyword
        if not compressed:
            return len(text)
    else:
        text = text[1:]
    try:
        return len(zlib.decompressobj().decompress(text, PngImagePlugin.MAX_TEXT_CHUNK + 1))
    except zlib.error:
        return 0  # Pillow leaves damaged ones out


def _at(file: BinaryIO, start: int, length: int) -> bytes:
    file.seek(start)
    return file.read(length)
