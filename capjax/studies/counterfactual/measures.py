"""How much an object matters: what changes in a caption, its probability and its attention."""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float
from PIL import Image

from capjax.captioner import Captioner
from capjax.data.boxes.object_words import ObjectWords
from capjax.data.pictures.images import prepare
from capjax.studies.counterfactual.alignment import Aligned, align
from capjax.studies.counterfactual.attention import inside, moved, word_maps
from capjax.studies.counterfactual.reading import Read
from capjax.studies.doubt.object_names import ObjectName, object_names
from capjax.types import Caption

BITS, NAME_BITS = "bits of the caption", "bits of its name"
LOST, GAINED, GONE = "words lost", "words gained", "name gone"


@dataclasses.dataclass(frozen=True, eq=False)
class Whole:
    """The photograph as it is, which all others are compared with.

    Attributes:
      read: of the photograph.
      spans: tokens (start, end) of each word of its caption.
      names: its object words.
      words: which words name which class.
    """

    read: Read
    spans: Sequence[tuple[int, int]]
    names: Sequence[ObjectName]
    words: ObjectWords

    @classmethod
    def of(cls, captioner: Captioner, read: Read, words: ObjectWords) -> "Whole":
        """Finds words and names of the caption."""
        _, spans = captioner.text.spans(read.caption.tokens)
        return cls(read, spans, object_names(read.caption, words), words)

    @property
    def caption(self) -> Caption:
        """What is said of the photograph."""
        return self.read.caption

    def naming(self, category: str | None) -> list[ObjectName]:
        """The words of the caption that may name an object of a category."""
        own = self.words.aliases.get(category or "", category)
        return [name for name in self.names if own in name.classes]

    def named(self, category: str | None) -> bool | None:
        """Whether the caption names the category; None where nobody says what it is."""
        return None if category is None else bool(self.naming(category))

    def bits(self, after: Read) -> float:
        """What the caption's probability loses, in bits; below 0: it becomes more probable."""
        return float(np.sum(self.read.log_probs - after.log_probs, dtype=np.float64) / math.log(2))

    def name_bits(self, after: Read, category: str | None) -> float | None:
        """What the words that name the object lose, in bits; None where none does."""
        names = self.naming(category)
        if not names:
            return None
        lost = np.asarray(self.read.log_probs - after.log_probs, np.float64)
        tokens = {
            token
            for name in names
            for start, end in self.spans[name.start : name.end]
            for token in range(start, end)
        }
        return float(lost[sorted(tokens)].sum() / math.log(2))

    def words_changed(self, after: Read, category: str | None) -> dict[str, float | None]:
        """How many words are lost and gained, and whether the object's name is among the lost."""
        found = align(self.caption.words, after.caption.words)
        gone = None
        if self.naming(category):
            own = self.words.aliases.get(category or "", category)
            there = object_names(after.caption, self.words)
            gone = float(not any(own in name.classes for name in there))
        return {LOST: float(len(found.lost)), GAINED: float(len(found.gained)), GONE: gone}

    def attention(
        self, captioner: Captioner, after: Read, cells: Float[np.ndarray, " P"]
    ) -> Mapping[str, float | None]:
        """How far attention moves, and how much of it lay and lies on what is removed.

        Args:
          captioner: whose captions these are.
          after: of the changed picture.
          cells: how much of each cell the mask covers.

        Returns:
          see `moved`, then "on it before" and "on it after"; empty of a captioner without
          attention.
        """
        if self.read.attention is None or after.attention is None:
            return {}
        _, spans = captioner.text.spans(after.caption.tokens)
        before = word_maps(self.read.attention, self.spans)
        then = word_maps(after.attention, spans)
        words: Aligned = align(self.caption.words, after.caption.words)
        places = {"on it before": inside(before, cells), "on it after": inside(then, cells)}
        return {**moved(before, then, words), **places}


def covered_cells(
    captioner: Captioner, mask: Bool[np.ndarray, "H W"], grid: tuple[int, int] | None = None
) -> Float[np.ndarray, " P"]:
    """How much of each cell of a grid a mask covers, 0 to 1; default: the captioner's grid."""
    white = np.repeat(255 * mask.astype(np.uint8)[..., None], 3, axis=2)
    seen, _ = prepare(white, captioner.preprocessing)
    rows, columns = grid or captioner.grid
    small = Image.fromarray(seen[..., 0]).resize((columns, rows), Image.Resampling.BOX)
    return np.asarray(small, np.float64).reshape(-1) / 255
