"""Named arrays as the content of an .npz file: read as `numpy.load` does, several times as fast.

NumPy asks `zipfile` for each array, and Python's parser for what stands before it, though the
arrays of one image after the other have the same shapes. Here the directory of the archive is read
once, and each description of an array is parsed once for all that have it.
"""

import functools
import io
import math
import struct
import zipfile
import zlib
from typing import BinaryIO

import numpy as np

from capjax.folder.maps.arrays import Arrays

_END = struct.Struct("<4s4H2LH")
_ENTRY = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_NPY = struct.Struct("<6sBBH")
"""Records of an archive (APPNOTE.TXT 4.3), and what an array of NumPy's format 1 begins with."""
_ENDING = ".npy"


def from_npz(content: bytes, *, only: str | None = None) -> Arrays:
    """The arrays in the content of a file that `numpy.savez` wrote, as views of it, read-only.

    Args:
      content: of the file.
      only: the name of the one that is wanted; None: all.

    Raises:
      zipfile.BadZipFile: it is damaged, compressed, or no such file.
      ValueError: an array of it is none of plain numbers or text.
    """
    try:
        entries = _entries(content)
        if only is not None:
            entries = [entry for entry in entries if entry[0] == f"{only}{_ENDING}".encode()]
        return dict(_array(content, *entry) for entry in entries)
    except (struct.error, UnicodeDecodeError) as error:
        raise zipfile.BadZipFile(f"the archive is damaged: {error}") from error


def _entries(content: bytes) -> list[tuple[bytes, int, int, int]]:
    """Of each file of an archive: its name, checksum, size, and where it begins."""
    if len(content) < _END.size:
        raise zipfile.BadZipFile(f"{len(content)} bytes are no archive")
    kind, _, _, _, count, _, start, _ = _END.unpack_from(content, len(content) - _END.size)
    if kind != b"PK\5\6":
        raise zipfile.BadZipFile("the archive has no end: it is cut, or none")
    found = []
    for _ in range(count):
        kind, *own = _ENTRY.unpack_from(content, start)
        _, _, _, method, _, _, crc, packed, size, named, extra, comment, *_, offset = own
        start += _ENTRY.size
        name = content[start : start + named]
        if kind != b"PK\1\2" or method != zipfile.ZIP_STORED or packed != size:
            raise zipfile.BadZipFile(f"expected an array as it is at {name!r}")
        found.append((name, crc, size, offset))
        start += named + extra + comment
    if start != len(content) - _END.size:
        raise zipfile.BadZipFile(f"the archive counts {count} arrays, and its directory others")
    return found


def _array(content: bytes, name: bytes, crc: int, size: int, offset: int) -> tuple[str, np.ndarray]:
    """The name of an array, and its values."""
    kind, *_, named, extra = _LOCAL.unpack_from(content, offset)
    offset += _LOCAL.size
    if kind != b"PK\3\4" or content[offset : offset + named] != name:
        raise zipfile.BadZipFile(f"the directory says that {name!r} is where it is not")
    offset += named + extra
    stored = memoryview(content)[offset : offset + size]
    if zlib.crc32(stored) != crc:
        raise zipfile.BadZipFile(f"Bad CRC-32 for file {name!r}")
    *_, length = _NPY.unpack_from(stored)
    shape, turned, kept = _description(bytes(stored[: _NPY.size + length]))
    values = np.frombuffer(stored, kept, math.prod(shape), _NPY.size + length)
    whole = values.reshape(shape, order="F" if turned else "C")
    return name.decode().removesuffix(_ENDING), whole


@functools.lru_cache(1024)
def _description(head: bytes) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether columns come first, and kind of an array."""
    stream: BinaryIO = io.BytesIO(head)
    version = np.lib.format.read_magic(stream)
    if version != (1, 0):
        raise ValueError(f"an array is of version {version} of NumPy's format; expected (1, 0)")
    shape, turned, kept = np.lib.format.read_array_header_1_0(stream)
    if kept.hasobject:
        raise ValueError("an array holds objects of Python; expected numbers or text")
    return shape, turned, kept
