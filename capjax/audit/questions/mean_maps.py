"""Where does each word look on average?"""

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float

from capjax.audit.contract import Answered, Question, SeenImage
from capjax.audit.vocabulary import Vocabulary
from capjax.metrics.corpus.moments import Moments
from capjax.metrics.corpus.places import bias, border_weights, centre_weights, distances
from capjax.runtime.files import counted
from capjax.studies.contract import Cell, Table

SHOWN_MAPS = 23
"""On the page, beside the mean over all words, of all methods together."""


class MethodMeans:
    """Mean maps by one method.

    Args:
      words: how many there are.
      grid: of the maps.

    Attributes:
      counts: [W] images of each word.
      sums: [W h w] of its maps in them, as shares, frames added up.
    """

    def __init__(self, words: int, grid: tuple[int, int]) -> None:
        self.counts = np.zeros(words, np.int64)
        self.sums = np.zeros((words, *grid))
        self.centre, self.border = centre_weights(grid), border_weights(grid)
        self.centres: dict[int, Moments] = {}

    def add(self, places: Sequence[int], shares: Float[np.ndarray, "K h w"]) -> None:
        """Takes the maps of words in one image, each word once."""
        self.counts[places] += 1
        self.sums[places] += shares
        for place, value in zip(places, bias(shares, self.centre).tolist(), strict=True):
            self.centres.setdefault(place, Moments()).add(value)

    @property
    def means(self) -> Float[np.ndarray, "W h w"]:
        """Mean maps; zero of words without any."""
        found: np.ndarray = self.sums / np.maximum(self.counts, 1)[:, None, None]
        return found

    @property
    def all(self) -> Float[np.ndarray, "h w"]:
        """The mean over all words: of the mean maps of those that occur."""
        found: np.ndarray = self.means[self.counts > 0].mean(axis=0)
        return found


class MeanMaps(Question):
    """The mean map of every frequent word by every method.

    Args:
      vocabulary: words to ask about.
      least: images of a word.
    """

    TITLE = "Where does each word look on average?"
    ABOUT = (
        "The mean of a word’s maps over images, each map as shares of one. Centre and border say "
        "how many times as much of a map lies in the middle half of height and width, and in the "
        "outermost cells, as of a uniform map; the interval of the centre is over images. "
        "“From all words” is the share of the mean map that would have to move to give the mean "
        "over all words: a word near 0 looks where every word looks. Maps lie on what the "
        "captioner was shown. Each picture below is on its own scale from zero."
    )

    def __init__(self, vocabulary: Vocabulary, *, least: int) -> None:
        self.vocabulary, self._least = vocabulary, least
        self.methods: dict[str, MethodMeans] = {}
        self._other_grids = 0

    @property
    def reads_maps(self) -> bool:
        """See `Question`."""
        return True

    def add(self, image: SeenImage) -> None:
        """See `Question`."""
        found: dict[str, dict[int, list[np.ndarray]]] = {}
        for answer, shares in zip(image.result.answers, image.shares, strict=True):
            for method, maps in shares.items():
                own = found.setdefault(method, {})
                for word, share in zip(answer.words, maps.sum(axis=1), strict=True):
                    place = self.vocabulary.places.get(word.lower())
                    if place is not None and share.any():
                        own.setdefault(place, []).append(share)
        other = False
        for method, own in found.items():
            if not own:
                continue
            means = np.stack([sum(same[1:], same[0]) / len(same) for same in own.values()])
            grid = means.shape[1], means.shape[2]
            known = self.methods.get(method)
            if known is None:
                count = len(self.vocabulary.counts)
                known = self.methods[method] = MethodMeans(count, grid)
            if known.sums.shape[1:] != grid:
                other = True
                continue
            known.add(list(own), means)
        self._other_grids += other

    def told(self) -> Iterator[tuple[str, MethodMeans, np.ndarray]]:
        """Method, its means, and the places of words of enough images."""
        for method, own in self.methods.items():
            yield method, own, np.flatnonzero(own.counts >= self._least)

    def result(self) -> Answered:
        """See `Question`."""
        words = list(self.vocabulary.counts)
        overall, rows = list[tuple[Cell, ...]](), list[tuple[Cell, ...]]()
        maps: dict[str, np.ndarray] = {}
        found = []
        for method, own, places in self.told():
            means, whole = own.means, own.all
            centre, border = (float(bias(whole, part)) for part in (own.centre, own.border))
            grid = whole.shape
            cells = means.reshape(len(words), -1)
            apart = distances(cells, whole.reshape(1, -1))[:, 0]
            overall.append((method, int((own.counts > 0).sum()), f"{grid[0]} x {grid[1]}"))
            overall[-1] += centre, border, float(apart[places].mean()) if len(places) else None
            found.append(
                f"{method}: over all words the centre holds {centre:.2f} and the border "
                f"{border:.2f} times what they would of uniform maps."
            )
            for place in sorted(places, key=lambda at: (-apart[at], words[at])):
                moments = own.centres[int(place)]
                at_border = float(bias(means[place], own.border))
                row = (method, words[place], int(own.counts[place]), moments.mean)
                rows.append((*row, *moments.interval(), at_border, float(apart[place])))
            maps |= self._shown(method, own, places)
        missing = []
        if self._other_grids:
            missing = [
                f"{counted(self._other_grids, 'image')} with maps of another grid than the first "
                "image are left out"
            ]
        if not self.methods:
            return Answered(missing=missing)
        names = ("method", "words", "grid", "centre", "border", "mean distance from all words")
        columns = ("method", "word", "images", "centre", "centre, from", "centre, to")
        tables = {
            "mean maps by method": Table(names, tuple(overall)),
            "mean maps by word": Table((*columns, "border", "from all words"), tuple(rows)),
        }
        return Answered(tables, found, missing, maps=maps)

    def _shown(
        self, method: str, own: MethodMeans, places: np.ndarray
    ) -> dict[str, Float[np.ndarray, "h w"]]:
        words = list(self.vocabulary.counts)
        kept = [place for place in places if words[place] in self.vocabulary.content]
        means = own.means
        each = max(1, SHOWN_MAPS // len(self.methods))
        return {f"all words ({method})": own.all} | {
            f"{words[place]} ({method})": means[place] for place in kept[:each]
        }
