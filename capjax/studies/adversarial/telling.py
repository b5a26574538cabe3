"""What a reader is shown of one attacked picture: pictures, words, distances."""

import dataclasses
import difflib
import functools
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, UInt8

from capjax.metrics.captions import score_images
from capjax.metrics.similarity import SENTENCE_ENCODERS
from capjax.studies.contract import Cell, Table
from capjax.text.sentence_encoder import SentenceEncoder
from capjax.types import Caption
from capjax.weights import load_text_encoder

GREY = 128


def change_pictures(
    before: UInt8[np.ndarray, "*F H W 3"], after: UInt8[np.ndarray, "*F H W 3"]
) -> dict[str, UInt8[np.ndarray, "H W 3"]]:
    """Title -> picture: both, and the change on grey, as it is and as large as grey allows.

    As the captioner sees them, so that a stored file can be shown to it again; of a clip the frames
    lie side by side.
    """
    change = after.astype(np.int32) - before
    largest = int(np.abs(change).max())
    times = max(1, (GREY - 1) // max(1, largest))
    found = {
        "picture": before,
        "adversarial picture": after,
        "change, on grey": (GREY + change).clip(0, 255).astype(np.uint8),
    }
    if largest:
        title = f"change × {times} (largest: {largest} of 255)"
        found[title] = (GREY + times * change).clip(0, 255).astype(np.uint8)
    return {title: _flat(own) for title, own in found.items()}


def _flat(picture: UInt8[np.ndarray, "*F H W 3"]) -> UInt8[np.ndarray, "H W 3"]:
    return picture if picture.ndim == 3 else np.concatenate(list(picture), axis=1)


def changed_words(before: Sequence[str], after: Sequence[str]) -> Table:
    """What words became which, in order; one row a stretch that differs."""
    rows: list[tuple[Cell, ...]] = []
    matcher = difflib.SequenceMatcher(a=list(before), b=list(after), autojunk=False)
    for kind, first, last, start, end in matcher.get_opcodes():
        if kind != "equal":
            own, other = " ".join(before[first:last]), " ".join(after[start:end])
            rows.append((own or None, other or None))
    return Table(("was", "became"), tuple(rows))


def lost_words(
    caption: Caption,
    words: Sequence[str],
    spans: Sequence[tuple[int, int]],
    after: Float[np.ndarray, " T"],
) -> Table:
    """Natural-log probability of each word of the picture's caption on both pictures.

    Args:
      caption: with the log-probabilities on the picture.
      words, spans: its words and where their tokens are.
      after: [T] of its tokens on the adversarial picture.
    """
    rows = []
    for word, (start, end) in zip(words, spans, strict=True):
        own, there = (float(v[start:end].sum()) for v in (caption.log_probs, after))
        rows.append((word, own, there, there - own))
    return Table(("word", "log p", "log p there", "difference"), tuple(rows))


@dataclasses.dataclass(frozen=True)
class Distance:
    """How far two captions are from each other: 0 for equal ones, about 1 for unrelated ones.

    Attributes:
      encoder: of sentences, as `python -m capjax.evaluate --similarity` names it: 1 - cosine of
        their embeddings. Empty: 1 - ROUGE-L, which needs no download and knows no synonyms.
    """

    encoder: str = ""

    @property
    def title(self) -> str:
        """What it measures."""
        return f"sentence distance (1 - {self.encoder or 'ROUGE-L'})"

    def check(self) -> None:
        """Loads the encoder, so that what is wrong with it is said before any work is done."""
        if self.encoder:
            _encoder(self.encoder)

    def __call__(self, pairs: Mapping[str, tuple[str, str]]) -> dict[str, float]:
        """Name -> distance of the two captions of that name."""
        told = {name: pair for name, pair in pairs.items() if all(pair)}
        found = {name: float(one != other) for name, (one, other) in pairs.items()}
        if not told:
            return found
        if self.encoder:
            first, second = (
                _encoder(self.encoder).encode([pair[side] for pair in told.values()])
                for side in (0, 1)
            )
            cosines = np.sum(first * second, axis=1)
            return found | {n: 1 - float(c) for n, c in zip(told, cosines, strict=True)}
        references = {name: [one] for name, (one, _) in told.items()}
        written = {name: other for name, (_, other) in told.items()}
        scores = score_images(references, written, metrics=("ROUGE-L",))
        return found | {name: 1 - float(own["ROUGE-L"] or 0.0) for name, own in scores.items()}


@functools.lru_cache(maxsize=1)
def _encoder(name: str) -> SentenceEncoder:
    return load_text_encoder(SENTENCE_ENCODERS.get(name, name))
