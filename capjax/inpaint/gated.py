"""Gated convolution (Yu et al. 2019, arXiv 1806.03589, eq 2)."""

from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from capjax.ops.convolution import convolution

Activation = Literal["elu", "relu"]

ACTIVATIONS = {"elu": nn.elu, "relu": nn.relu}


class GatedConvolution(nn.Module):
    """activation(features) * sigmoid(gate): `width` channels are convolved, half of them remain.

    Padding is TensorFlow's SAME; `kernel` is HWIO.

    Attributes:
      width: channels that are convolved: features first, then as many gates.
      side: of the kernel.
      stride: of rows and columns.
      rate: of dilation.
      activation: "elu" (with alpha 1) or "relu"; None gives all channels as they are, without gate.
      dtype: of the product and the result; parameters are float32.
      scale: of the first weights, whose variance is then scale / fan in; None: Glorot's uniform
        rule. Gates and activations let about a third pass, so that by that rule nothing is left
        after seventeen layers. With 4 small values pass as they are but for what padding takes.
        With more they grow until activations hold them, and so do differences: layer by layer
        pictures that are nearly alike drift apart, and what is learnt from one is lost on the next
        (Schoenholz et al. 2017, arXiv 1611.01232).
    """

    width: int
    side: int = 3
    stride: int = 1
    rate: int = 1
    activation: Activation | None = "elu"
    dtype: Any = jnp.float32
    scale: float | None = None

    @nn.compact
    def __call__(self, x: Float[Array, "B h w C"]) -> Float[Array, "B h2 w2 D"]:
        """Convolves and gates."""
        shape = (self.side, self.side, x.shape[-1], self.width)
        first = nn.initializers.glorot_uniform()
        if self.scale is not None:
            first = nn.initializers.variance_scaling(self.scale, "fan_in", "normal")
        kernel = self.param("kernel", first, shape)
        bias = self.param("bias", nn.initializers.zeros, (self.width,))
        y = convolution(
            x.astype(self.dtype),
            kernel.astype(self.dtype),
            (self.stride, self.stride),
            "SAME",
            rhs_dilation=(self.rate, self.rate),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        y = y + bias.astype(self.dtype).reshape(1, 1, 1, -1)
        return y if self.activation is None else gate(y, self.activation)


def gate(x: Float[Array, "B h w 2*C"], activation: Activation) -> Float[Array, "B h w C"]:
    """activation(first half of the channels) * sigmoid(second half)."""
    features, gates = jnp.split(x, 2, axis=-1)
    return ACTIVATIONS[activation](features) * jax.nn.sigmoid(gates)


def twice_as_large(x: Float[Array, "B h w C"]) -> Float[Array, "B 2*h 2*w C"]:
    """Every value four times: what TensorFlow's nearest neighbours with align_corners give."""
    batch, height, width, depth = x.shape
    repeated = jnp.broadcast_to(x[:, :, None, :, None], (batch, height, 2, width, 2, depth))
    return repeated.reshape(batch, 2 * height, 2 * width, depth)
