"""Grad-CAM++ (Chattopadhyay et al. 2018), for the words of a caption."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from capjax.explainers.cams.stage import GradientMethod


@dataclasses.dataclass(frozen=True)
class GradCAMPlusPlus(GradientMethod):
    """Channels weighted by their positive gradients, those of few cells as much as those of many.

        w_k = sum_ij alpha_ij relu(g_ij),    alpha_ij = g_ij^2 / (2 g_ij^2 + g_ij^3 sum_ab A_ab)

    with g the gradient of the explained scalar F, in place of the paper's score S, and its Y =
    exp(S). The factor exp(F) of a whole map is left out. Where g is positive, which is all that
    counts, alpha is 1 / (2 + g sum A).

    Deviations: no ReLU of the map. The sum is of what is positive in A: the paper's activations
    have nothing else, and the denominator could vanish with those of GELU, SiLU or a norm. One
    channel weight a frame.

    Attributes:
      stage: name of an encoder's stage (ResNet layer3, MobileNet block_5, VGG conv5_3); empty: the
        map that the decoder reads.
    """

    NAME = "gradcam_plus"
    COST = "one pass forward and one backward per word"
    SOURCE = "Chattopadhyay et al. 2018, equations 5 and 19, without the ReLU of the map"

    def weigh(
        self,
        activations: Float[Array, "F P D"],
        gradients: Float[Array, "F P D"],
        valid: Bool[Array, "F P"],
    ) -> Float[Array, "F P"]:
        """The map of one image for one target."""
        del valid
        total = jnp.sum(jax.nn.relu(activations), axis=1, keepdims=True)  # [F 1 D]
        positive = jax.nn.relu(gradients)
        weights = jnp.sum(positive / (2 + positive * total), axis=1)  # [F D]
        return jnp.einsum("fpd,fd->fp", activations, weights, precision="highest")
