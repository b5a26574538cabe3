"""The patch discriminator with spectral norm (Yu et al. 2019, arXiv 1806.03589, §3.2)."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from capjax.inpaint.spectral_norm import largest_singular_value
from capjax.ops.convolution import convolution

SIDE, STRIDE = 5, 2
WIDTHS = (1, 2, 4, 4, 4, 4)
"""Of the six convolutions, in units of `Discriminator.width`."""

SLOPE = 0.2
SPECTRAL = "spectral"
"""The collection that holds `u` of every convolution."""


class Discriminator(nn.Module):
    """Scores of overlapping patches of pictures: 5,946,816 parameters at `width` 64.

    Every call iterates once for each convolution's largest singular value. It keeps what it found
    where the collection "spectral" is mutable, as in training:

        scores, found = net.apply(variables, images, masks, mutable=["spectral"])

    and otherwise gives the same scores and forgets it. (The released program always keeps it.)

    Attributes:
      width: channels of the first convolution.
      stop_gradient: see `largest_singular_value`.
      dtype: of activations and products; parameters, singular values and scores are float32.
    """

    width: int = 64
    stop_gradient: bool = True
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, images: Float[Array, "B H W 3"], masks: Float[Array, "B H W 1"]
    ) -> Float[Array, "B N"]:
        """A score for each of H/64 · W/64 · 4·width outputs: high for pictures that look real.

        Args:
          images: RGB in [-1, 1], real or completed.
          masks: 1 where the hole is, or was.
        """
        x = jnp.concatenate([images, masks.astype(images.dtype)], axis=-1)
        for number, times in enumerate(WIDTHS, 1):
            layer = SpectralConvolution(
                times * self.width, self.stop_gradient, self.dtype, name=f"conv{number}"
            )
            x = nn.leaky_relu(layer(x), SLOPE)
        return x.reshape(len(x), -1).astype(jnp.float32)


class SpectralConvolution(nn.Module):
    """A 5x5 convolution of stride 2 whose kernel, as a matrix [25·C D], has spectral norm 1.

    Attributes:
      width: channels of the result.
      stop_gradient: see `largest_singular_value`.
      dtype: of the product.
    """

    width: int
    stop_gradient: bool = True
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B h w C"]) -> Float[Array, "B h2 w2 D"]:
        """Convolves; keeps `u` where its collection is mutable."""
        shape = (SIDE, SIDE, x.shape[-1], self.width)
        kernel = self.param("kernel", nn.initializers.glorot_uniform(), shape)
        bias = self.param("bias", nn.initializers.zeros, (self.width,))
        u = self.variable(SPECTRAL, "u", self._first)
        sigma, found = largest_singular_value(
            kernel.reshape(-1, self.width), u.value, stop_gradient=self.stop_gradient
        )
        if self.is_mutable_collection(SPECTRAL) and not self.is_initializing():
            u.value = found
        y = convolution(
            x.astype(self.dtype),
            (kernel / sigma).astype(self.dtype),
            (STRIDE, STRIDE),
            "SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        return y + bias.astype(self.dtype).reshape(1, 1, 1, -1)

    def _first(self) -> Float[Array, "1 D"]:
        return jax.random.truncated_normal(self.make_rng("params"), -2.0, 2.0, (1, self.width))
