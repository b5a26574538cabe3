"""Score-CAM (Wang et al. 2020, arXiv 1910.01279): channels weighted by what they let through."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from capjax.captioner import CaptionNet
from capjax.explainers.cams.stage import Activations, StageMethod
from capjax.explainers.contract import InParts, Maps, clips
from capjax.explainers.perturbation.copies import covered
from capjax.explainers.perturbation.covers import cover
from capjax.explainers.request import Request

ALIKE = (
    "words have much the same map: through whichever channel the picture is seen, they score much "
    "the same, so that all channels weigh much the same."
)
"""What a reader is told of flat maps."""


class Tally(NamedTuple):
    """A softmax over channels that grows by one channel at a time.

    Attributes:
      order: channels, those that vary most from cell to cell first.
      highest: score so far, from which the others are counted.
      total: sum of exp(score - highest).
      maps: sum of the channels' activations times exp(score - highest).
    """

    order: Int[Array, "B K"]
    highest: Float[Array, "B Q N"]
    total: Float[Array, "B Q N"]
    maps: Float[Array, "B Q N F P"]


@dataclasses.dataclass(frozen=True)
class ScoreCAM(StageMethod, InParts):
    """Channels of the stage weighted by the score of the image seen through each of them.

    A channel's activations, brought to 0..1 and enlarged to the image, say how much of the image is
    left of each pixel; the rest is the baseline. No gradient is taken. The weights are a softmax
    over channels of how much the score of such an image is above the baseline's, which is the same
    as that of the scores themselves. Probabilities differ by one at most, so that such weights are
    much alike, and so are the maps of words. With measure "log_prob" they are the probabilities
    over their sum, as in the authors' code. Of a clip all frames are masked at once. A channel that
    is the same everywhere is left out.

    Deviations: no ReLU of the map; the probability of a word, where the paper has that of a class.

    Attributes:
      channels: how many are tried, those that vary most from cell to cell; 0 for all, as in the
        paper.
      baseline: what a masked pixel is, the encoder's "mean" colour, as in the paper's code, or
        "black".
      stage: name of an encoder's stage (ResNet layer3, MobileNet block_5, VGG conv5_3); empty: the
        map that the decoder reads.
    """

    channels: int = 0
    baseline: Literal["mean", "black"] = "mean"

    NAME = "scorecam"
    COST = "encoder and decoder once a channel"
    SOURCE = "Wang et al. 2020, definition 3 and algorithm 1, without the ReLU"
    MEASURE = "prob"

    def __post_init__(self) -> None:
        if self.channels < 0:
            raise ValueError(f"got channels={self.channels}; expected 0 for all, or more")
        if self.baseline not in ("mean", "black"):
            raise ValueError(f"unknown baseline {self.baseline!r}; choose mean or black")

    def notes(self, flags: Mapping[str, Any], words: Sequence[str]) -> list[str]:
        """Why words hardly differ, where they hardly do."""
        return [ALIKE] if flags["flat"] else []

    def parts(self, request: Request) -> int:
        """How many channels are tried."""
        existing = self.activations(request).values.shape[-1]
        return min(self.channels or existing, existing)

    def start(self, net: CaptionNet, variables: Any, request: Request) -> Tally:
        """No channel yet; raises ValueError without images."""
        if request.images is None:
            raise ValueError(
                "scorecam masks images, and was given features alone; choose another method, for "
                "instance layercam"
            )
        seen = self.activations(request)
        spread = jnp.var(seen.values, axis=(1, 2), where=seen.valid[..., None])  # [B D]
        order = jax.lax.top_k(spread, self.parts(request))[1]
        shape = request.weights.shape[:3]
        return Tally(
            order,
            jnp.full(shape, -jnp.inf, jnp.float32),
            jnp.zeros(shape, jnp.float32),
            jnp.zeros((*shape, *seen.values.shape[1:3]), jnp.float32),
        )

    def step(
        self, net: CaptionNet, variables: Any, request: Request, tally: Tally, index: Int[Array, ""]
    ) -> Tally:
        """Tries channel `index` of the order."""
        seen = self.activations(request)
        chosen = tally.order[:, index][:, None, None, None]
        channel = jnp.take_along_axis(seen.values, chosen, axis=-1)[..., 0]  # [B F P]
        masks, varies = _masks(
            channel.reshape(*channel.shape[:2], *seen.grid), seen, request.images
        )
        pictures = clips(self, request)
        covers = cover(net, pictures, "zero" if self.baseline == "black" else "mean")
        masked = covered(pictures, covers, masks[:, None])[:, 0]
        score = request.score(net, variables, images=masked)
        score = jnp.where(varies, score, -jnp.inf)
        highest = jnp.maximum(tally.highest, score)
        # A channel that does not vary, before any that does: minus infinity less itself.
        finite = jnp.where(jnp.isfinite(highest), highest, 0.0)
        before, own = jnp.exp(tally.highest - finite), jnp.exp(score - finite)
        spread = (..., None, None)
        return Tally(
            tally.order,
            highest,
            tally.total * before + own,
            tally.maps * before[spread] + own[spread] * channel[:, None, None],
        )

    def finish(
        self, net: CaptionNet, variables: Any, request: Request, tally: Tally
    ) -> dict[str, Maps]:
        """The channels' weighted sum; 0 where none varies."""
        total = jnp.where(tally.total > 0, tally.total, 1.0)[..., None, None]
        return self.activations(request).answered(self.NAME, tally.maps / total)


def _masks(
    channel: Float[Array, "B F h w"], seen: Activations, images: Any
) -> tuple[Float[Array, "B F H W"], Bool[Array, "B 1 1"]]:
    """A channel enlarged to the images, from 0 to 1 over all frames, and whether it varies."""
    size = (*channel.shape[:2], *images.shape[-3:-1])
    wide = jax.image.resize(channel, size, "bilinear", antialias=False)
    real = jnp.any(seen.valid, axis=-1)[..., None, None]
    low, high = _ends(wide, real)
    masks = (wide - low) / jnp.where(high > low, high - low, 1.0)
    # Of the channel itself: enlarging a constant may round.
    lowest, highest = _ends(channel, real)
    return jnp.where(real, masks, 0.0), (highest > lowest)[..., 0]


def _ends(
    values: Float[Array, "B F h w"], real: Bool[Array, "B F 1 1"]
) -> tuple[Float[Array, "B 1 1 1"], Float[Array, "B 1 1 1"]]:
    """The least and the largest value of all frames that are no padding."""
    options: Any = {"axis": (1, 2, 3), "keepdims": True, "where": real}
    return jnp.min(values, initial=jnp.inf, **options), jnp.max(values, initial=-jnp.inf, **options)
