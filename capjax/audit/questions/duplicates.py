"""How often is the same caption, or nearly the same, said of different pictures?"""

import array
import hashlib
from collections.abc import Set

import numpy as np

from capjax.audit.contract import Answered, Example, Question, SeenImage
from capjax.folder.opened.results import Results
from capjax.runtime.files import counted
from capjax.studies.contract import Cell, Table

EXACT, NEAR = "exact", "same content words"
MOST_GROUPS = 100
"""Of one kind in the table, the largest."""


class Duplicates(Question):
    """Groups of captions by a sorted key: 24 bytes an image.

    Args:
      results: that the numbers of images belong to.
      function: words that do not tell two captions apart.
      examples: to show.
    """

    TITLE = "Which captions are said again and again?"
    ABOUT = (
        "Captions count as nearly the same when they have the same content words, in any order "
        "and case, each counted once. Pictures are told apart by the digest of their files, where "
        "it is stored; else by name."
    )

    def __init__(self, results: Results, function: Set[str], *, examples: int) -> None:
        self._results, self._function, self._examples = results, function, examples
        self._numbers = array.array("q")
        self._keys = {kind: array.array("Q") for kind in (EXACT, NEAR)}
        self._pictures = array.array("Q")

    def add(self, image: SeenImage) -> None:
        """See `Question`."""
        record = image.result.record
        words = {word.lower() for word in record.caption.split()}
        content = sorted(words - self._function)
        self._numbers.append(image.number)
        self._keys[EXACT].append(_digest(record.caption))
        self._keys[NEAR].append(_digest(" ".join(content)))
        self._pictures.append(_digest(record.known.sha256 if record.known else record.file))

    def result(self) -> Answered:
        """See `Question`."""
        total = len(self._numbers)
        if not total:
            return Answered()
        found, rows, examples = [], list[tuple[Cell, ...]](), list[Example]()
        for kind, keys in self._keys.items():
            groups, repeated, distinct = self._groups(np.asarray(keys, np.uint64))
            said = "the same caption" if kind == EXACT else "captions of the same content words"
            found.append(
                f"{counted(distinct, 'caption')} ({kind}) of {counted(total, 'image')}; "
                f"{repeated:,} images ({100 * repeated / total:.1f} %) share {said}."
            )
            for place, members in enumerate(groups):
                own = np.asarray(self._numbers)[members]
                first = self._results[int(own[0])]
                pictures = len(set(np.asarray(self._pictures)[members].tolist()))
                rows.append((kind, first.caption, len(own), pictures, len(own) / total, first.file))
                if kind == EXACT and place < self._examples // 2:
                    about = f"said of {counted(len(own), 'image')}"
                    examples += [Example(int(number), about) for number in own[:2]]
        names = ("kind", "caption", "images", "pictures", "share of images", "first image")
        return Answered({"repeated captions": Table(names, tuple(rows))}, found, (), examples)

    def _groups(self, keys: np.ndarray) -> tuple[list[np.ndarray], int, int]:
        """The largest groups of equal keys, images in groups, and how many keys differ."""
        order = np.argsort(keys, kind="stable")
        starts = np.flatnonzero(np.diff(keys[order], prepend=keys[order[:1]] + np.uint64(1)))
        sizes = np.diff(np.append(starts, len(keys)))
        several = np.flatnonzero(sizes > 1)
        # Of equal size, the group of the first image first.
        ranked = several[np.lexsort((order[starts[several]], -sizes[several]))]
        groups = [order[starts[at] : starts[at] + sizes[at]] for at in ranked[:MOST_GROUPS]]
        return groups, int(sizes[several].sum()), len(sizes)


def _digest(text: str) -> int:
    """64 bits of a text; two of 100,000 texts share them once in a billion corpora."""
    content = hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=8).digest()
    return int.from_bytes(content, "little")
