"""Batches of parts of pictures, loaded ahead in threads or processes.

A training batch holds, for B pictures of this process:
  image [B S S 3] uint8;
  hole [B S S] bool, True in the hole: only of scenes, elsewhere holes are drawn on the devices;
  position [B] int32: place in the endless stream of pictures. All that is drawn for a row is drawn
    by its place, so that batch size, devices and processes change nothing;
  replaced [B] int32: number of the picture whose place another one took because it cannot be read,
    else -1, as in `capjax.data.batches.pipeline`.
"""

import dataclasses
from typing import Protocol

import numpy as np

from capjax.data.batches.loading import Batch, Loading, Stream
from capjax.data.batches.order import SampleOrder
from capjax.data.batches.pipeline import ENDLESS, Share
from capjax.data.batches.stand_ins import stand_ins
from capjax.data.pictures.images import UnreadableFileError


class Parts(Protocol):
    """Parts of pictures by number: fixed ones to validate on, drawn ones to learn from.

    Picklable; both methods raise UnreadableFileError for a picture that cannot be decoded.
    """

    def __call__(self, numbers: np.ndarray) -> Batch:
        """Arrays [B …] of the fixed parts of the pictures with these numbers."""
        ...

    def drawn(self, number: int, random: np.random.Generator) -> Batch:
        """Arrays of one part of a picture, without a leading axis."""
        ...


@dataclasses.dataclass(frozen=True, eq=False)
class _PartsBatch:
    """Loads this process's share of a global batch; picklable, and no JAX in it."""

    parts: Parts
    order: SampleOrder
    share: Share

    def __call__(self, step: int) -> Batch:
        size = self.order.batch_size
        positions = np.arange(step * size, (step + 1) * size)
        numbers, rows = self.order.stream(positions), self.share.of(np.arange(size))
        try:
            found = [self._draw(numbers[row], positions[row]) for row in rows]
            replaced = np.full(len(rows), -1, np.int32)
        except UnreadableFileError:
            chosen = stand_ins(numbers, rows, lambda number: self.parts(np.array([number])))
            found = [
                self._draw(numbers[other], positions[row])
                for row, other in zip(rows, chosen, strict=True)
            ]
            replaced = np.where(chosen == rows, -1, numbers[rows]).astype(np.int32)
        arrays = {name: np.stack([one[name] for one in found]) for name in found[0]}
        return {**arrays, "position": positions[rows].astype(np.int32), "replaced": replaced}

    def _draw(self, number: int, position: int) -> Batch:
        seed = self.order.seed & (2**64 - 1)
        return self.parts.drawn(int(number), np.random.default_rng((seed, int(position))))


def part_batches(
    parts: Parts,
    count: int,
    *,
    batch_size: int,
    seed: int,
    start: int = 0,
    stop: int = ENDLESS,
    share: Share = Share(),  # noqa: B008  frozen
    loading: Loading | None = None,
) -> Stream:
    """Shuffled batches of global steps `start` to `stop - 1`; every picture once an epoch.

    Args:
      parts: of `count` pictures.
      count: how many.
      batch_size: parts of a global batch, over all processes.
      seed: of the shuffle and of the parts.
      start: the first step; to resume, the number of batches already used.
      share: this process's part of each batch.
      loading: threads or worker processes.

    Raises:
      ValueError: a batch size that does not divide over the processes; while iterating, a batch
        none of whose pictures can be decoded.
    """
    order = SampleOrder(count=count, batch_size=batch_size, seed=seed)
    share.of(np.zeros(batch_size))
    return (loading or Loading()).iterate(_PartsBatch(parts, order, share), start, stop)
