"""Keeps the device busy: batches a step apart from each other.

While the device explains a batch, the images of the next are put on it and captioned, and the maps
of the one before are fetched and read. The device works in the order in which it is asked, so what
it finds is what it finds of batches one by one.
"""

import collections
import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence

import jax

from capjax.explainers.results import Explained
from capjax.folder.writing import Loaded
from capjax.ops.devices import Steps, finished
from capjax.runtime.memory import is_exhausted

Found = list[list[Explained]]
"""For each image of a batch, what was found of its sentences."""
Done = tuple[Loaded, list[Explained] | None]
"""An image, and what was found; None where the device has too little memory for it alone."""


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
      size: images of a batch; fewer once the device had too little memory.
      start: begins to explain at most so many images; all batches have as many steps.
      turn: the context of a step of each batch under way, by its number from 1.
      smaller: told how many images a batch has, and how many from now on.
    """

    size: int
    start: Callable[[Sequence[Loaded], int], Steps[Found]]
    turn: Callable[[int], contextlib.AbstractContextManager[None]]
    smaller: Callable[[int, int], None]
    _gathered: list[Loaded] = dataclasses.field(default_factory=list)
    _flying: collections.deque[_Batch] = dataclasses.field(default_factory=collections.deque)
    _turns: int = 0

    def take(self, image: Loaded) -> Iterator[Done]:
        """Takes an image; gives those that are done by now, in the order in which they came."""
        self._gathered.append(image)
        if len(self._gathered) >= self.size:
            yield from self.begin()

    def rest(self) -> Iterator[Done]:
        """The images that are not done yet."""
        yield from self.begin()
        while self._flying:
            yield from self._advance()

    def begin(self) -> Iterator[Done]:
        """Begins a batch of the images that wait for more, if any do; gives those done by now."""
        images, self._gathered = self._gathered, []
        if not images:
            return
        self._flying.append(_Batch(images, self.start(images, self.size)))
        yield from self._advance()

    def _advance(self) -> Iterator[Done]:
        """A step of each batch, the newest first: it is what the device does next."""
        self._turns += 1
        if not self._step():
            yield from self._again()
            return
        first = self._flying[0]
        if first.found is not None:
            self._flying.popleft()
            yield from zip(first.images, first.found, strict=True)

    def _step(self) -> bool:
        """Whether there was memory for it. Errors keep arrays, so that none outlives this."""
        try:
            with self.turn(self._turns):
                for batch in reversed(self._flying):
                    batch.advance()
        except jax.errors.JaxRuntimeError as error:
            if not is_exhausted(error):
                raise
            return False
        return True

    def _again(self) -> Iterator[Done]:
        """Explains the images under way once more, fewer at once, one batch after the other."""
        images = [image for batch in self._flying for image in batch.images]
        self._flying.clear()
        self._halve(self.size)
        while images:
            some = images[: self.size]
            found = self._alone(some)
            if found is not None:
                yield from zip(some, found, strict=True)
            elif len(some) > 1:
                self._halve(len(some))
                continue
            else:
                yield some[0], None
            images = images[len(some) :]

    def _alone(self, images: Sequence[Loaded]) -> Found | None:
        """What was found of images while nothing else is under way; None for want of memory."""
        try:
            return finished(self.start(images, self.size))
        except jax.errors.JaxRuntimeError as error:
            if not is_exhausted(error):
                raise
            return None

    def _halve(self, size: int) -> None:
        """Makes batches half as large as this, down to single images."""
        if size > 1:
            self.smaller(self.size, size // 2)
            self.size = size // 2
