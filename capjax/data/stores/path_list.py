"""A text file that names images, one a line."""

import pathlib
import posixpath

from capjax.data.stores.files import Files
from capjax.data.stores.naming import inside
from capjax.data.stores.places import Local, Place
from capjax.runtime.files import is_address, listed, printable

_SHOWN = 3
"""How many repetitions an error shows."""


def read_list(place: Place) -> Files:
    """The images that a list names; one that is missing fails when it is read.

    A line is a path, which starts from the list's folder where it is relative, or an address.
    Empty lines and those that begin with # are skipped. An image below the list's folder is called
    by its path from there, any other by its whole path or address without what it begins with.

    Raises:
      OSError: the list cannot be read.
      ValueError: it names an image twice (both lines are named), or none, or none that is there.
    """
    text = place.content().removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
    folder = place.folder
    lines: dict[str, int] = {}
    written: dict[str, str] = {}
    twice: list[str] = []
    for number, line in enumerate(text.split("\n"), start=1):
        path = line.strip()
        if not path or path.startswith("#"):
            continue
        name = _name(path, folder)
        if name in lines:
            twice.append(f"{printable(path)} (lines {lines[name]} and {number})")
        lines.setdefault(name, number)
        written.setdefault(name, path)
    if twice:
        raise ValueError(
            f"{place} names {len(twice)} of its images twice: {listed(twice, most=_SHOWN)}; take "
            "one of the lines out"
        )
    if not written:
        raise ValueError(f"{place} names no image; expected paths or addresses, one a line")
    files = Files(pathlib.Path(folder), tuple(written), lambda name: place.beside(written[name]))
    if not any(_may_be_there(files.place(name)) for name in written):
        first = printable(next(iter(written.values())))
        raise ValueError(
            f"none of the {len(written)} files that {place} names is there, first {first!r}; "
            "expected images, one a line; relative paths start from the list's folder"
        )
    return files


def _may_be_there(place: Place) -> bool:
    return not isinstance(place, Local) or place.path.exists()


def _name(path: str, folder: str) -> str:
    """What the image of a line is called, wherever the run is started."""
    if is_address(path):
        return inside(path.partition(":")[2])
    whole = posixpath.normpath(posixpath.join(folder, path))
    return inside(whole.removeprefix(f"{folder.rstrip('/')}/"))
