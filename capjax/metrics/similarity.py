"""Captions compared with references by their meaning: cosines of sentence embeddings."""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from capjax.text.clip_text import ClipText
from capjax.text.ptb_lite import tokenize
from capjax.text.sentence_encoder import SentenceEncoder
from capjax.weights import load_text_encoder


@dataclasses.dataclass(frozen=True, eq=False)
class CaptionSimilarity:
    """The score "CLIP-text" or "MiniLM": mean cosine of the embeddings of captions and references.

    References are read as the captioner's words are written: lower case, without punctuation.

    Attributes:
      encoder: of sentences, to embeddings of length 1.
      references: sentences of each image.
    """

    encoder: SentenceEncoder
    references: Sequence[Sequence[str]]

    def score(self, captions: Sequence[str]) -> float:
        """The mean over `captions`, from -1 to 1; they are those of the first images."""
        found = self.encoder.encode(captions)
        return float((found * self._means[: len(captions)]).sum(axis=1).mean())

    @functools.cached_property
    def _means(self) -> Float[np.ndarray, "B D"]:
        """The mean embedding of each image's references.

        A caption's product with it is the mean of its cosines with the references.
        """
        sentences = [" ".join(tokenize(each)) for own in self.references for each in own]
        ends = np.cumsum([len(own) for own in self.references])
        parts = np.split(self.encoder.encode(sentences), ends[:-1])
        return np.stack([part.mean(axis=0) for part in parts])


SENTENCE_ENCODERS = {
    "minilm": "hf:sentence-transformers/all-MiniLM-L6-v2",
    "clip": "hf:openai/clip-vit-base-patch32",
}
"""Short name -> encoder of sentences to score with."""


def named_similarity(
    name: str, references: Sequence[Sequence[str]]
) -> tuple[str, CaptionSimilarity]:
    """Loads any encoder of sentences as a score.

    Args:
      name: a key of `SENTENCE_ENCODERS`, a folder, or "hf:owner/name[@revision]".
      references: sentences of each image.

    Returns:
      The score's name, "CLIP-text" or "MiniLM", and what measures it.

    Raises:
      ImportError, FileNotFoundError, ValueError: see `load_text_encoder`.
    """
    encoder = load_text_encoder(SENTENCE_ENCODERS.get(name, name))
    score = "CLIP-text" if isinstance(encoder.net, ClipText) else "MiniLM"
    return score, CaptionSimilarity(encoder, references)


def load_clip(name: str, setting: str) -> SentenceEncoder:
    """Loads the text encoder of a CLIP.

    Args:
      name: a folder, or "hf:owner/name[@revision]".
      setting: what named it, for errors.

    Raises:
      ImportError, FileNotFoundError, ValueError: see `load_text_encoder`; ValueError also for one
        that is no CLIP.
    """
    encoder = load_text_encoder(name)
    if not isinstance(encoder.net, ClipText):
        raise ValueError(
            f"{setting} is {name}, a {type(encoder.net).__name__}; expected a CLIP, such as "
            "hf:openai/clip-vit-base-patch32"
        )
    return encoder
