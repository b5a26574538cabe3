"""Which caption comes when: a pure function of (seed, global step).

The samples of all epochs form one endless stream: epoch e is a permutation of all samples drawn
from (seed, e), and the next epoch follows without a gap, so a batch may end one epoch and begin
the next. Global batch s is samples [s·B, (s+1)·B) of the stream, whatever the number of processes
or workers; each process takes its slice. To resume, the step is all there is to know.
"""

import dataclasses
import functools

import numpy as np

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@dataclasses.dataclass(frozen=True, eq=False)
class SampleOrder:
    """The order of `count` samples in global batches of `batch_size`.

    Attributes:
      count: number of samples, at least one.
      batch_size: samples of a global batch, over all processes.
      seed: any integer of at most 64 bits.
      lengths: [count] tokens of each sample to group batches by length, or None for plain shuffle.
    """

    count: int
    batch_size: int
    seed: int
    lengths: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.count < 1 or self.batch_size < 1:
            raise ValueError(
                f"got {self.count} samples in batches of {self.batch_size}; expected at least 1 "
                "of each: is the split empty?"
            )

    def batch(self, step: int) -> np.ndarray:
        """Sample indices [B] of global batch `step`, counted from 0."""
        if self.lengths is None:
            start = step * self.batch_size
            return self.stream(np.arange(start, start + self.batch_size))
        window, place = divmod(step, self.window)
        return _grouped_window(self, window)[place]

    def stream(self, positions: np.ndarray) -> np.ndarray:
        """Samples at positions of the endless shuffled stream."""
        epochs, offsets = np.divmod(positions, self.count)
        samples = np.empty_like(positions)
        for epoch in np.unique(epochs):
            inside = epochs == epoch
            samples[inside] = _permutation(self.seed, int(epoch), self.count)[offsets[inside]]
        return samples

    @property
    def window(self) -> int:
        """Batches that are grouped by length together: as many whole ones as an epoch holds."""
        return max(1, self.count // self.batch_size)


def _mix(values: np.ndarray) -> np.ndarray:
    """A bijection of uint64 that scatters its inputs (the finaliser of splitmix64)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


@functools.lru_cache(maxsize=4)
def _permutation(seed: int, epoch: int, count: int) -> np.ndarray:
    """Permutation of [0, count) by sorting hashes: the same in every version of every library."""
    base = np.array([seed & (2**64 - 1)], np.uint64)
    base = _mix(_mix(base + _GOLDEN) + np.array([epoch], np.uint64) * _GOLDEN)
    numbers = np.arange(1, count + 1, dtype=np.uint64)
    return np.argsort(_mix(base + numbers * _GOLDEN), kind="stable")


@functools.lru_cache(maxsize=2)
def _grouped_window(order: SampleOrder, window: int) -> np.ndarray:
    """Batches [W B] of window `window`: the stream's next W·B samples, grouped by length.

    The samples are sorted by length (ties stay shuffled), cut into batches, and the batches
    shuffled. A batch mixes two neighbouring lengths only where one length runs out.

    Deviation from arctic-captions' `HomogeneousData`, which cycles over lengths and keeps small
    rests: batches here are all of one size, which jit wants, and rare lengths keep their share.
    """
    assert order.lengths is not None
    total = order.window * order.batch_size
    samples = order.stream(np.arange(window * total, (window + 1) * total))
    samples = samples[np.argsort(order.lengths[samples], kind="stable")]
    batches = samples.reshape(order.window, order.batch_size)
    return batches[_permutation(order.seed ^ 0x5EED, window, order.window)]
