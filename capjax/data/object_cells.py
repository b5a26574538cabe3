"""Where each word of a training caption should look: the cells in the boxes of what it names.

For supervised attention a batch also holds `cells` [B T P] bool: for each token the positions of
the feature grid whose centre lies in a box of what its word names; none for other tokens, and for
all of a caption of which nothing is known.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from capjax.data.batches.pipeline import Batch, CaptionSamples
from capjax.data.boxes.grounded import (
    GroundedCaption,
    GroundedPhrase,
    Source,
    moved_span,
    source_words,
)
from capjax.data.captions.records import Record
from capjax.data.scenes.still import Scenes
from capjax.ops.boxes import Box
from capjax.text.protocol import Text
from capjax.text.ptb_lite import tokenize
from capjax.types import Geometry, Preprocessing


class Grounded(NamedTuple):
    """What is known of one image: its (height, width), and captions whose phrases have boxes."""

    size: tuple[int, int]
    captions: Sequence[GroundedCaption]


Grounding = Callable[[int], Grounded | None]
"""Of the image with a number; None where nothing is known of it. Picklable."""


@dataclasses.dataclass(frozen=True)
class SceneGrounding:
    """Grounding of scenes: every word of a noun phrase speaks of its object."""

    scenes: Scenes

    def __call__(self, number: int) -> Grounded:
        """Scene `number`, drawn again for the boxes of what is visible."""
        scene = self.scenes.draw(number)
        found = []
        for caption, mentions in zip(scene.captions, scene.mentions, strict=True):
            phrases = []
            for mention in mentions:
                item = scene.objects[mention.object_index]
                phrases.append(
                    GroundedPhrase(mention.start, mention.end, (item.box,), (item.shape,))
                )
            found.append(GroundedCaption(tuple(caption.split()), tuple(phrases)))
        return Grounded(scene.image.shape[:2], found)


@dataclasses.dataclass(frozen=True)
class RecordGrounding:
    """Grounding of files: what a source of boxes says about each record."""

    records: Sequence[Record]
    source: Source

    def __call__(self, number: int) -> Grounded | None:
        """The image of record `number`."""
        record = self.records[number]
        size = self.source.size(record)
        return None if size is None else Grounded(size, self.source.captions(record))


class _Named(NamedTuple):
    """Tokens of an image's captions that name something: which, and cells as packed bits."""

    sentence: Int[np.ndarray, " K"]
    token: Int[np.ndarray, " K"]
    cells: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class ObjectCells:
    """`cells` of captions by their numbers; found when an image comes for the first time.

    Attributes:
      samples: the training captions.
      captions: sentences of each training image.
      grounding: where things are.
      text: words of the captioner.
      preprocessing: what of a photograph the captioner sees.
      grid: (h, w) of its features.
    """

    samples: CaptionSamples
    captions: Sequence[Sequence[str]]
    grounding: Grounding
    text: Text
    preprocessing: Preprocessing
    grid: tuple[int, int]
    _known: dict[int, _Named] = dataclasses.field(default_factory=dict, init=False, repr=False)

    def __call__(self, samples: Int[np.ndarray, " B"], width: int) -> Batch:
        """Cells of the given samples, padded to `width` tokens; what was cut off is left out."""
        positions = self.grid[0] * self.grid[1]
        cells = np.zeros((len(samples), width, positions), bool)
        lengths = self.samples.lengths_of(samples)
        for row, sample in enumerate(samples):
            known = self._of_image(int(self.samples.image[sample]))
            own = (known.sentence == self.samples.sentence[sample]) & (known.token < lengths[row])
            bits = np.unpackbits(known.cells[own], axis=1, count=positions)
            cells[row, known.token[own]] = bits.astype(bool)
        return {"cells": cells}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_known": {}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    def _of_image(self, image: int) -> _Named:
        if image not in self._known:
            self._known[image] = self._find(image)
        return self._known[image]

    def _find(self, image: int) -> _Named:
        packed = np.zeros((0, -(-self.grid[0] * self.grid[1] // 8)), np.uint8)
        rows: list[tuple[int, int, np.ndarray]] = []
        grounded = self.grounding(image)
        if grounded is not None:
            geometry = self.preprocessing.geometry(grounded.size, self.grid)
            told = {tuple(tokenize(" ".join(each.words))): each for each in grounded.captions}
            for number, sentence in enumerate(self.captions[image]):
                if (caption := told.get(tuple(tokenize(sentence)))) is not None:
                    found = self._find_in(sentence, caption, geometry)
                    rows += [(number, token, cells) for token, cells in found]
        return _Named(
            np.array([number for number, _, _ in rows], np.int32),
            np.array([token for _, token, _ in rows], np.int32),
            np.stack([cells for _, _, cells in rows]) if rows else packed,
        )

    def _find_in(
        self, sentence: str, caption: GroundedCaption, geometry: Geometry
    ) -> list[tuple[int, np.ndarray]]:
        """(token, packed cells) of all that names something the captioner sees."""
        words, spans = self.text.spans(self.text.encode(sentence), sentence)
        owner = source_words(words, caption.words)
        found = []
        for phrase in caption.phrases:
            span = moved_span((phrase.start, phrase.end), owner)
            cells = cells_in(phrase.boxes, geometry)
            if span is not None and cells.any():
                tokens = range(spans[span[0]][0], spans[span[1] - 1][1])
                found += [(token, np.packbits(cells.reshape(-1))) for token in tokens]
        return found


def cells_in(boxes: Sequence[Box], geometry: Geometry) -> Bool[np.ndarray, "h w"]:
    """Cells whose centre lies in one of the boxes.

    A box that lies between the centres of two rows or columns gets the one that holds its own
    centre. A box outside what the captioner sees gets none.
    """
    rows, columns = geometry.grid
    edges = [geometry.cell_box(row, 0) for row in range(rows)]
    # Rounded, since boxes often begin at a centre: its last digit must not decide.
    y = np.round([(top + bottom) / 2 for _, top, _, bottom in edges], 6)
    edges = [geometry.cell_box(0, column) for column in range(columns)]
    x = np.round([(left + right) / 2 for left, _, right, _ in edges], 6)
    found = np.zeros(geometry.grid, bool)
    for x0, y0, x1, y1 in boxes:
        down, across = (y0 <= y) & (y < y1 + 1), (x0 <= x) & (x < x1 + 1)
        middle = geometry.pixel_to_cell((x0 + x1 + 1) / 2, (y0 + y1 + 1) / 2)
        if middle is not None:
            down[middle[0]] |= not down.any()
            across[middle[1]] |= not across.any()
        found |= down[:, None] & across[None]
    return found
