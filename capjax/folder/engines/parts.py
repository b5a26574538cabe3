"""The work of a run in parts that any machine can do, and what comes back of each."""

import dataclasses
import pathlib
from collections.abc import Mapping

from capjax.folder.pipeline.folder_run import FolderRun, Group
from capjax.folder.reading import failed
from capjax.folder.records import Result
from capjax.folder.writing import succeeding
from capjax.runtime.files import replacing


@dataclasses.dataclass(frozen=True)
class Part:
    """Images that make one batch.

    Attributes:
      files: their names.
      group: the number of their group.
      known: of each, its caption by an earlier run, in a result without answers; else nothing.
    """

    files: tuple[str, ...]
    group: int
    known: tuple[Result, ...] = ()


@dataclasses.dataclass(frozen=True)
class Parcel:
    """What a worker made of one image.

    Attributes:
      file: its name.
      made: its result, as if nothing of it were there yet; or why it cannot be read.
      files: path below the folder of results -> content.
    """

    file: str
    made: Result | str
    files: Mapping[str, bytes] = dataclasses.field(default_factory=dict)


def cut(run: FolderRun, groups: Mapping[Group, list[str]]) -> list[Part]:
    """The parts of the work, which are the batches that this process would make of it.

    Args:
      run: whose batch size is a number.
      groups: of `FolderRun.missing`.
    """
    assert run.batch_size != "auto", "the options refuse it"
    size = run.captioner.at_once(run.batch_size)
    parts = []
    for number, ((fresh, _), files) in enumerate(groups.items()):
        for start in range(0, len(files), size):
            own = tuple(files[start : start + size])
            known = () if fresh else tuple(map(run.folder.read, own))
            bare = tuple(dataclasses.replace(one, answers=(), findings={}) for one in known)
            parts.append(Part(own, number, bare))
    return parts


def collect(folder: pathlib.Path) -> dict[str, bytes]:
    """What was written of one image to a folder of results, which loses it."""
    found = {}
    for path in sorted(folder.glob("*/**/*")):  # what lies in the folder itself is of no image
        if path.is_file():
            found[path.relative_to(folder).as_posix()] = path.read_bytes()
            path.unlink()
    return found


def record(run: FolderRun, parcel: Parcel, *, keep: bool) -> None:
    """Puts what a worker made into the run's folder, its line last.

    Args:
      run: whose folder is open here.
      parcel: of an image.
      keep: the image's earlier result is still true: methods are added to it.
    """
    folder = run.folder
    if isinstance(parcel.made, str):
        folder.append(failed(run.store, parcel.file, parcel.made))
        return
    before = folder.earlier(parcel.file)
    for place, content in parcel.files.items():
        whole = folder.maps.joined(place, content) if keep else content
        with replacing(folder.path / place) as stream:
            stream.write(whole)
    folder.append(succeeding(folder, before, parcel.made, keep=keep))
