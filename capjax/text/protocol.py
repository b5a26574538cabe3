"""What a captioner needs of its words."""

import os
from collections.abc import Sequence
from typing import ClassVar, Protocol, runtime_checkable


@runtime_checkable
class Text(Protocol):
    """What a captioner needs of its words; implemented by vocabularies and by hub tokenizers.

    `FILE` is the name of the file that holds them beside a model.
    """

    FILE: ClassVar[str]

    @property
    def pad(self) -> int:
        """What rows are filled with; padding is known by lengths, never by this id."""
        ...

    @property
    def bos(self) -> int:
        """The start token."""
        ...

    @property
    def eos(self) -> int:
        """The end token."""
        ...

    @property
    def unk(self) -> int:
        """What unknown words become; the id of another token where no word is unknown."""
        ...

    @property
    def size(self) -> int:
        """How many ids there are."""
        ...

    @property
    def hash(self) -> str:
        """A digest of ids and words: two texts with the same hash are interchangeable."""
        ...

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes all of it to a file."""
        ...

    def encode(self, text: str, max_len: int | None = None) -> list[int]:
        """Ids of the words and, last, `eos`."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """The sentence, up to the first `eos`."""
        ...

    def words(self, ids: Sequence[int]) -> list[str]:
        """One string an id, up to the first `eos`."""
        ...

    def spans(
        self, ids: Sequence[int], text: str | None = None
    ) -> tuple[list[str], list[tuple[int, int]]]:
        """Words to show and the (start, end) token positions of each; with the `text` that was
        encoded, words without an id are shown as written."""
        ...
