"""Rewards of written captions, for self-critical training."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from capjax.metrics.cider import CiderD
from capjax.text.ptb_lite import tokenize
from capjax.types import Text

END = "<end>"
"""The end token as a word; no caption contains it."""


class CiderReward:
    """CIDEr-D of captions, by the references of their images and the corpus of all of them."""

    def __init__(
        self,
        captions: Sequence[Sequence[str]],
        image_of: Int[np.ndarray, " N"],
        text: Text,
        *,
        end_token: bool,
    ) -> None:
        """Counts the corpus.

        Args:
          captions: sentences of each training image.
          image_of: number of the image of each training caption.
          text: words of the captioner.
          end_token: whether a caption that ends earns the end token as a word.
        """
        self._image_of = image_of
        self._text = text
        self._end = [END] if end_token else []
        self._scorer = CiderD([[tokenize(each) + self._end for each in own] for own in captions])

    def __call__(
        self,
        ids: Int[np.ndarray, " B"],
        tokens: Int[np.ndarray, "B K T"],
        lengths: Int[np.ndarray, "B K"],
    ) -> Float[np.ndarray, "B K"]:
        """Scores from 0 to 10 of K captions of the image of each training caption of `ids`."""
        rows = []
        for image, own, sizes in zip(self._image_of[ids], tokens, lengths, strict=True):
            written = [self._words(row[:size]) for row, size in zip(own, sizes, strict=True)]
            rows.append(self._scorer.scores(int(image), written))
        return np.array(rows)

    def _words(self, tokens: np.ndarray) -> list[str]:
        ended = len(tokens) > 0 and tokens[-1] == self._text.eos
        return tokenize(self._text.decode(tokens.tolist())) + (self._end if ended else [])
