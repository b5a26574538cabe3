"""What a reader is shown of one attacked picture: pictures and words."""

import difflib
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, UInt8

from capjax.studies.contract import Cell, Table
from capjax.types import Caption

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
