"""Uploads that are no sound pictures, the same ones every time.

`python -m tests.serve.malformed FOLDER` writes them as files, for other tools.
"""

import gzip
import io
import random
import struct
import sys
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from tests.serve.serving import picture

KINDS = ("JPEG", "PNG", "GIF", "WEBP", "BMP")
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'
LAUGHS = b'<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><svg>&b;</svg>'
HTML = b"<!DOCTYPE html><script>alert(1)</script>"


def malformed() -> Iterator[tuple[str, bytes]]:
    """Name and content of each."""
    draw = random.Random(0)
    whole = {kind: picture(kind=kind, size=(20, 24)) for kind in KINDS}
    for kind, content in whole.items():
        for number in range(12):
            yield f"{kind}-cut-{number}", content[: len(content) * number // 12]
        for number in range(20):
            damaged = bytearray(content)
            for _ in range(1 + number):
                damaged[draw.randrange(len(damaged))] = draw.randrange(256)
            yield f"{kind}-flipped-{number}", bytes(damaged)
        for number in range(5):  # the header alone is hit
            damaged = bytearray(content)
            damaged[draw.randrange(min(40, len(damaged)))] ^= 1 << draw.randrange(8)
            yield f"{kind}-header-{number}", bytes(damaged)
        yield f"{kind}-after-html", HTML + content
        yield f"{kind}-after-nul", b"\0" + content
        yield f"{kind}-twice-the-start", content[:20] + content
    yield from _sizes(whole)
    yield from _others(whole)


def _sizes(whole: dict[str, bytes]) -> Iterator[tuple[str, bytes]]:
    """Headers that lie about width and height."""
    for width, height in ((0, 0), (0, 5), (2**31 - 1, 2**31 - 1), (2**32 - 1, 1), (70_000, 70_000)):
        yield f"png-{width}x{height}", _png(_chunk(b"IHDR", _header(width, height)))
    for width, height in ((0, 0), (65_535, 65_535)):
        gif = bytearray(whole["GIF"])
        gif[6:10] = struct.pack("<HH", width, height)
        yield f"gif-{width}x{height}", bytes(gif)
    for width, height in ((-(2**31), 1), (2**30, 2**30), (0, 0)):
        bmp = bytearray(whole["BMP"])
        bmp[18:26] = struct.pack("<ii", width, height)
        yield f"bmp-{width}x{height}", bytes(bmp)
    jpeg = bytearray(whole["JPEG"])
    start = jpeg.index(b"\xff\xc0")
    jpeg[start + 5 : start + 9] = b"\xff\xff\xff\xff"
    yield "jpeg-65535x65535", bytes(jpeg)


def _others(whole: dict[str, bytes]) -> Iterator[tuple[str, bytes]]:
    texts = zlib.compress(b"x" * 3_000_000)
    header, pixels = _chunk(b"IHDR", _header(2, 2)), _chunk(b"IDAT", zlib.compress(b"\0" * 14))
    yield "png-text-bomb", _png(header, _chunk(b"zTXt", b"a\0\0" + texts), pixels)
    yield "png-pixel-bomb", _png(header, _chunk(b"IDAT", zlib.compress(b"\0" * 1_000_000)))
    yield "png-palette-lacks", _png(_chunk(b"IHDR", _header(2, 2, colour=3)), pixels)
    for depth, colour in ((3, 2), (16, 3), (8, 5), (255, 255)):
        yield f"png-{depth}-{colour}", _png(_chunk(b"IHDR", _header(2, 2, depth, colour)), pixels)
    yield from (("svg", SVG), ("svg-marked", b"\xef\xbb\xbf  " + SVG), ("laughs", LAUGHS))
    yield from (
        ("html", HTML),
        ("one-byte", b"\xff"),
        ("nul", b"\0" * 5000),
        ("text", b"hi " * 999),
    )
    yield from (
        ("pdf", b"%PDF-1.7\n"),
        ("ps", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"),
    )
    yield from (("exe", b"MZ" + b"\x90" * 99), ("clip", b"\0\0\0\x18ftypmp42" + b"\0" * 99))
    yield from (("pickle", b"\x80\x04cos\nsystem\n"), ("heic", b"\0\0\0\x18ftypheic" + b"\0" * 99))
    yield "gzip", gzip.compress(whole["PNG"])
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("../../picture.png", whole["PNG"])
    yield "zip", packed.getvalue()
    for kind in ("TIFF", "PPM", "ICO", "TGA", "PCX", "SGI"):
        stream = io.BytesIO()
        Image.new("RGB", (16, 16)).save(stream, kind)
        yield f"kind-{kind}", stream.getvalue()
    form = b'--x\r\nContent-Disposition: form-data; name="image"; filename="../a.png"\r\n\r\n'
    yield "form", form + whole["PNG"] + b"\r\n--x--\r\n"


def _header(width: int, height: int, depth: int = 8, colour: int = 2) -> bytes:
    return struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png(*chunks: bytes) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks) + _chunk(b"IEND", b"")


if __name__ == "__main__":
    (folder,) = sys.argv[1:]
    Path(folder).mkdir(parents=True, exist_ok=True)
    for name, content in malformed():
        (Path(folder) / name).write_bytes(content)
