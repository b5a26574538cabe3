"""What a run is about: images by name, wherever they lie."""

import pathlib
from collections.abc import Sequence
from typing import Protocol

from capjax.data.pictures.opening import ImageFile
from capjax.runtime.fingerprint import Fingerprint


class Store(Protocol):
    """Images, or clips, each with a name that tells it from the others; any thread may ask."""

    @property
    def root(self) -> pathlib.Path:
        """The folder that names start from."""
        ...

    @property
    def names(self) -> Sequence[str]:
        """Paths with `/` that stay below the root; each once, in the order of the work."""
        ...

    def size(self, name: str) -> int:
        """Bytes of an image, -1 when it is gone."""
        ...

    def open(self, name: str) -> ImageFile:
        """An image, to be decoded; OSError where it is gone or damaged before any decoding."""
        ...

    def read(self, name: str) -> tuple[ImageFile, Fingerprint]:
        """`open`, and of what content the image is at least since then."""
        ...

    def still(self, name: str, known: Fingerprint) -> Fingerprint | None:
        """The fingerprint as it would be taken now if the content is that of `known`, else None."""
        ...
