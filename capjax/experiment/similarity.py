"""CLIP beside a run: in its loss, fitted to the captioner's words, and as a validation score."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from capjax.data.batches.pipeline import CaptionSamples
from capjax.text.clip_text import ClipText
from capjax.text.protocol import Text
from capjax.text.ptb_lite import tokenize
from capjax.text.sentence_encoder import SentenceEncoder
from capjax.text.vocabulary import Vocabulary
from capjax.train.objectives.clip_similarity import ClipSimilarity, word_pieces
from capjax.weights import load_text_encoder


@dataclasses.dataclass(frozen=True)
class Similarity:
    """What the loss compares captions with.

    Attributes:
      loss: the static part.
      arrays: its weights and tables, for `create_state`.
      name: where the weights are from, pinned.
    """

    loss: ClipSimilarity
    arrays: dict[str, Any]
    name: str


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
        """From -1 to 1, the mean over captions of the first images."""
        found = self.encoder.encode(captions)
        return float((found * self._means[: len(captions)]).sum(axis=1).mean())

    @functools.cached_property
    def _means(self) -> Float[np.ndarray, "B D"]:
        """Of each image's references: the product with their mean is the mean of the cosines."""
        sentences = [" ".join(tokenize(each)) for own in self.references for each in own]
        ends = np.cumsum([len(own) for own in self.references])
        parts = np.split(self.encoder.encode(sentences), ends[:-1])
        return np.stack([part.mean(axis=0) for part in parts])


KNOWN = {
    "minilm": "hf:sentence-transformers/all-MiniLM-L6-v2",
    "clip": "hf:openai/clip-vit-base-patch32",
}
"""Encoders of sentences to score with, by a short name."""


def named_similarity(
    name: str, references: Sequence[Sequence[str]]
) -> tuple[str, CaptionSimilarity]:
    """(Name of the score, what measures it) of any encoder of sentences.

    Args:
      name: a key of `KNOWN`, a folder, or "hf:owner/name[@revision]".
      references: sentences of each image.

    Raises:
      ImportError, FileNotFoundError, ValueError: see `load_text_encoder`.
    """
    encoder = load_text_encoder(KNOWN.get(name, name))
    score = "CLIP-text" if isinstance(encoder.net, ClipText) else "MiniLM"
    return score, CaptionSimilarity(encoder, references)


def caption_similarity(name: str, references: Sequence[Sequence[str]]) -> CaptionSimilarity | None:
    """The score by the CLIP of `evaluation.clip_text`; None where it is empty.

    Raises:
      ImportError, FileNotFoundError, ValueError: see `load_clip`.
    """
    if not name:
        return None
    return CaptionSimilarity(load_clip(name, "evaluation.clip_text"), references)


def load_clip(name: str, setting: str) -> SentenceEncoder:
    """The text encoder of a CLIP; `setting` is named in errors.

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


def load_similarity(name: str, text: Text, samples: CaptionSamples) -> Similarity | None:
    """What `loss.clip_text` names; None where it is empty.

    Args:
      name: a folder or "hf:owner/name".
      text: words of the captioner.
      samples: training captions, the longest of which decides how many tokens CLIP reads.

    Raises:
      ValueError: a captioner that writes pieces of words, or see `load_clip`.
    """
    if not name:
        return None
    if not isinstance(text, Vocabulary):
        raise ValueError(
            "loss.clip_text needs a captioner that writes words, which CLIP splits into its own "
            "pieces; this one writes byte pairs, which no table turns into CLIP's: leave it empty, "
            "or train with self_critical.reward=CLIP, which compares sentences"
        )
    encoder = load_clip(name, "loss.clip_text")
    assert isinstance(encoder.net, ClipText)  # checked by load_clip
    pieces = word_pieces(text, encoder.subwords)
    lengths = np.add.reduceat(np.asarray(pieces.counts)[samples.tokens], samples.starts[:-1])
    start, end = encoder.subwords.encode([""])[0]
    room = min(int(lengths.max()), encoder.subwords.max_length - 2)
    loss = ClipSimilarity(encoder.net.clone(normalise=False), start, end, room)
    return Similarity(loss, {"variables": encoder.variables, "pieces": pieces}, encoder.name)
