"""Several stores as one."""

import collections
import dataclasses
import functools
import os
import pathlib
from collections.abc import Mapping, Sequence

from capjax.data.pictures.opening import ImageFile
from capjax.data.stores.contract import Metadata, Store
from capjax.runtime.files import listed, printable
from capjax.runtime.fingerprint import Fingerprint

_SHOWN = 3


@dataclasses.dataclass(frozen=True)
class Together:
    """Stores one after the other; a `Store`."""

    stores: Sequence[Store]

    @classmethod
    def of(cls, stores: Sequence[Store]) -> Store:
        """Stores as one.

        Raises:
          ValueError: two of them have an image of one name.
        """
        if len(stores) == 1:
            return stores[0]
        counts = collections.Counter(name for store in stores for name in store.names)
        twice = [printable(name) for name, count in counts.items() if count > 1]
        if twice:
            raise ValueError(
                f"{len(twice)} names of images are given twice, by different parts of --images: "
                f"{listed(twice, most=_SHOWN)}; give each image once, or explain the parts into "
                "folders of their own"
            )
        return cls(tuple(stores))

    @functools.cached_property
    def _at(self) -> Mapping[str, Store]:
        return {name: store for store in self.stores for name in store.names}

    @property
    def root(self) -> pathlib.Path:
        """See `Store`: the folder that all roots lie below."""
        return pathlib.Path(os.path.commonpath([store.root.absolute() for store in self.stores]))

    @functools.cached_property
    def names(self) -> Sequence[str]:
        """See `Store`."""
        return tuple(self._at)

    @functools.cached_property
    def captions(self) -> Mapping[str, Sequence[str]]:
        """See `Store`."""
        return {name: own for store in self.stores for name, own in store.captions.items()}

    def metadata(self, name: str) -> Metadata:
        """See `Store`."""
        return self._at[name].metadata(name)

    def size(self, name: str) -> int:
        """See `Store`."""
        return self._at[name].size(name)

    def open(self, name: str) -> ImageFile:
        """See `Store`."""
        return self._at[name].open(name)

    def read(self, name: str) -> tuple[ImageFile, Fingerprint]:
        """See `Store`."""
        return self._at[name].read(name)

    def still(self, name: str, known: Fingerprint) -> Fingerprint | None:
        """See `Store`."""
        return self._at[name].still(name, known)
