"""The CLIP that a run's loss compares captions with, fitted to the captioner's words."""

import dataclasses
from typing import Any

import numpy as np

from capjax.data.batches.pipeline import CaptionSamples
from capjax.metrics.similarity import load_clip
from capjax.text.clip_text import ClipText
from capjax.text.protocol import Text
from capjax.text.vocabulary import Vocabulary
from capjax.train.objectives.clip_similarity import ClipSimilarity, word_pieces


@dataclasses.dataclass(frozen=True)
class ClipLoss:
    """What `loss.clip_text` adds to the loss.

    Attributes:
      loss: the static part.
      arrays: its weights and tables, for `create_state`.
      name: where the weights are from, pinned.
    """

    loss: ClipSimilarity
    arrays: dict[str, Any]
    name: str


def load_clip_loss(name: str, text: Text, samples: CaptionSamples) -> ClipLoss | None:
    """Loads the CLIP of `loss.clip_text`.

    Args:
      name: a folder or "hf:owner/name"; empty for none.
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
    return ClipLoss(loss, {"variables": encoder.variables, "pieces": pieces}, encoder.name)
