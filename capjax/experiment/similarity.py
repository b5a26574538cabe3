"""The CLIP of `loss.clip_text` beside a run: loaded, and fitted to the captioner's words."""

import dataclasses
from typing import Any

import numpy as np

from capjax.data.pipeline import CaptionSamples
from capjax.text.clip_text import ClipText
from capjax.text.sentence_encoder import SentenceEncoder
from capjax.text.vocabulary import Vocabulary
from capjax.train.clip_similarity import ClipSimilarity, word_pieces
from capjax.types import Text
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
