"""HiResCAM (Draelos & Carin 2020, arXiv 2011.08891), for the words of a caption."""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from capjax.explainers.cams.stage import GradientMethod


@dataclasses.dataclass(frozen=True)
class HiResCAM(GradientMethod):
    """Activations times their own gradients, summed over channels, signed.

    Grad-CAM takes the mean gradient of a channel and so moves evidence from where it was to
    wherever the channel is active. This map does not; where a channel's gradient is the same
    everywhere, both maps are equal.

    Attributes:
      stage: name of an encoder's stage (ResNet layer3, MobileNet block_5, VGG conv5_3); empty: the
        map that the decoder reads.
    """

    NAME = "hirescam"
    COST = "one pass forward and one backward per word"
    SOURCE = "Draelos & Carin 2020, section 3"

    def weigh(
        self,
        activations: Float[Array, "F P D"],
        gradients: Float[Array, "F P D"],
        valid: Bool[Array, "F P"],
    ) -> Float[Array, "F P"]:
        """The map of one image for one target."""
        del valid
        return jnp.sum(activations * gradients, axis=-1)
