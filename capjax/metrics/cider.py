"""CIDEr-D of single captions against a fixed corpus (Vedantam et al. 2015): a reward.

`capjax.metrics.captions` scores a set of captions with pycocoevalcap, which weighs n-grams by the
references of that very set. A reward needs the weights of the training corpus for any few of its
images: the same formula, with the document frequencies counted once.
"""

import collections
import math
from collections.abc import Iterable, Mapping, Sequence

ORDERS = 4
SIGMA = 6.0
"""Of the Gaussian penalty of a length difference."""

SCALE = 10.0

Ngram = tuple[str, ...]


class CiderD:
    """CIDEr-D with the document frequencies of a corpus.

    A caption's n-grams of order 1 to 4 are weighed by count · (log N - log max(1, df)), N images,
    df the number of images with the n-gram in a reference. The score is the mean over references
    and orders of

        10 exp(-(l_c - l_r)^2 / (2 · 6^2)) sum_g min(c_g, r_g) r_g / (|c| |r|)

    l the number of bigrams. Deviation from the paper, as in its released code: l, and the clipping
    by min.
    """

    def __init__(self, references: Iterable[Sequence[Sequence[str]]]) -> None:
        """Counts the corpus.

        Args:
          references: of each image its sentences, as words.
        """
        self._references = [list(own) for own in references]
        if not self._references:
            raise ValueError("no references to count; give those of one image or more")
        self._images = math.log(len(self._references))
        self._frequency: collections.Counter[Ngram] = collections.Counter()
        for own in self._references:
            self._frequency.update({ngram for words in own for ngram in _count(words)})

    def scores(self, image: int, captions: Sequence[Sequence[str]]) -> list[float]:
        """Score of each caption, as words, of one image of the corpus; from 0 to 10."""
        references = [self._weigh(words) for words in self._references[image]]
        return [self._score(self._weigh(words), references) for words in captions]

    def _weigh(self, words: Sequence[str]) -> "_Weighed":
        vectors: list[dict[Ngram, float]] = [{} for _ in range(ORDERS)]
        counts = _count(words)
        for ngram, count in counts.items():
            rarity = self._images - math.log(max(1, self._frequency[ngram]))
            vectors[len(ngram) - 1][ngram] = count * rarity
        norms = [math.sqrt(sum(value * value for value in own.values())) for own in vectors]
        return vectors, norms, max(0, len(words) - 1)

    def _score(self, caption: "_Weighed", references: Sequence["_Weighed"]) -> float:
        vectors, norms, length = caption
        total = 0.0
        for theirs, their_norms, their_length in references:
            penalty = math.exp(-((length - their_length) ** 2) / (2 * SIGMA**2))
            for order in range(ORDERS):
                if norms[order] and their_norms[order]:
                    shared = _overlap(vectors[order], theirs[order])
                    total += penalty * shared / (norms[order] * their_norms[order])
        return SCALE * total / (ORDERS * len(references)) if references else 0.0


_Weighed = tuple[list[dict[Ngram, float]], list[float], int]


def _count(words: Sequence[str]) -> collections.Counter[Ngram]:
    return collections.Counter(
        tuple(words[start : start + order])
        for order in range(1, ORDERS + 1)
        for start in range(len(words) - order + 1)
    )


def _overlap(caption: Mapping[Ngram, float], reference: Mapping[Ngram, float]) -> float:
    return sum(
        min(value, reference[ngram]) * reference[ngram]
        for ngram, value in caption.items()
        if ngram in reference
    )
