"""Which words have the same maps?"""

import numpy as np
from jaxtyping import Float

from capjax.audit.contract import FLAGGED, Answered, Example, Question, SeenImage
from capjax.audit.questions.mean_maps import MeanMaps
from capjax.audit.tally import Key
from capjax.explainers.flags import FLAT_DISTANCE
from capjax.metrics.corpus.places import distances
from capjax.metrics.corpus.shares import SIGNIFICANCE, above_half, holm, wilson
from capjax.runtime.files import counted, listed
from capjax.studies.contract import Cell, Table

MOST_PAIRS = 1000
"""In a table."""


class MethodPairs:
    """Pairs of words in sentences, by one method; arrays hold a pair at [lower, higher] place.

    Args:
      words: how many there are.
    """

    def __init__(self, words: int) -> None:
        self.counts, self.alike = (np.zeros((words, words), np.int32) for _ in range(2))
        self.sums = np.zeros((words, words))
        self.first = np.full((words, words), -1, np.int32)

    def add(self, pair: tuple[int, int], distance: float, number: int) -> None:
        """Takes a pair of one image."""
        self.counts[pair] += 1
        self.sums[pair] += distance
        if distance < FLAT_DISTANCE:
            self.alike[pair] += 1
            if self.first[pair] < 0:
                self.first[pair] = number


class Twins(Question):
    """Distances between the maps of two words, within sentences and on average.

    Args:
      means: mean maps of the words; asked before.
      least: images of a pair.
      examples: to show.
    """

    TITLE = "Which words have the same maps?"
    ABOUT = (
        "How far the maps of two words of a sentence differ: the share that would have to move, 0 "
        f"for the same map. Below {FLAT_DISTANCE:g} they count as the same. Flagged: surely (sign "
        "test, Holm’s correction over all pairs) the same in more than half of the images whose "
        "sentences have both. The second table compares mean maps, of content words that need "
        "share no sentence."
    )

    def __init__(self, means: MeanMaps, *, least: int, examples: int) -> None:
        self._means, self._least, self._examples = means, least, examples
        self._places = means.vocabulary.places
        self._methods: dict[str, MethodPairs] = {}

    @property
    def reads_maps(self) -> bool:
        """See `Question`."""
        return True

    def add(self, image: SeenImage) -> None:
        """See `Question`."""
        found: dict[tuple[str, int, int], list[float]] = {}
        for answer, shares in zip(image.result.answers, image.shares, strict=True):
            places = [self._places.get(word.lower()) for word in answer.words]
            kept = [at for at, place in enumerate(places) if place is not None]
            for method, maps in shares.items():
                flat = maps.reshape(len(maps), -1)[kept]
                apart = distances(flat, flat)
                for row, one in enumerate(kept):
                    for column in range(row + 1, len(kept)):
                        a, b = places[one], places[kept[column]]
                        if a != b and a is not None and b is not None:
                            pair = (method, min(a, b), max(a, b))
                            found.setdefault(pair, []).append(float(apart[row, column]))
        for (method, a, b), own in found.items():
            pairs = self._methods.get(method)
            if pairs is None:
                pairs = self._methods[method] = MethodPairs(len(self._places))
            pairs.add((a, b), sum(own) / len(own), image.number)

    def result(self) -> Answered:
        """See `Question`."""
        words = list(self._places)
        keys, counts, alike = list[Key](), list[int](), list[int]()
        sums, first = list[float](), list[int]()
        for method, own in self._methods.items():
            for a, b in np.argwhere(own.counts >= self._least):
                keys.append((method, words[a], words[b]))
                counts.append(int(own.counts[a, b]))
                alike.append(int(own.alike[a, b]))
                sums.append(float(own.sums[a, b]))
                first.append(int(own.first[a, b]))
        chances = holm(above_half(alike, counts))
        share = np.array(alike) / np.maximum(counts, 1)
        mean = np.array(sums) / np.maximum(counts, 1)
        order = np.lexsort((mean, -share)) if keys else np.arange(0)
        rows = tuple(
            (
                *keys[at],
                counts[at],
                float(share[at]),
                *wilson(alike[at], counts[at]),
                float(mean[at]),
                float(chances[at]),
                int(chances[at] <= SIGNIFICANCE),
            )
            for at in order[:MOST_PAIRS]
        )
        names = ("method", "word", "other word", "images", "same map", "same map, from")
        more = ("same map, to", "mean distance", "p, adjusted", FLAGGED)
        flagged = [at for at in order if chances[at] <= SIGNIFICANCE]
        examples = [
            Example(first[at], f"{_quoted(keys[at])}: the same map", keys[at][0])
            for at in flagged[: self._examples]
        ]
        tables = {
            "words with the same maps in a sentence": Table((*names, *more), rows),
            "words with the same mean maps": self._average(),
        }
        if not rows:
            return Answered({name: own for name, own in tables.items() if own.rows})
        of = f"of {counted(len(keys), 'pair')} of words by method"
        named = listed([_quoted(keys[at]) for at in flagged])
        told = f"{len(flagged):,} {of} mostly have the same map: {named}."
        return Answered(
            tables, [told if flagged else f"None {of} mostly have the same map."], (), examples
        )

    def _average(self) -> Table:
        words = list(self._places)
        rows = list[tuple[Cell, ...]]()
        for method, own, places in self._means.told():
            kept = [at for at in places if words[at] in self._means.vocabulary.content]
            cells = own.means[kept].reshape(len(kept), own.centre.size)
            for a, b, distance in _closest(cells):
                one, other = kept[a], kept[b]
                images = int(own.counts[one]), int(own.counts[other])
                rows.append((method, words[one], words[other], *images, distance))
        names = ("method", "word", "other word", "images", "images of the other", "distance")
        return Table(names, tuple(rows))


def _closest(means: Float[np.ndarray, "N P"]) -> list[tuple[int, int, float]]:
    """Pairs of maps, the closest first."""
    if len(means) < 2:
        return []
    apart = distances(means, means)
    one, other = np.triu_indices(len(means), 1)
    order = np.argsort(apart[one, other], kind="stable")[: MOST_PAIRS // 10]
    return [(int(one[at]), int(other[at]), float(apart[one[at], other[at]])) for at in order]


def _quoted(key: Key) -> str:
    method, one, other = key
    return f"“{one}” and “{other}” ({method})"
