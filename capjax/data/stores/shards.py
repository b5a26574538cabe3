"""Many images in one file: what a kind of shard gives, and shards of any kind as one store."""

import dataclasses
import functools
import pathlib
from collections.abc import Mapping, Sequence
from typing import BinaryIO, Protocol

from capjax.data.pictures.opening import in_memory
from capjax.data.stores.contract import Metadata
from capjax.runtime.files import printable
from capjax.runtime.fingerprint import Fingerprint, of_content, still_content


class Shard(Protocol):
    """The images of one file by their names there; any thread may ask.

    What cannot be read is an OSError whose text says why.
    """

    @property
    def names(self) -> Sequence[str]:
        """Paths that stay inside; each once, in the order of the file."""
        ...

    @property
    def captions(self) -> Mapping[str, Sequence[str]]:
        """Of the images that have any."""
        ...

    @property
    def damage(self) -> str | None:
        """Why no images behind the last one can be read; None for a shard that is whole."""
        ...

    def times(self, name: str) -> tuple[int, int] | None:
        """`Fingerprint.times` of the file that holds the image, from before the shard was read."""
        ...

    def read(self, name: str) -> tuple[bytes, tuple[int, int] | None]:
        """The bytes of an image file, and `Fingerprint.times` that go with them."""
        ...

    def metadata(self, name: str) -> Metadata:
        """See `Store`."""
        ...


@dataclasses.dataclass(frozen=True)
class Shards:
    """Shards by their paths below a root; a `Store` in which an image is `shard.tar/its name`.

    Attributes:
      root: see `Store`.
      shards: path -> shard, in order.
      broken: path of a shard -> why it, or its rest, cannot be read: one more name, which fails.
    """

    root: pathlib.Path
    shards: Mapping[str, Shard]
    broken: Mapping[str, str]

    @functools.cached_property
    def _at(self) -> Mapping[str, tuple[str, str]]:
        found = {
            f"{path}/{name}": (path, name)
            for path, shard in self.shards.items()
            for name in shard.names
        }
        return found | {path: (path, "") for path in self.broken}

    @functools.cached_property
    def names(self) -> Sequence[str]:
        """See `Store`."""
        return tuple(self._at)

    @functools.cached_property
    def captions(self) -> Mapping[str, Sequence[str]]:
        """See `Store`."""
        return {
            f"{path}/{name}": captions
            for path, shard in self.shards.items()
            for name, captions in shard.captions.items()
        }

    def metadata(self, name: str) -> Metadata:
        """See `Store`."""
        shard, own = self._shard(name)
        return shard.metadata(own)

    def size(self, name: str) -> int:
        """See `Store`."""
        try:
            return self.read(name)[1].bytes
        except OSError:
            return -1

    def open(self, name: str) -> BinaryIO:
        """See `Store`."""
        return self.read(name)[0]

    def read(self, name: str) -> tuple[BinaryIO, Fingerprint]:
        """See `Store`."""
        shard, own = self._shard(name)
        try:
            content, times = shard.read(own)
        except OSError as error:
            raise OSError(f"cannot read image {printable(name)}: {error}") from error
        return in_memory(content, name), of_content(content, times)

    def still(self, name: str, known: Fingerprint) -> Fingerprint | None:
        """See `Store`."""
        try:
            shard, own = self._shard(name)
            return still_content(known, shard.times(own), lambda: self.read(name)[1])
        except OSError:
            return None

    def _shard(self, name: str) -> tuple[Shard, str]:
        if name in self.broken:
            raise OSError(f"cannot read {printable(name)}: {self.broken[name]}")
        path, own = self._at[name]
        return self.shards[path], own
