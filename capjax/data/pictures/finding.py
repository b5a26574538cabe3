"""The image and clip files that a command line names."""

import collections
import functools
import glob
import os
import pathlib
import re
import unicodedata
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from capjax.data.captions.records import is_clip_name, is_foreign_name, is_image_name
from capjax.runtime.files import local_path, printable, written_out
from capjax.runtime.folders import walk

_DRIVE = re.compile(r"([A-Za-z]):[\\/]")


def find_images(
    given: Sequence[str],
    *,
    exclude: pathlib.Path,
    clips: bool = False,
    tell: Callable[[str], None] = lambda note: None,
) -> tuple[pathlib.Path, list[str]]:
    """(root, sorted paths below it with `/`) of what is named on the command line.

    In a folder all pictures and clips are asked for, by their names' endings: those that the
    captioner cannot read, clips among images or HEIC photographs, fail by name and do not end the
    run. So do files named one by one, whatever they are called.

    Args:
      given: folders (searched through and through), files and patterns; commas separate too. What
        exists under a name is meant by it, whatever else the name could mean.
      exclude: a folder whose files are never taken, the output's.
      clips: whether the captioner is one of clips.
      tell: takes a sentence on each folder, and on all files, that a search leaves out.

    Raises:
      ValueError: something named does not exist or is on another system, or there is nothing that
        the captioner reads.
    """
    places = [place for name in given for place in places_of(name)]
    single = len(places) == 1 and places[0].is_dir()
    folder = functools.cache(lambda path: path.resolve())
    found: dict[pathlib.Path, None] = {}
    for place in places:
        if place.is_dir():
            inside = _pictures(place, exclude.resolve(), tell)
            paths = [(place if single else folder(place)) / file for file in inside]
        else:
            paths = [folder(place.parent) / place.name]
        found.update(dict.fromkeys(paths))
    unique = {(folder(path.parent), path.name): path for path in reversed(found)}
    if not clips and all(is_clip_name(path.name) for path in found) and _folders(places):
        raise ValueError(
            f"no images in {_listed(given)}; expected files like .jpg or .png"
            + (f" (the {len(found)} clips there need a captioner of clips)" if found else "")
        )
    if not found:
        raise ValueError(f"no clips in {_listed(given)}; expected files like .mp4 or .avi")
    root = places[0] if single else _common(path.parent for path in unique.values())
    return root, sorted(path.relative_to(root).as_posix() for path in unique.values())


def drawn(names: Sequence[str], count: int | None, seed: int) -> list[str]:
    """So many of some names, in their order; all of them where there are not more, or for None."""
    if count is None or count >= len(names):
        return list(names)
    chosen = np.random.default_rng(seed).permutation(len(names))[:count]
    return [names[index] for index in sorted(chosen)]


def places_of(name: str) -> list[pathlib.Path]:
    """The files and folders that a name means: one that exists, what a pattern fits, or a list.

    Braces are a list too: `*.{jpg,png}` is `*.jpg,*.png`, each of which must fit something.

    Names come from other programs too: from a shell that leaves `~`, quotes or backslashes, from a
    browser (`file://`, `%20`), from Windows, or from a system that composes accents otherwise.

    Raises:
      ValueError: there is nothing of this name here.
    """
    spellings = list(dict.fromkeys(_spellings(name)))
    for spelling in spellings:
        if spelling and os.path.lexists(spelling):
            return [pathlib.Path(spelling)]
    local_path(name, "--images")  # an address is none of what follows
    for spelling in spellings:
        if fitting := sorted(glob.glob(spelling, recursive=True)):
            return [pathlib.Path(path) for path in fitting]
    parts = written_out(name)
    if len(parts) > 1 or (parts and parts != [name]):
        return [place for part in parts for place in places_of(part)]
    hint = " (a path of Windows; under WSL, C:\\ is /mnt/c/)" if _DRIVE.match(name) else ""
    raise ValueError(f"no such file: {printable(name)}{hint}; name existing files")


def _spellings(name: str) -> Iterator[str]:
    """What may have been written as `name`; the name itself comes first."""
    plain = name.strip().strip("\"'")
    forms = [name, plain]
    if plain.lower().startswith("file:"):
        forms.append(urllib.request.url2pathname(urllib.parse.urlparse(plain).path))
    forms += [urllib.parse.unquote(plain), re.sub(r"\\(.)", r"\1", plain)]
    forms.append(_DRIVE.sub(lambda found: f"/mnt/{found[1].lower()}/", plain).replace("\\", "/"))
    for form in forms:
        for normal in (
            form,
            unicodedata.normalize("NFC", form),
            unicodedata.normalize("NFD", form),
        ):
            yield normal
            yield os.path.expanduser(normal)


def _pictures(
    root: pathlib.Path, exclude: pathlib.Path, tell: Callable[[str], None]
) -> Iterator[str]:
    """The pictures and clips of a folder, by their names; the others are counted."""
    others: collections.Counter[str] = collections.Counter()
    for file in walk(root, exclude=exclude, tell=tell):
        if is_image_name(file) or is_clip_name(file) or is_foreign_name(file):
            yield file
        else:
            others[pathlib.PurePosixPath(file).suffix.lower() or "without an ending"] += 1
    if others:
        kinds = ", ".join(f"{count} {printable(kind)}" for kind, count in others.most_common())
        tell(f"{printable(root)}: files that are no pictures by their names are left out: {kinds}")


def _folders(places: Sequence[pathlib.Path]) -> bool:
    return all(place.is_dir() for place in places)


def _common(folders: Iterator[pathlib.Path]) -> pathlib.Path:
    return pathlib.Path(os.path.commonpath(list(folders)))


def _listed(given: Sequence[str]) -> str:
    return ", ".join(map(printable, given))
