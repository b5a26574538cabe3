"""Do the methods of the run agree on where a word comes from?"""

import itertools

import numpy as np

from capjax.audit.contract import Answered, Question, SeenImage
from capjax.metrics.corpus.moments import Moments
from capjax.metrics.corpus.places import rank_correlations
from capjax.studies.contract import Table


class Methods(Question):
    """Spearman's correlation of maps of the same word by two methods."""

    TITLE = "Do the methods agree?"
    ABOUT = (
        "Spearman’s correlation over cells of two methods’ maps of the same word, averaged over "
        "the words of an image; the interval is over images. Methods with grids of their own are "
        "compared with methods of the same grid."
    )

    def __init__(self) -> None:
        self._pairs: dict[tuple[str, str], Moments] = {}

    @property
    def reads_maps(self) -> bool:
        """See `Question`."""
        return True

    def add(self, image: SeenImage) -> None:
        """See `Question`."""
        found: dict[tuple[str, str], list[float]] = {}
        for sentence in image.result.sentences:
            for one, other in itertools.combinations(sentence, 2):
                a, b = sentence[one].maps, sentence[other].maps
                if a.shape != b.shape or not a.size or np.isnan(a).any() or np.isnan(b).any():
                    continue
                values = rank_correlations(a.reshape(len(a), -1), b.reshape(len(b), -1))
                found.setdefault((one, other), []).extend(values[~np.isnan(values)].tolist())
        for pair, own in found.items():
            if own:
                self._pairs.setdefault(pair, Moments()).add(sum(own) / len(own))

    def result(self) -> Answered:
        """See `Question`."""
        rows = tuple(
            (*pair, own.count, own.mean, *own.interval()) for pair, own in self._pairs.items()
        )
        if not rows:
            return Answered(missing=["two methods whose maps have the same grid: add --methods"])
        columns = ("method", "other method", "images", "Spearman", "from", "to")
        found = [
            f"{one} and {other}: a mean correlation of {own.mean:.2f}."
            for (one, other), own in self._pairs.items()
        ]
        return Answered({"agreement of methods": Table(columns, rows)}, found)
