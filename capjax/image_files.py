"""The image files that a command line names."""

import glob
import os
import pathlib
from collections.abc import Iterator, Sequence

from capjax.data.records import is_image_name


def find_images(given: Sequence[str], *, exclude: pathlib.Path) -> tuple[pathlib.Path, list[str]]:
    """(root, sorted paths below it with `/`) of the images named on the command line.

    Args:
      given: one folder (searched through and through), or files and patterns; commas separate too.
      exclude: a folder whose files are never taken, the output's.

    Raises:
      ValueError: something named does not exist, or there is no image.
    """
    names: list[str] = []
    for name in given:
        names += [name] if os.path.exists(name) else name.split(",")
    if len(names) == 1 and os.path.isdir(names[0]):
        root = pathlib.Path(names[0])
        found = list(_walk(root, exclude.resolve()))
    else:
        paths = [pathlib.Path(path) for name in names for path in sorted(glob.glob(name)) or [name]]
        missing = [str(path) for path in paths if not path.is_file()]
        if missing:
            raise ValueError(f"no such image file: {', '.join(missing[:5])}; name existing files")
        root = pathlib.Path(os.path.commonpath([path.resolve().parent for path in paths]))
        found = [path.resolve().relative_to(root).as_posix() for path in paths]
    if not found:
        raise ValueError(f"no images in {', '.join(given)}; expected files like .jpg or .png")
    return root, sorted(set(found))


def _walk(root: pathlib.Path, exclude: pathlib.Path) -> Iterator[str]:
    for folder, inner, files in os.walk(root):
        here = pathlib.Path(folder)
        inner[:] = [name for name in inner if (here / name).resolve() != exclude]
        for name in files:
            if is_image_name(name) and not name.startswith("."):
                yield (here / name).relative_to(root).as_posix()
