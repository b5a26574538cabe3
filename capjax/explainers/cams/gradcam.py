"""Grad-CAM (Selvaraju et al. 2017), for the words of a caption."""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from capjax.explainers.cams.stage import GradientMethod


def weighted_activations(
    activations: Float[Array, "F P D"],
    gradients: Float[Array, "F P D"],
    valid: Bool[Array, "F P"],
) -> Float[Array, "F P"]:
    """sum_k alpha_k A^k with alpha_k the mean gradient over a frame's valid positions (eqs 1, 2).

    Deviation from equation 2: no ReLU. Evidence against the word stays visible as negative
    values; the paper's map is `jax.nn.relu` of this one.
    """
    count = jnp.maximum(jnp.sum(valid, axis=-1), 1)[:, None]
    alpha = jnp.sum(gradients, axis=1) / count  # [F D]
    return jnp.einsum("fpd,fd->fp", activations, alpha, precision="highest")


@dataclasses.dataclass(frozen=True)
class GradCAM(GradientMethod):
    """Channels of the stage weighted by their mean gradient, signed.

    A feature map with F frames gets one channel weight a frame.

    Attributes:
      stage: name of an encoder's stage (ResNet layer3, MobileNet block_5, VGG conv5_3); empty: the
        map that the decoder reads.
    """

    NAME = "gradcam"
    COST = "one pass forward and one backward per word"
    SOURCE = "Selvaraju et al. 2017, equations 1 and 2, without the ReLU"

    def weigh(
        self,
        activations: Float[Array, "F P D"],
        gradients: Float[Array, "F P D"],
        valid: Bool[Array, "F P"],
    ) -> Float[Array, "F P"]:
        """See `weighted_activations`."""
        return weighted_activations(activations, gradients, valid)
