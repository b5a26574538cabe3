"""Caption-guided saliency (Ramanishka et al. 2017): what one position alone says of each word."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from capjax.captioner import CaptionNet
from capjax.explainers.attentions.rollout import mixes_positions
from capjax.explainers.contract import Maps, Method
from capjax.explainers.request import Request
from capjax.explainers.word_losses import word_losses
from capjax.types import Features

CONTEXTUAL = (
    "evidence stored at this token, which the encoder has mixed with the others; it need not have "
    "come from this part of the picture."
)
"""What a reader is told where the encoder mixes its positions."""


@dataclasses.dataclass(frozen=True)
class CaptionGuided(Method):
    """Log-probability of each target at every position alone: minus the loss of eqs 7, 9 and 13.

    A phrase is the sum of its words, before any scaling (eq 9). At most 0; the nearer, the more
    this position alone says so. Values compare positions, not words: a word that needs no image
    ("a") is near 0 everywhere. A whole frame's relevance is that of its mean descriptor alone.

    Attributes:
      kl: answer "caption_guided_kl" too, from the same pass: minus KL(p || q_i) of eq 6, summed
        over a target's words. It says how well a position represents the whole: at most 0, and 0
        where this position alone gives the distribution that all of them give.
    """

    kl: bool = False

    NAME = "caption_guided"
    COST = "the decoder once a position, all sentences together"
    SOURCE = "Ramanishka et al. 2017, equations 6, 7, 9 and 13"
    UNMEASURED = ("caption_guided_kl",)
    CONTRASTS = False
    UNITS = {"caption_guided": "p", "caption_guided_kl": "e^-KL"}

    @property
    def answers(self) -> tuple[str, ...]:
        """The losses' maps and, with `kl`, those of the divergence."""
        return tuple(self.UNITS) if self.kl else (self.NAME,)

    def facts(self, net: CaptionNet) -> dict[str, Any]:
        """Whether a position's evidence need not have come from it."""
        return {"contextual": mixes_positions(net)}

    def notes(self, flags: Mapping[str, Any], words: Sequence[str]) -> list[str]:
        """What a map means where the encoder has mixed its positions."""
        return [CONTEXTUAL] if flags["contextual"] else []

    def includes(self, other: Method) -> bool:
        """With `kl` also the answer without it."""
        return self == other or (self.kl and other == dataclasses.replace(self, kl=False))

    def __call__(self, net: CaptionNet, variables: Any, request: Request) -> dict[str, Maps]:
        """Maps of all sentences in one pass, and of whole frames in another."""
        if request.measure != "log_prob":
            raise ValueError(
                f"caption_guided explains the measure 'log_prob', not {request.measure!r}; choose "
                "another method for it, or ask for no measure"
            )
        features = request.features
        maps = self._maps(net, variables, features, request)
        frames: tuple[Any, ...] = (None, None)
        if features.positions.shape[1] > 1:
            means = self._maps(net, variables, features.frame_means(), request)
            frames = tuple(values[..., 0] for values in means)
        return {
            name: Maps.on_features(values, features, frames=whole)
            for name, values, whole in zip(self.answers, maps, frames, strict=False)
        }

    def _maps(
        self, net: CaptionNet, variables: Any, features: Features, request: Request
    ) -> tuple[Float[Array, "B Q N F P"], ...]:
        found = word_losses(net, variables, features, request.tokens, kl=self.kl)
        used = request.used[..., None, None]  # [B Q N T 1 1]
        asked = found if self.kl else found[:1]
        # Not a product: a word without weight may have an infinite loss.
        return tuple(
            -jnp.sum(jnp.where(used == 0, 0.0, used * losses[:, :, None]), axis=3)
            for losses in asked
            if losses is not None
        )
