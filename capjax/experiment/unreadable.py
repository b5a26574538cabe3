"""Training images that cannot be decoded: each is named once, and too many end the run."""

from collections.abc import Iterator, Mapping, Sequence

import jax
import numpy as np
from absl import logging
from jax.experimental import multihost_utils

from capjax.data.batches.pipeline import Batch, Inputs
from capjax.data.batches.unreadable import problem_of, refuse_more

COMPARED_EVERY = 10
"""Updates after which several processes tell each other what they could not read."""


class UnreadableImages:
    """Counts the images whose captions were replaced; see `capjax.data.batches.pipeline`.

    Attributes:
      found: reason by number of the image, over all processes.
    """

    def __init__(
        self, inputs: Inputs, image_of: np.ndarray, names: Sequence[str], *, share: float
    ) -> None:
        """Args:
        inputs: of the training images.
        image_of: [N] number of the image of each training caption.
        names: of the training images.
        share: of the training images that may be unreadable.
        """
        self.found: dict[int, str] = {}
        self._inputs, self._image_of, self._names = inputs, image_of, names
        self._allowed = int(share * len(names))
        self._own: set[int] = set()

    def watch(self, batches: Iterator[Batch], position: int) -> Iterator[Mapping[str, np.ndarray]]:
        """The batches without `replaced`, from `position` on.

        Raises:
          ValueError: more images than may be cannot be read; all are named.
        """
        for step, batch in enumerate(batches, start=position):
            replaced = batch.pop("replaced")
            self._own.update(map(int, self._image_of[replaced[replaced >= 0]]))
            if jax.process_count() == 1:
                self._add(self._own)
            elif step % COMPARED_EVERY == 0:
                self._add(self._of_all_processes())
            yield batch

    def _of_all_processes(self) -> set[int]:
        # One more than may be is enough to know.
        row = np.full(self._allowed + 1, -1)
        own = sorted(self._own)[: len(row)]
        row[: len(own)] = own
        rows = np.asarray(multihost_utils.process_allgather(row))
        return {int(number) for number in rows.ravel() if number >= 0}

    def _add(self, numbers: set[int]) -> None:
        for number in sorted(numbers - set(self.found)):
            why = problem_of(self._inputs, number) or "another process could not read it"
            self.found[number] = f"{self._names[number]}: {why}"
            logging.warning(
                "%s; the next caption of the batch stands in (%d of %d training images, %d may be)",
                *(self.found[number], len(self.found), len(self._names), self._allowed),
            )
        refuse_more(list(self.found.values()), allowed=self._allowed, images=len(self._names))
