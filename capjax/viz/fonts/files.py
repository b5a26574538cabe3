"""Font files of this machine, and which letters each has."""

import functools
import importlib.util
import os
import pathlib
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterable, Iterator

import numpy as np
from jaxtyping import Int

SUFFIXES = (".ttf", ".otf", ".ttc", ".otc")
STYLED = ("bold", "italic", "oblique", "light", "thin", "black", "mono", "condensed", "serif")
"""In names of fonts that are taken last."""

Face = tuple[str, int]
"""A file, and the number of one font in it."""


@functools.cache
def system_fonts() -> tuple[Face, ...]:
    """Fonts of this machine, plain ones first: matplotlib's own, then those of the system.

    Usual folders are searched and, where there is fontconfig, its list.
    """
    found = {file for folder in _folders() for file in _below(folder)} | set(_listed())
    ordered = sorted(found, key=_rank)
    return tuple(face for file in [*_of_matplotlib(), *ordered] for face in faces(file))


@functools.cache
def faces(path: str) -> tuple[Face, ...]:
    """The fonts in a file: several in a collection, none in what is no font."""
    try:
        return tuple((path, index) for index in range(len(_starts(path))))
    except (OSError, struct.error, ValueError):
        return ()


@functools.cache
def letters(face: Face) -> Int[np.ndarray, " n"]:
    """Sorted code points that a font has a glyph for; none where its table is damaged."""
    path, index = face
    try:
        with open(path, "rb") as stream:
            table = _table(stream.read(), _starts(path)[index], b"cmap")
        found = _mapped(table)
    except (OSError, struct.error, ValueError, IndexError):
        found = set()
    return np.array(sorted(found), np.int32)  # some fonts have 60,000


def has(face: Face, wanted: Iterable[str]) -> bool:
    """Whether a font has all these letters."""
    return bool(np.isin([ord(letter) for letter in wanted], letters(face)).all())


def _rank(path: str) -> tuple[int, str]:
    name = os.path.basename(path).lower()
    # LastResort, of macOS, has a box for every letter there is.
    return ("lastresort" in name) * 99 + sum(style in name for style in STYLED), name


def _of_matplotlib() -> list[str]:
    """DejaVu Sans as matplotlib brings it: the same letters on every machine that has that."""
    place = importlib.util.find_spec("matplotlib")
    roots = place.submodule_search_locations if place else None
    files = [pathlib.Path(root, "mpl-data/fonts/ttf/DejaVuSans.ttf") for root in roots or ()]
    return [str(file) for file in files if file.is_file()]


def _folders() -> list[str]:
    home = os.path.expanduser("~")
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA", home)
        windows = os.environ.get("WINDIR", r"C:\Windows")
        return [rf"{windows}\Fonts", rf"{local}\Microsoft\Windows\Fonts"]
    if sys.platform == "darwin":
        return ["/System/Library/Fonts", "/Library/Fonts", f"{home}/Library/Fonts"]
    shared = os.environ.get("XDG_DATA_HOME", f"{home}/.local/share")
    return ["/usr/share/fonts", "/usr/local/share/fonts", f"{shared}/fonts", f"{home}/.fonts"]


def _below(folder: str) -> Iterator[str]:
    for root, _, names in os.walk(folder):
        yield from (os.path.join(root, name) for name in names if name.lower().endswith(SUFFIXES))


def _listed() -> list[str]:
    """What fontconfig knows, for systems that keep fonts elsewhere."""
    program = shutil.which("fc-list")
    if program is None:
        return []
    done = subprocess.run([program, "--format=%{file}\n"], capture_output=True, check=False)
    files = done.stdout.decode("utf-8", "surrogateescape").splitlines()
    return [file for file in files if file.lower().endswith(SUFFIXES)]


def _starts(path: str) -> list[int]:
    """Where each font of a file begins (OpenType 1.9, "Organization of an OpenType Font")."""
    with open(path, "rb") as stream:
        head = stream.read(12)
        if head[:4] in (b"\0\1\0\0", b"OTTO", b"true"):
            return [0]
        if head[:4] != b"ttcf":
            raise ValueError(f"{path} is no font in TrueType's or OpenType's format")
        count = struct.unpack(">I", head[8:])[0]
        return list(struct.unpack(f">{count}I", stream.read(4 * count)))


def _table(raw: bytes, start: int, wanted: bytes) -> bytes:
    for number in range(struct.unpack_from(">H", raw, start + 4)[0]):
        name, _, offset, length = struct.unpack_from(">4sIII", raw, start + 12 + 16 * number)
        if name == wanted:
            return raw[offset : offset + length]
    raise ValueError(f"the font has no table {wanted!r}")


def _mapped(table: bytes) -> set[int]:
    """Code points of the Unicode subtables of formats 4 and 12 (OpenType 1.9, "cmap")."""
    found: set[int] = set()
    for number in range(struct.unpack_from(">H", table, 2)[0]):
        platform, encoding, offset = struct.unpack_from(">HHI", table, 4 + 8 * number)
        if platform != 0 and (platform, encoding) not in ((3, 1), (3, 10)):
            continue
        kind = struct.unpack_from(">H", table, offset)[0]
        if kind == 4:
            found |= _format_4(table, offset)
        elif kind == 12:
            count = struct.unpack_from(">I", table, offset + 12)[0]
            for first, last, glyph in struct.iter_unpack(
                ">III", table[offset + 16 : offset + 16 + 12 * count]
            ):
                found.update(range(first + (glyph == 0), last + 1))
    return found


def _format_4(table: bytes, offset: int) -> set[int]:
    segments = struct.unpack_from(">H", table, offset + 6)[0] // 2
    at = offset + 14
    shorts = np.frombuffer(table[at:], ">u2", count=(len(table) - at) // 2).astype(int)
    ends, starts = shorts[:segments], shorts[segments + 1 : 2 * segments + 1]
    deltas = shorts[2 * segments + 1 : 3 * segments + 1]
    places = shorts[3 * segments + 1 : 4 * segments + 1]
    found: set[int] = set()
    for segment in range(segments):
        codes = np.arange(starts[segment], ends[segment] + 1)
        if places[segment]:
            # Counted from the segment's own entry; glyph 0 stands for a letter that is missing.
            entry = 3 * segments + 1 + segment + places[segment] // 2 + codes - starts[segment]
            glyphs = np.where(entry < len(shorts), shorts[np.minimum(entry, len(shorts) - 1)], 0)
            codes = codes[glyphs != 0]
        else:
            codes = codes[(codes + deltas[segment]) % 65536 != 0]
        found.update(codes.tolist())
    return found - {0xFFFF}
