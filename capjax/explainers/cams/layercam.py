"""Layer-CAM (Jiang et al. 2021), for the words of a caption."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from capjax.explainers.cams.stage import GradientMethod


@dataclasses.dataclass(frozen=True)
class LayerCAM(GradientMethod):
    """Activations times the positive part of their own gradients, summed over channels.

    Made for early stages too, whose channels mean one thing here and another there: a weight a
    cell keeps them apart.

    Attributes:
      stage: name of an encoder's stage (ResNet layer3, MobileNet block_5, VGG conv5_3); empty: the
        map that the decoder reads.
    """

    NAME = "layercam"
    COST = "one pass forward and one backward per word"
    SOURCE = "Jiang et al. 2021, section III, without the ReLU of the map"

    def weigh(
        self,
        activations: Float[Array, "F P D"],
        gradients: Float[Array, "F P D"],
        valid: Bool[Array, "F P"],
    ) -> Float[Array, "F P"]:
        """The map of one image for one target."""
        del valid
        return jnp.sum(activations * jax.nn.relu(gradients), axis=-1)
