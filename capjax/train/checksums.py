"""Checksums of a folder of files, to notice damage before it is trained on."""

import json
import pathlib
import zlib

SUMS = "sums.json"
_PIECE = 2**22


def write_sums(folder: pathlib.Path) -> None:
    """Writes size and CRC-32 of every file below `folder` into it.

    Its own top-level files are left out: Orbax notes the time of completion in one of them later.
    """
    sums = {
        path.relative_to(folder).as_posix(): [path.stat().st_size, _crc(path)]
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.parent != folder
    }
    (folder / SUMS).write_text(json.dumps(sums))


def damage(folder: pathlib.Path) -> str | None:
    """What is wrong with the files of `folder`: "" if nothing, None where it has no checksums."""
    try:
        sums = json.loads((folder / SUMS).read_text())
    except FileNotFoundError:
        return None
    except ValueError:
        return f"{SUMS} is no JSON"
    for name, (size, crc) in sums.items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        found = path.stat().st_size
        if found != size:
            return f"{name} has {found} bytes instead of {size}"
        if _crc(path) != crc:
            return f"the content of {name} has changed"
    return ""


def _crc(path: pathlib.Path) -> int:
    value = 0
    with path.open("rb") as stream:
        while piece := stream.read(_PIECE):
            value = zlib.crc32(piece, value)
    return value
