"""Maps as files: for each picture maps/<file>.npz, of the arrays of `arrays`, and its thumbnail."""

import io
import pathlib
from collections.abc import Mapping, Sequence
from typing import BinaryIO

import numpy as np

from capjax.folder.maps.arrays import Arrays, arrays_of, explanations_of, merged
from capjax.folder.maps.contract import Records
from capjax.folder.names import fitting
from capjax.folder.records import Answer, Result
from capjax.runtime.files import replacing
from capjax.types import Explanation

FOLDER = "maps"


class MapFiles:
    """Maps of each picture in a file of its own.

    Args:
      folder: of the results.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        self._folder = folder

    def read(self, result: Result) -> list[dict[str, Explanation]]:
        """See `MapReader`."""
        return explanations_of(result.answers, lambda place: _arrays(self._folder / place))

    def thumbnail(self, result: Result) -> bytes:
        """See `MapReader`."""
        return self._thumbnail_path(result.file).read_bytes()

    def problem(self, place: str) -> str | None:
        """None: a file's own checksums are verified when it is read."""
        return None

    def recover(self, records: Records) -> None:
        """Nothing to do: each file is replaced in one rename."""

    def holds(self, file: str, place: str) -> bool:
        """Whether the file is there."""
        return (self._folder / place).exists()

    def write(
        self,
        file: str,
        answers: Sequence[Mapping[str, Explanation]],
        thumbnail: bytes,
        *,
        keep: bool,
    ) -> str:
        """See `MapKeeper`."""
        path = self._folder / FOLDER / fitting(file, ".npz")
        write_maps(path, answers, keep=keep)
        with replacing(self._thumbnail_path(file)) as stream:
            stream.write(thumbnail)
        return path.relative_to(self._folder).as_posix()

    def joined(self, place: str, content: bytes) -> bytes:
        """See `MapKeeper`."""
        if not place.startswith(f"{FOLDER}/"):
            return content
        stream = io.BytesIO()
        np.savez(stream, **merged(_arrays(self._folder / place), _arrays_in(io.BytesIO(content))))  # type: ignore[arg-type]
        return stream.getvalue()

    def placed(self, result: Result) -> Result:
        """The result: each picture has its place from the start."""
        return result

    def settle(self, records: Records) -> None:
        """Nothing to do."""

    def finish(self, records: Records) -> None:
        """Nothing to do."""

    def stop(self) -> None:
        """Nothing to do."""

    def _thumbnail_path(self, file: str) -> pathlib.Path:
        return self._folder / "thumbnails" / fitting(file, ".jpg")


def write_maps(
    path: pathlib.Path, answers: Sequence[Mapping[str, Explanation]], *, keep: bool
) -> None:
    """Writes the maps of one image.

    Args:
      path: of the file.
      answers: for each sentence, method -> maps.
      keep: adds them to those of other methods that are there.
    """
    arrays = arrays_of(answers)
    if keep:
        arrays = merged(_arrays(path), arrays)
    with replacing(path) as stream:
        np.savez(stream, **arrays)  # type: ignore[arg-type]


def read_maps(path: pathlib.Path, answers: Sequence[Answer]) -> list[dict[str, Explanation]]:
    """For each sentence of an image, method -> maps.

    Args:
      path: of the file.
      answers: what its result says of them.
    """
    arrays = _arrays(path)
    return explanations_of(answers, lambda place: arrays)


def _arrays(path: pathlib.Path) -> Arrays:
    with open(path, "rb") as stream:
        return _arrays_in(stream)


def _arrays_in(stream: BinaryIO) -> Arrays:
    with np.load(stream, allow_pickle=False) as there:
        return dict(there)
