"""Explanations made by hand, for tests of what is drawn of them."""

import numpy as np

from capjax.types import Explanation, Geometry, Preprocessing

CROPPED = Preprocessing((64, 64), "crop", shorter=72)
"""Of a 60 x 100 photograph: resized to 72 x 120, the crop starts at (4, 28), cells of 16 pixels."""


def single_cells(*cells: tuple[int, int, int], frames: int = 1, low: float = -9.0) -> np.ndarray:
    """[N F 4 4] of log-probabilities, higher in the one (frame, row, column) of each word."""
    maps = np.full((len(cells), frames, 4, 4), low, np.float32)
    for word, cell in enumerate(cells):
        maps[word][cell] = -1.0
    return maps


def explained(
    words: str,
    maps: np.ndarray,
    *,
    size: tuple[int, int] = (60, 100),
    phrases: tuple[tuple[int, int], ...] = (),
    frame_maps: np.ndarray | None = None,
    geometry: Geometry | None = None,
) -> Explanation:
    """A sentence; phrases are the sums of their words' maps."""
    split = tuple(words.split())
    sums = [maps[start:end].sum(axis=0) for start, end in phrases]
    return Explanation(
        maps=maps,
        words=split,
        word_spans=tuple((index, index + 1) for index in range(len(split))),
        score=-np.arange(1.0, len(split) + 1, dtype=np.float32),
        method="caption_guided",
        unit="p",
        geometry=geometry or CROPPED.geometry(size, (4, 4)),
        frame_maps=frame_maps,
        phrases=phrases,
        phrase_maps=np.stack(sums) if sums else None,
    )
