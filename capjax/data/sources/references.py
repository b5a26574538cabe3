"""What people said about files that are at hand, from a caption file of any format."""

import collections
import dataclasses
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import TypeVar

from capjax.data.sources.sources import read_captions
from capjax.runtime.files import listed

T = TypeVar("T")


def read_references(
    captions: str | Path,
    root: Path,
    files: Sequence[str],
    *,
    tell: Callable[[str], None] = lambda note: None,
) -> dict[str, Sequence[str]]:
    """Captions by people of each file: by its path, or by its name where that means one file.

    Args:
      captions: as `read_captions` takes it.
      root: folder that the files lie below.
      files: paths below it, with `/`.
      tell: takes a sentence on what is without captions or left out.

    Raises:
      ValueError: none of the files is in there.
    """
    records = read_captions(captions, root, check_images=False)
    for remark in dataclasses.replace(records, notes=()).remarks:
        tell(f"of {captions}: {remark}")
    by_path = {record.image: record.captions for record in records}
    found = {file: by_path[root / file] for file in files if root / file in by_path}
    matched = {root / file for file in found}
    by_name = _grouped((r.image.name, r.captions) for r in records if r.image not in matched)
    rest = _grouped((PurePosixPath(file).name, file) for file in files if file not in found)
    unclear = []
    for name, own in rest.items():
        described = by_name.get(name, [])
        if len(described) == len(own) == 1:
            found[own[0]] = described[0]
        elif described:
            unclear += own
    if files and not found:
        first = next((record.key for record in records), "none")
        raise ValueError(
            f"{captions} describes none of these images (it names {first!r}, here is "
            f"{files[0]!r}); give the captions of these images"
        )
    if unclear:
        tell(
            f"{len(unclear)} images have names that several images have, and {captions} gives no "
            f"folder: {listed(unclear, most=3)}; they are shown without its captions"
        )
    bare = [file for file in files if file not in found and file not in set(unclear)]
    if bare:
        tell(f"{len(bare)} of {len(files)} images have no caption in {captions}, e.g. {bare[0]}")
    return {file: found[file] for file in files if file in found}


def _grouped(pairs: Iterable[tuple[str, T]]) -> dict[str, list[T]]:
    groups: dict[str, list[T]] = collections.defaultdict(list)
    for name, thing in pairs:
        groups[name].append(thing)
    return groups
