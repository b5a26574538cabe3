"""What a run is about: images by name, wherever they lie."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Protocol

from capjax.data.pictures.opening import ImageFile
from capjax.runtime.fingerprint import Fingerprint

Plain = str | int | float | bool | None
Metadata = Mapping[str, Plain]
"""What is known of an image beside its captions: name -> plain value."""


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

    @property
    def captions(self) -> Mapping[str, Sequence[str]]:
        """Captions by people that lie beside the images; images without any are left out."""
        ...

    def metadata(self, name: str) -> Metadata:
        """What lies beside an image; empty where there is nothing."""
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
