"""What keeps the maps of a run, and what reads them back."""

import zipfile
import zlib
from collections.abc import Mapping, Sequence
from typing import Protocol

from capjax.folder.records import Result
from capjax.types import Explanation

UNREADABLE = (
    *(OSError, ValueError, KeyError, EOFError, RuntimeError),
    *(zipfile.BadZipFile, zlib.error),
)
"""What reading damaged maps raises."""


class MapReader(Protocol):
    """Reads maps back. A method's record names the file of its maps (`StoredMaps.maps`)."""

    def read(self, result: Result) -> list[dict[str, Explanation]]:
        """For each sentence of an explained image, method -> maps.

        Raises:
          one of `UNREADABLE`: they are damaged or gone.
        """
        ...

    def thumbnail(self, result: Result) -> bytes:
        """The picture of an explained image that the report shows, as a JPEG file."""
        ...

    def problem(self, place: str) -> str | None:
        """Why a file of maps is not what was written; None where nothing says that it is not."""
        ...


class Line(Protocol):
    """What is known of the result of one image without reading it."""

    @property
    def places(self) -> Sequence[str]:
        """The file of maps of each method."""
        ...


class Records(Protocol):
    """The results of a run."""

    @property
    def lines(self) -> Mapping[str, Line]:
        """By the name of the image."""
        ...

    def read(self, file: str) -> Result:
        """The result of one image."""
        ...

    def append(self, result: Result) -> None:
        """Puts a result in the place of an earlier one."""
        ...


class MapKeeper(MapReader, Protocol):
    """Writes maps; one run at a time, which holds the folder's lock."""

    def recover(self, records: Records) -> None:
        """Brings in order what a run left that died; nothing was written by this one."""
        ...

    def holds(self, file: str, place: str) -> bool:
        """Whether a file of maps, which the record of an image names, is there and has them."""
        ...

    def write(
        self,
        file: str,
        answers: Sequence[Mapping[str, Explanation]],
        thumbnail: bytes,
        *,
        keep: bool,
    ) -> str:
        """Writes maps of an image; any thread may.

        Args:
          file: its name.
          answers: for each sentence, method -> maps.
          thumbnail: see `MapReader`.
          keep: its earlier maps of other methods stay true.

        Returns:
          what its record says of where they are, until it is `placed`.
        """
        ...

    def joined(self, place: str, content: bytes) -> bytes:
        """A file that a keeper in another folder wrote of an image, as it has to be in this one.

        Args:
          place: its path below either folder.
          content: of methods that were explained now. Those of the image's earlier maps stay true.
        """
        ...

    def placed(self, result: Result) -> Result:
        """The result that is to be recorded now, which says where its maps are."""
        ...

    def settle(self, records: Records) -> None:
        """Called after each result is recorded.

        Raises:
          OSError, RuntimeError: maps of this or an earlier result could not be written.
        """
        ...

    def finish(self, records: Records) -> None:
        """Leaves the maps of all results, each once, and nothing else."""
        ...

    def stop(self) -> None:
        """Ends what still works beside the run; nothing is written after it."""
        ...
