"""Keeps the device busy: batches a step apart from each other.

While the device explains a batch, the images of the next are put on it and captioned, and the maps
of the one before are fetched and read. The device works in the order in which it is asked, so what
it finds is what it finds of batches one by one.
"""

import collections
import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence

from capjax.explainers.results import Explained
from capjax.folder.writing import Loaded
from capjax.ops.devices import Steps

Found = list[list[Explained]]
"""For each image of a batch, what was found of its sentences."""


@dataclasses.dataclass
class _Batch:
    """Images that are explained at once; `found` after the last step."""

    images: Sequence[Loaded]
    steps: Steps[Found]
    found: Found | None = None

    def advance(self) -> None:
        """Does the next step."""
        try:
            next(self.steps)
        except StopIteration as end:
            self.found = end.value


@dataclasses.dataclass
class InFlight:
    """Explains images in batches, several of which are under way.

    Attributes:
      size: images of a batch.
      start: begins to explain at most so many images; all batches have as many steps.
      turn: the context of a step of each batch under way, by its number from 1.
    """

    size: int
    start: Callable[[Sequence[Loaded], int], Steps[Found]]
    turn: Callable[[int], contextlib.AbstractContextManager[None]]
    _gathered: list[Loaded] = dataclasses.field(default_factory=list)
    _flying: collections.deque[_Batch] = dataclasses.field(default_factory=collections.deque)
    _turns: int = 0

    def take(self, image: Loaded) -> Iterator[tuple[Loaded, list[Explained]]]:
        """Takes an image; gives those that are done by now, in the order in which they came."""
        self._gathered.append(image)
        if len(self._gathered) >= self.size:
            yield from self._begin()

    def rest(self) -> Iterator[tuple[Loaded, list[Explained]]]:
        """The images that are not done yet."""
        if self._gathered:
            yield from self._begin()
        while self._flying:
            yield from self._advance()

    def _begin(self) -> Iterator[tuple[Loaded, list[Explained]]]:
        images, self._gathered = self._gathered, []
        self._flying.append(_Batch(images, self.start(images, self.size)))
        yield from self._advance()

    def _advance(self) -> Iterator[tuple[Loaded, list[Explained]]]:
        """A step of each batch, the newest first: it is what the device does next."""
        self._turns += 1
        with self.turn(self._turns):
            for batch in reversed(self._flying):
                batch.advance()
        first = self._flying[0]
        if first.found is not None:
            self._flying.popleft()
            yield from zip(first.images, first.found, strict=True)
