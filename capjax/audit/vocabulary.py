"""The words that an audit is about: those of enough images, found in a pass over the lines."""

import collections
import dataclasses
import functools
from collections.abc import Iterable, Mapping, Set

from capjax.folder.opened.image import ImageResult


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """Frequent words of the sentences that were explained.

    Attributes:
      counts: word in lower case -> images with it, most frequent first.
      function: words that name nothing in a picture.
    """

    counts: Mapping[str, int]
    function: Set[str]

    @classmethod
    def of(
        cls, images: Iterable[ImageResult], function: Set[str], *, least: int, most: int
    ) -> "Vocabulary":
        """Counts the words of images.

        Args:
          images: explained or not.
          function: see `Vocabulary`.
          least: images from which a word is frequent.
          most: words to keep.
        """
        counts: collections.Counter[str] = collections.Counter()
        for image in images:
            counts.update({word.lower() for answer in image.answers for word in answer.words})
        order = sorted(counts.items(), key=lambda own: (-own[1], own[0]))
        return cls({word: count for word, count in order[:most] if count >= least}, function)

    @functools.cached_property
    def content(self) -> frozenset[str]:
        """Those that may name something in a picture: letters, and no function word."""
        return frozenset(
            word
            for word in self.counts
            if word not in self.function and any(letter.isalpha() for letter in word)
        )

    @functools.cached_property
    def places(self) -> Mapping[str, int]:
        """Word -> its place by frequency, from 0."""
        return {word: place for place, word in enumerate(self.counts)}
