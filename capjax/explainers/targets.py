"""Targets: the scalars that explanation methods explain.

Small host objects that compile to arrays, so that all targets of a batch share one trace.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from capjax.types import NO_TOKEN


@dataclasses.dataclass(frozen=True)
class Word:
    """Explain log p of the token at `index`."""

    index: int

    def weights(self, length: int) -> np.ndarray:
        """[T] float32 weights of the token log-probabilities."""
        return _span_weights(self.index, self.index + 1, length)


@dataclasses.dataclass(frozen=True)
class Phrase:
    """Explain the summed log p of tokens start..end-1."""

    start: int
    end: int

    def weights(self, length: int) -> np.ndarray:
        """[T] float32 weights of the token log-probabilities."""
        return _span_weights(self.start, self.end, length)


@dataclasses.dataclass(frozen=True)
class Sentence:
    """Explain log p of the whole sentence, end token included."""

    def weights(self, length: int) -> np.ndarray:
        """[T] float32 weights of the token log-probabilities."""
        return _span_weights(0, length, length)


@dataclasses.dataclass(frozen=True)
class Contrast:
    """Explain log p of the token at `index` minus log p of `alternative` (an id) in its place."""

    index: int
    alternative: int

    def weights(self, length: int) -> np.ndarray:
        """[T] float32 weights of the token log-probabilities."""
        return _span_weights(self.index, self.index + 1, length)


Target = Word | Phrase | Sentence | Contrast


def _span_weights(start: int, end: int, length: int) -> np.ndarray:
    if not 0 <= start < end <= length:
        raise ValueError(f"tokens {start}..{end - 1} are outside a caption of {length} tokens")
    weights = np.zeros(length, np.float32)
    weights[start:end] = 1.0
    return weights


def compile_targets(
    targets: Sequence[Sequence[Target]], lengths: Sequence[int], padded: int
) -> tuple[np.ndarray, np.ndarray]:
    """Targets of a batch as arrays, so that one trace serves them all.

    Args:
      targets: for each of B captions, its targets; shorter lists are padded with zero weights.
      lengths: tokens of each caption, end token included.
      padded: T, the padded length.

    Returns:
      weights [B N T] float32, and alternatives [B N T] int32: the id to subtract at a position,
      NO_TOKEN where there is none.
    """
    count = max((len(row) for row in targets), default=0)
    weights = np.zeros((len(targets), count, padded), np.float32)
    alternatives = np.full((len(targets), count, padded), NO_TOKEN, np.int32)
    for row, (own, length) in enumerate(zip(targets, lengths, strict=True)):
        for column, target in enumerate(own):
            weights[row, column, :length] = target.weights(length)
            if isinstance(target, Contrast):
                alternatives[row, column, target.index] = target.alternative
    return weights, alternatives
