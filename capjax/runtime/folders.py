"""Lists the files below a folder: follows links once, leaves out files of other programs."""

import os
import pathlib
from collections.abc import Callable, Iterator

FOREIGN = frozenset(
    {
        *("__MACOSX", "__pycache__", "@eaDir", "#recycle", "$RECYCLE.BIN", "lost+found"),
        *("System Volume Information", "Thumbs.db", "ehthumbs.db", "desktop.ini", "Icon\r"),
    }
)
"""What systems and archives leave among people's files; so is all that starts with a dot."""


def is_foreign(name: str) -> bool:
    """Whether a file or folder of this name is hidden, or of another program."""
    return name.startswith(".") or name in FOREIGN


def walk(
    root: pathlib.Path,
    *,
    exclude: pathlib.Path | None = None,
    tell: Callable[[str], None] = lambda note: None,
) -> Iterator[str]:
    """Paths below a folder with `/`, sorted within each folder, of files that are not hidden.

    Links to folders are followed, each folder is read once: first what lies below the root itself,
    then what links lead to.

    Args:
      root: the folder; it may be hidden, or a link.
      exclude: a resolved folder that is not entered.
      tell: takes a sentence on each folder that is left out: one that was read already by another
        way, or that cannot be read.
    """
    seen: dict[pathlib.Path, str] = {}
    waiting, links = [""], list[str]()
    while waiting or links:
        here = waiting.pop(0) if waiting else links.pop(0)
        folder = root / here
        real = folder.resolve()
        if real == exclude:
            continue
        if real in seen:
            tell(f"{here} leads to {seen[real] or 'the folder itself'}, which is read once")
            continue
        seen[real] = here
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            tell(f"{here or root} cannot be read and is left out: {error.strerror}")
            continue
        below = []
        for entry in entries:
            path = f"{here}/{entry.name}" if here else entry.name
            if is_foreign(entry.name):
                continue
            if not os.path.isdir(entry.path):
                yield path
            elif entry.is_symlink():
                links.append(path)
            else:
                below.append(path)
        waiting[:0] = below
