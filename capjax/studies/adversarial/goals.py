"""What an attack wants the captioner to say, and how far its logits are from saying it.

Letters: B images, T tokens, V vocabulary, J keywords.
"""

from typing import Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Bool, Float, Int

from capjax.decoding.decoded import selectable
from capjax.types import NO_TOKEN

Kind = Literal["untargeted", "caption", "keywords", "without"]
"""Another caption than the picture's own; this caption; a caption with these words; one without."""

Loss = Literal["margin", "log_prob"]
"""Of logits (Show-and-Fool, Chen et al. 2018, equations 6 and 9), or of log-probabilities."""

GATE = 10_000.0
"""Keeps a keyword from a place where another keyword is already said."""


@struct.dataclass
class Goal:
    """What to make the captioner say of each image.

    Attributes:
      tokens: of "caption" the target, its end included. Otherwise the captioner's own caption of
        the picture: what "untargeted" moves away from, and what keywords are sought along first.
      lengths: of `tokens`.
      keywords: of "keywords" and "without"; NO_TOKEN fills a row.
      kind: see `Kind`.
    """

    tokens: Int[Array, "B T"]
    lengths: Int[Array, " B"]
    keywords: Int[Array, "B J"]
    kind: Kind = struct.field(pytree_node=False, default="untargeted")

    @classmethod
    def of(
        cls,
        kind: Kind,
        tokens: Int[np.ndarray, "B T"],
        lengths: Int[np.ndarray, " B"],
        keywords: Int[np.ndarray, "B J"] | None = None,
    ) -> "Goal":
        """A goal of host arrays.

        Raises:
          ValueError: an unknown kind; keywords that are missing, or that the kind does not read.
        """
        if kind not in get_args(Kind):
            raise ValueError(f"got the goal {kind!r}; choose one of: {', '.join(get_args(Kind))}")
        if (keywords is not None) != (kind in ("keywords", "without")):
            wants = "needs" if keywords is None else "takes no"
            raise ValueError(f"the goal {kind!r} {wants} keywords")
        if keywords is None:
            keywords = np.zeros((len(tokens), 0), np.int32)
        return cls(jnp.asarray(tokens), jnp.asarray(lengths), jnp.asarray(keywords), kind)

    def along(self, tokens: Int[Array, "B T"], lengths: Int[Array, " B"]) -> "Goal":
        """The same goal after the captioner wrote this; keywords are sought along it."""
        if self.kind in ("untargeted", "caption"):
            return self
        return self.replace(tokens=tokens, lengths=lengths)  # type: ignore[attr-defined]


def goal_loss(
    logits: Float[Array, "B T V"],
    goal: Goal,
    *,
    loss: Loss,
    confidence: float,
    suppress: tuple[int, ...],
) -> Float[Array, " B"]:
    """How far each image is from its goal; attacks make it small.

    Args:
      logits: along `goal.tokens`.
      goal: what to say.
      loss: "margin" or "log_prob".
      confidence: kappa of the margins: how far the logit of the wanted word has to be ahead.
      suppress: ids that are never written, and win over no word.
    """
    real = jnp.arange(logits.shape[1])[None] < goal.lengths[:, None]  # [B T]
    sign = 1.0 if goal.kind in ("caption", "keywords") else -1.0
    if goal.kind in ("untargeted", "caption"):
        ahead = _ahead(logits, goal.tokens[..., None], loss, suppress)[..., 0]  # [B T]
        return jnp.sum(jnp.where(real, _clipped(sign * ahead, loss, confidence), 0.0), axis=-1)
    asked = goal.keywords != NO_TOKEN  # [B J]
    words = jnp.broadcast_to(jnp.maximum(goal.keywords, 0)[:, None], (*real.shape, asked.shape[1]))
    lacks = _clipped(sign * _ahead(logits, words, loss, suppress), loss, confidence)  # [B T J]
    if goal.kind == "without":  # every place has to be free of the word
        worst = jnp.max(jnp.where(real[..., None], lacks, -jnp.inf), axis=1)
        return jnp.sum(jnp.where(asked, worst, 0.0), axis=-1)
    top = jnp.argmax(selectable(logits, suppress), axis=-1)  # [B T]
    said = (words == top[..., None]) & asked[:, None]  # [B T J]
    other = jnp.any(said, axis=-1, keepdims=True) & ~said
    gated = jnp.where(real[..., None], lacks + GATE * other, jnp.inf)
    return jnp.sum(jnp.where(asked, jnp.min(gated, axis=1), 0.0), axis=-1)


def _ahead(
    logits: Float[Array, "B T V"],
    words: Int[Array, "B T J"],
    loss: Loss,
    suppress: tuple[int, ...],
) -> Float[Array, "B T J"]:
    """How far words are behind the best other word, or minus their log-probability."""
    own = jnp.take_along_axis(logits, words, axis=-1)
    if loss == "log_prob":
        return jax.nn.logsumexp(logits, axis=-1, keepdims=True) - own
    best, ids = jax.lax.top_k(selectable(logits, suppress), 2)
    other = jnp.where(ids[..., :1] == words, best[..., 1:], best[..., :1])
    return other - own


def _clipped(values: Array, loss: Loss, confidence: float) -> Array:
    return jnp.maximum(values, -confidence) if loss == "margin" else values


def reached(
    goal: Goal,
    tokens: Int[Array, "B T"],
    lengths: Int[Array, " B"],
    eos: int,
) -> Bool[Array, " B"]:
    """Whether captions are what a goal wants.

    A caption has keywords if it has all of them and other words beside: the released code of
    Show-and-Fool asks for a strict subset.

    Args:
      goal: what was wanted.
      tokens, lengths: what the captioner writes of the moved pictures.
      eos: the end token, which is no word.
    """
    if goal.kind in ("untargeted", "caption"):
        same = _same(goal.tokens, goal.lengths, tokens, lengths)
        return same if goal.kind == "caption" else ~same
    asked = goal.keywords != NO_TOKEN
    word = (jnp.arange(tokens.shape[1])[None] < lengths[:, None]) & (tokens != eos)  # [B T]
    is_key = (tokens[..., None] == goal.keywords[:, None]) & asked[:, None] & word[..., None]
    there = jnp.any(is_key, axis=1)  # [B J]
    if goal.kind == "without":
        return ~jnp.any(there, axis=-1)
    others = jnp.any(word & ~jnp.any(is_key, axis=-1), axis=-1)
    return jnp.all(there | ~asked, axis=-1) & others


def _same(
    tokens: Int[Array, "B T"],
    lengths: Int[Array, " B"],
    others: Int[Array, "B S"],
    other_lengths: Int[Array, " B"],
) -> Bool[Array, " B"]:
    width = min(tokens.shape[1], others.shape[1])
    real = jnp.arange(width)[None] < lengths[:, None]
    equal = jnp.all((tokens[:, :width] == others[:, :width]) | ~real, axis=-1)
    return equal & (lengths == other_lengths)
