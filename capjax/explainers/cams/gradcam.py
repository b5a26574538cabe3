"""Grad-CAM (Selvaraju et al. 2017) on the feature map, for the words of a caption."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from capjax.captioner import CaptionNet
from capjax.explainers.contract import Maps, Method
from capjax.explainers.request import Request


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
    alpha = jnp.sum(jnp.where(valid[..., None], gradients, 0.0), axis=1) / count  # [F D]
    maps = jnp.einsum("fpd,fd->fp", activations, alpha, precision="highest")
    return jnp.where(valid, maps, 0.0)


@dataclasses.dataclass(frozen=True)
class GradCAM(Method):
    """Signed Grad-CAM of each target on the feature map, all targets from one forward pass.

    The gradient is taken with respect to the feature map after the encoder, so it sees attention,
    the gate and the initial state. Earlier words are constants, but the states they led to depend
    on the features, so the gradient flows through the whole unrolled decoder. Log-probability
    rather than the paper's pre-softmax score: evidence for competing words counts against the map
    (measure "logit" is the paper's). A feature map with F frames gets one channel weight a frame.
    """

    NAME = "gradcam"
    COST = "one pass forward and one backward a target"
    SOURCE = "Selvaraju et al. 2017, equations 1 and 2, without the ReLU"

    def __call__(self, net: CaptionNet, variables: Any, request: Request) -> dict[str, Maps]:
        """Maps of every sentence, one sentence after the other."""
        features = request.features
        positions = features.positions.astype(jnp.float32)

        def use(gradients: Float[Array, "B F P D"]) -> Float[Array, "B F P"]:
            return jax.vmap(weighted_activations)(positions, gradients, features.valid)

        values = request.gradients(net, variables, positions, use)
        return {self.NAME: Maps.on_features(values, features)}
