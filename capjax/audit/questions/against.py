"""How do two runs over the same images differ?"""

import collections
import heapq
from collections.abc import Iterable

import numpy as np
from jaxtyping import Float
from scipy.stats import binomtest

from capjax.audit.contract import FLAGGED, Answered, Example, Question, SeenImage
from capjax.audit.vocabulary import Vocabulary
from capjax.folder.opened.image import DamagedMapsError, ImageResult
from capjax.folder.opened.results import Results
from capjax.metrics.corpus.moments import Moments
from capjax.metrics.corpus.places import rank_correlations
from capjax.metrics.corpus.shares import SIGNIFICANCE, holm, wilson
from capjax.runtime.files import counted, listed
from capjax.studies.contract import Cell, Table
from capjax.studies.counterfactual.alignment import align
from capjax.types import Explanation

MOST_CHANGED = 1000
"""Captions in the table of those that changed."""
BY_NAME = "compared by name alone"


class Against(Question):
    """Captions and maps of a run beside those of another one.

    Args:
      other: run over the same images.
      vocabulary: words to ask about.
      least: images of a word.
      examples: to show.
    """

    TITLE = "How does the run differ from the other one?"
    ABOUT = (
        "Images are the same when their names are, and the digests of their files where both runs "
        "stored them. Maps of a word are compared where both runs say it (by the longest common "
        "subsequence of the two sentences), by Spearman’s correlation over cells, and averaged in "
        "each image; intervals are over images. Flagged: words that one run says surely (sign test "
        "of images that lost it against images that gained it, Holm’s correction) more often."
    )

    def __init__(
        self, other: Results, vocabulary: Vocabulary, *, least: int, examples: int
    ) -> None:
        self._other, self._words = other, vocabulary.counts
        self._least, self._examples = least, examples
        self._counts: collections.Counter[str] = collections.Counter()
        self._lost: collections.Counter[str] = collections.Counter()
        self._gained: collections.Counter[str] = collections.Counter()
        self._score = Moments()
        self._changed: list[tuple[int, int, str, str, str]] = []
        self._methods: dict[str, Moments] = {}
        self._by_word: dict[tuple[str, str], Moments] = {}

    @property
    def reads_maps(self) -> bool:
        """See `Question`."""
        return True

    def add(self, image: SeenImage) -> None:
        """See `Question`."""
        here = image.result
        if here.file not in self._other:
            self._counts["only here"] += 1
            return
        there = self._other[here.file]
        if there.error is not None:
            self._counts["not explained there"] += 1
            return
        digests = here.record.known, there.record.known
        if digests[0] is None or digests[1] is None:
            self._counts[BY_NAME] += 1
        elif digests[0].sha256 != digests[1].sha256:
            self._counts["of another content there"] += 1
            return
        self._counts["compared"] += 1
        self._compare_captions(image.number, here, there)
        try:
            self._compare_maps(here, there)
        except DamagedMapsError:
            self._counts["with damaged maps there"] += 1

    def _compare_captions(self, number: int, here: ImageResult, there: ImageResult) -> None:
        self._score.add(here.record.score - there.record.score)
        if here.caption == there.caption:
            return
        self._counts["changed"] += 1
        words = [set(own.caption.lower().split()) for own in (here, there)]
        self._gained.update(words[0] - words[1])
        self._lost.update(words[1] - words[0])
        entry = (
            len(words[0] ^ words[1]),
            -number,
            here.file,
            here.caption,
            there.caption,
        )
        keep = heapq.heappush if len(self._changed) < MOST_CHANGED else heapq.heappushpop
        keep(self._changed, entry)

    def _compare_maps(self, here: ImageResult, there: ImageResult) -> None:
        found: dict[tuple[str, str], list[float]] = {}
        for one, other, maps, others in zip(
            here.answers, there.answers, here.sentences, there.sentences, strict=False
        ):
            if one.query != other.query:
                continue
            pairs = align(one.words, other.words).pairs
            for method in maps.keys() & others.keys():
                for (place, _), value in zip(
                    pairs, _correlations(maps[method], others[method], pairs), strict=False
                ):
                    if value == value:
                        found.setdefault((method, one.words[place].lower()), []).append(value)
        by_method: dict[str, list[float]] = {}
        for (method, word), values in sorted(found.items()):
            mean = sum(values) / len(values)
            by_method.setdefault(method, []).extend(values)
            if word in self._words:
                self._by_word.setdefault((method, word), Moments()).add(mean)
        for method, values in by_method.items():
            self._methods.setdefault(method, Moments()).add(sum(values) / len(values))

    def result(self) -> Answered:
        """See `Question`."""
        counts = self._counts
        compared = counts["compared"]
        missing = [
            f"{counts[name]:,} images {name}: left out"
            for name in (
                *("only here", "not explained there", "of another content there"),
                "with damaged maps there",
            )
            if counts[name]
        ]
        if counts[BY_NAME]:
            missing.append(f"{counts[BY_NAME]:,} images {BY_NAME}: a run stored no digest")
        if not compared:
            return Answered(missing=[*missing, "no image is in both runs"])
        low, high = wilson(counts["changed"], compared)
        found = [
            f"Of {counted(compared, 'image')} {counts['changed']:,} have another caption "
            f"({100 * counts['changed'] / compared:.1f} %, from {100 * low:.1f} to "
            f"{100 * high:.1f} %)."
        ]
        ends = self._score.interval()
        found.append(
            f"Score of captions, here less there: {self._score.mean:+.3f} on average, from "
            f"{ends[0]:+.3f} to {ends[1]:+.3f}."
        )
        words = self._word_table()
        moved = [str(row[0]) for row in words.rows if row[-1]]
        if moved:
            named = listed([f"“{word}”" for word in moved])
            found.append(f"{counted(len(moved), 'word')} said more often by one run: {named}.")
        found += [
            f"{method}: maps agree with a mean Spearman correlation of {own.mean:.2f} over "
            f"{counted(own.count, 'image')}."
            for method, own in sorted(self._methods.items())
        ]
        changed = sorted(self._changed, reverse=True)
        tables = {
            "words lost and gained": words,
            "agreement of maps by method": _agreement(("method",), self._one_key(), 1),
            "agreement of maps by word": _agreement(
                ("method", "word"), self._by_word.items(), self._least
            ),
            "captions that changed": Table(
                ("image", "words that differ", "caption here", "caption there"),
                tuple((file, much, here, there) for much, _, file, here, there in changed),
            ),
        }
        examples = [
            Example(-number, f"there: {there}")
            for _, number, _, _, there in changed[: self._examples]
        ]
        kept = {title: table for title, table in tables.items() if table.rows}
        return Answered(kept, found, missing, examples)

    def _one_key(self) -> list[tuple[tuple[str, ...], Moments]]:
        return [((method,), own) for method, own in self._methods.items()]

    def _word_table(self) -> Table:
        both = self._lost + self._gained
        words = sorted(word for word, count in both.items() if count >= self._least)
        chances = holm([binomtest(self._lost[word], both[word]).pvalue for word in words])
        rows = [
            (word, self._lost[word], self._gained[word], float(p), int(p <= SIGNIFICANCE))
            for word, p in zip(words, chances, strict=True)
        ]
        rows.sort(key=lambda row: (row[3], -abs(row[1] - row[2]), row[0]))
        columns = ("word", "images that lost it", "images that gained it", "p, adjusted", FLAGGED)
        return Table(columns, tuple(rows))


def _correlations(
    one: Explanation, other: Explanation, pairs: tuple[tuple[int, int], ...]
) -> Float[np.ndarray, " N"]:
    """Of each pair of words; none where the maps lie on other grids."""
    if one.maps.shape[1:] != other.maps.shape[1:] or not pairs:
        return np.zeros(0)
    left, right = ([own[side] for own in pairs] for side in (0, 1))
    a, b = one.maps[left].reshape(len(pairs), -1), other.maps[right].reshape(len(pairs), -1)
    known = ~(np.isnan(a).any(axis=1) | np.isnan(b).any(axis=1))
    found = np.full(len(pairs), np.nan)
    if known.any():
        found[known] = rank_correlations(a[known], b[known])
    return found


def _agreement(
    names: tuple[str, ...], entries: Iterable[tuple[tuple[str, ...], Moments]], least: int
) -> Table:
    rows = list[tuple[Cell, ...]]()
    for key, own in entries:
        if own.count >= least:
            rows.append((*key, own.count, own.mean, *own.interval()))
    place = len(names) + 1
    rows.sort(key=lambda row: (float(row[place] or 0.0), row[: len(names)]))
    return Table((*names, "images", "Spearman", "from", "to"), tuple(rows))
