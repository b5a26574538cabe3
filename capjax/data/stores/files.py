"""Images that are files: of a folder, named one by one, or with addresses."""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Mapping, Sequence

from capjax.data.pictures.opening import ImageFile
from capjax.data.stores.contract import Metadata
from capjax.data.stores.places import Local, Place
from capjax.runtime.fingerprint import Fingerprint


@dataclasses.dataclass(frozen=True)
class Files:
    """Files with names; a `Store`.

    Attributes:
      root: see `Store`.
      names: see `Store`.
      place: of the file of a name.
    """

    root: pathlib.Path
    names: Sequence[str]
    place: Callable[[str], Place]

    @classmethod
    def of_folder(cls, root: pathlib.Path, names: Sequence[str]) -> "Files":
        """Files of this machine, whose names are their paths below a folder."""
        return cls(root, names, functools.partial(_below, root))

    @property
    def captions(self) -> Mapping[str, Sequence[str]]:
        """See `Store`: none."""
        return {}

    def metadata(self, name: str) -> Metadata:
        """See `Store`: none."""
        return {}

    def size(self, name: str) -> int:
        """See `Store`."""
        return self.place(name).size()

    def open(self, name: str) -> ImageFile:
        """See `Store`."""
        return self.place(name).image()

    def read(self, name: str) -> tuple[ImageFile, Fingerprint]:
        """See `Store`."""
        return self.place(name).read()

    def still(self, name: str, known: Fingerprint) -> Fingerprint | None:
        """See `Store`."""
        return self.place(name).still(known)


def _below(root: pathlib.Path, name: str) -> Place:
    """The file of a name; unlike a lambda it can be sent to another process."""
    return Local(root / name)
