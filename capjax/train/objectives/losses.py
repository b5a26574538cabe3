"""The training objective: masked cross-entropy and the doubly-stochastic attention term.

Letters: B captions, T tokens, V words, F frames, P positions. `mask` is 1 for the tokens of a
caption, its end token included, and 0 for padding: padding never changes a loss.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


@dataclasses.dataclass
class LossConfig:
    """What is minimised.

    Attributes:
      reduce: cross-entropy "token": mean over all tokens of the batch; "caption": sum over the
        tokens of a caption, mean over captions (the paper).
      label_smoothing: share of the target's probability spread evenly over the vocabulary.
      doubly_stochastic: weight of the attention term (lambda of eq 14), 0 for none.
      doubly_stochastic_reduce: over positions, "sum" (the paper) or "mean".
      tau: attention that every position should receive over a caption.
      lone_position: share of captions that are learnt from one random position of their image
        alone. Caption-guided saliency asks a captioner what one position says by itself, which a
        captioner that has always seen all of them answers by guessing.
      lambda_r: with hard attention, weight of the policy's gradient (eq 12), a mean over captions.
        The released code has 0.1, with the cross-entropy of "caption" and a cost that is averaged
        over the T tokens of a caption but not over the B captions of a batch. Here 0.1 weighs the
        policy T / B times as much with "caption", and 1 / B times as much with "token", which
        weighs cross-entropy 1 / T times as much.
      lambda_e: with hard attention, weight of the entropy of attention, in nats over a caption. The
        released code's 0.002 is not averaged over the batch: here it weighs 1 / B times as much.
      samples: with hard attention, how often an update draws the positions of each caption.
      baseline_decay: of the moving average of a caption's cost that the policy is compared with;
        a cost is the mean over the caption's tokens with `reduce` "token", else their sum.
      clip_text: a CLIP whose text encoder says how far a caption is from its reference (see
        `clip_similarity`): a folder as transformers keeps it, or "hf:owner/name"; empty: none.
      lambda_clip: weight of that distance in a mean where all else weighs 1.
      lambda_supervised: weight of the cross-entropy between attention and the boxes of what a word
        names (see `supervised`); needs `data.boxes`, or scenes.
      scheduled_sampling: share of the words a captioner reads that are its own (Bengio et al.
        2015), reached in `scheduled_sampling_steps` updates from 0; at once with 0 steps.
    """

    reduce: str = "token"
    label_smoothing: float = 0.0
    doubly_stochastic: float = 1.0
    doubly_stochastic_reduce: str = "sum"
    tau: float = 1.0
    lone_position: float = 0.0
    lambda_r: float = 0.1
    lambda_e: float = 0.002
    samples: int = 1
    baseline_decay: float = 0.9
    clip_text: str = ""
    lambda_clip: float = 1.0
    lambda_supervised: float = 0.0
    scheduled_sampling: float = 0.0
    scheduled_sampling_steps: int = 0

    def __post_init__(self) -> None:
        self.check()

    def check(self) -> None:
        """Raises ValueError for a value that has no meaning."""
        if self.reduce not in ("token", "caption"):
            raise ValueError(f"unknown loss.reduce {self.reduce!r}; choose 'token' or 'caption'")
        if self.doubly_stochastic_reduce not in ("sum", "mean"):
            raise ValueError(
                f"unknown loss.doubly_stochastic_reduce {self.doubly_stochastic_reduce!r}; "
                "choose 'sum' or 'mean'"
            )
        if self.scheduled_sampling_steps and not self.scheduled_sampling:
            raise ValueError(
                f"loss.scheduled_sampling_steps={self.scheduled_sampling_steps} has no effect with "
                "loss.scheduled_sampling=0; set the share that is reached, or the steps to 0"
            )
        for name, value in (
            ("doubly_stochastic", self.doubly_stochastic),
            ("tau", self.tau),
            ("lambda_r", self.lambda_r),
            ("lambda_e", self.lambda_e),
            ("lambda_clip", self.lambda_clip),
            ("lambda_supervised", self.lambda_supervised),
            ("scheduled_sampling_steps", self.scheduled_sampling_steps),
        ):
            if value < 0:
                raise ValueError(f"loss.{name} is {value}; expected 0 or more")
        if self.samples < 1:
            raise ValueError(f"loss.samples is {self.samples}; expected 1 or more")
        for name in ("label_smoothing", "lone_position", "baseline_decay", "scheduled_sampling"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ValueError(
                    f"loss.{name} is {getattr(self, name)}; expected a share in [0, 1)"
                )


def length_mask(lengths: Int[Array, " B"], padded: int) -> Float[Array, "B T"]:
    """1 for the first `lengths` of `padded` tokens (the end token counts), 0 for padding."""
    return (jnp.arange(padded)[None] < lengths[:, None]).astype(jnp.float32)


def token_losses(
    logits: Float[Array, "B T V"], tokens: Int[Array, "B T"], *, label_smoothing: float = 0.0
) -> Float[Array, "B T"]:
    """Negative log-likelihood of each token in nats, in float32 or wider, padding included.

    With smoothing s the target is (1 - s) one-hot + s / V, the form of Szegedy et al. (2016).
    """
    logits = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
    normaliser = jax.nn.logsumexp(logits, axis=-1)
    chosen = jnp.take_along_axis(logits, tokens[..., None], axis=-1)[..., 0]
    if label_smoothing:
        chosen = (1.0 - label_smoothing) * chosen + label_smoothing * jnp.mean(logits, axis=-1)
    return normaliser - chosen


def cross_entropy(
    logits: Float[Array, "B T V"],
    tokens: Int[Array, "B T"],
    mask: Float[Array, "B T"],
    *,
    reduce: str = "token",
    label_smoothing: float = 0.0,
    words: Array | None = None,
) -> Float[Array, ""]:
    """Masked cross-entropy in nats: see `LossConfig.reduce`.

    `words` is what "token" divides by; the number of tokens in `mask` by default.
    """
    losses = token_losses(logits, tokens, label_smoothing=label_smoothing) * mask
    if reduce == "token":
        return jnp.sum(losses) / jnp.maximum(jnp.sum(mask) if words is None else words, 1.0)
    return jnp.mean(jnp.sum(losses, axis=1))


def caption_costs(
    logits: Float[Array, "B T V"],
    tokens: Int[Array, "B T"],
    mask: Float[Array, "B T"],
    *,
    reduce: str = "token",
) -> Float[Array, " B"]:
    """Nats of each caption: the mean over its tokens with "token", else their sum."""
    total = jnp.sum(token_losses(logits, tokens) * mask, axis=1)
    return total / jnp.maximum(jnp.sum(mask, axis=1), 1.0) if reduce == "token" else total


def doubly_stochastic(
    attention: Float[Array, "B T F P"],
    mask: Float[Array, "B T"],
    *,
    reduce: str = "sum",
    tau: float = 1.0,
) -> Float[Array, ""]:
    """Mean over captions of sum_i (tau - sum_t alpha_ti)^2 (Show, Attend and Tell, eq 14).

    The paper and its released code sum over the L = F * P positions; a popular port averages them,
    which is L times weaker: `reduce="mean"`. Deviation from the released code: padded steps give
    no attention (there, batches share one length).

    Args:
      attention: one distribution over F * P a token.
      mask: 1 for the tokens of the caption, the end token included.
      reduce: over positions.
      tau: attention that every position should receive over a caption.
    """
    received = jnp.sum(attention.astype(jnp.float32) * mask[..., None, None], axis=1)  # [B F P]
    missing = jnp.square(tau - received)
    per_caption = jnp.sum(missing, axis=(1, 2))
    if reduce == "mean":
        per_caption = per_caption / (attention.shape[2] * attention.shape[3])
    return jnp.mean(per_caption)
