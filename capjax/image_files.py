"""The image and clip files that a command line names."""

import glob
import os
import pathlib
from collections.abc import Iterator, Sequence

from capjax.data.records import is_clip_name, is_image_name


def find_images(
    given: Sequence[str], *, exclude: pathlib.Path, clips: bool = False
) -> tuple[pathlib.Path, list[str]]:
    """(root, sorted paths below it with `/`) of what is named on the command line.

    In a folder a captioner of images finds images, one of clips finds clips, animations and still
    images (clips of one frame). Files named one by one are taken whatever they are: what the
    captioner cannot read fails by name, and does not end the run.

    Args:
      given: one folder (searched through and through), or files and patterns; commas separate too.
      exclude: a folder whose files are never taken, the output's.
      clips: whether the captioner is one of clips.

    Raises:
      ValueError: something named does not exist, or there is nothing that the captioner reads.
    """
    names: list[str] = []
    for name in given:
        names += [name] if os.path.exists(name) else name.split(",")
    if len(names) == 1 and os.path.isdir(names[0]):
        root = pathlib.Path(names[0])
        found = [
            file
            for file in _walk(root, exclude.resolve())
            if is_image_name(file) or (clips and is_clip_name(file))
        ]
    else:
        paths = [pathlib.Path(path) for name in names for path in sorted(glob.glob(name)) or [name]]
        missing = [str(path) for path in paths if not path.is_file()]
        if missing:
            raise ValueError(f"no such file: {', '.join(missing[:5])}; name existing files")
        root = pathlib.Path(os.path.commonpath([path.resolve().parent for path in paths]))
        found = [path.resolve().relative_to(root).as_posix() for path in paths]
    if not found and clips:
        raise ValueError(f"no clips in {', '.join(given)}; expected files like .mp4 or .avi")
    if not found:
        others = sum(map(is_clip_name, _walk(root, exclude.resolve())))
        raise ValueError(
            f"no images in {', '.join(given)}; expected files like .jpg or .png"
            + (f" (the {others} clips there need a captioner of clips)" if others else "")
        )
    return root, sorted(set(found))


def _walk(root: pathlib.Path, exclude: pathlib.Path) -> Iterator[str]:
    for folder, inner, files in os.walk(root):
        here = pathlib.Path(folder)
        inner[:] = [name for name in inner if (here / name).resolve() != exclude]
        for name in files:
            if not name.startswith("."):
                yield (here / name).relative_to(root).as_posix()
