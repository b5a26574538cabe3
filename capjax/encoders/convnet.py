"""A small convolutional net, trained from scratch with its decoder (the embedded scenes)."""

from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from capjax.types import Features, Preprocessing


class ConvNet(nn.Module):
    """Stages of a strided convolution and residual 3x3 convolutions, without normalisation.

    Nothing is normalised over space: colours and fills are what scenes are about, and group norm
    hides them (with it, shapes were learnt after three times as many updates). He initialisation
    and halved residual branches keep activations in range at this depth.

    Attributes:
      widths: channels of each stage; every stage halves the grid.
      residuals: residual convolutions in each stage.
      stem: side of the first stage's kernel; the others are 3x3.
      coordinates: appends x and y in [-1, 1] to the image, so that descriptors can tell where
        they are (Liu et al. 2018, CoordConv).
      dtype: of activations and products.
    """

    widths: tuple[int, ...] = (16, 32, 64)
    residuals: tuple[int, ...] = (0, 0, 2)
    stem: int = 3
    coordinates: bool = True
    dtype: Any = jnp.float32

    @staticmethod
    def preprocessing(size: tuple[int, int] = (64, 64)) -> Preprocessing:
        """Squash to `size`, pixels to [-1, 1]."""
        return Preprocessing(size=size)

    @nn.compact
    def __call__(self, images: Float[Array, "B H W 3"], train: bool = False) -> Features:
        """Features [B 1 P widths[-1]] of normalised images; `train` changes nothing."""
        del train
        if len(self.residuals) != len(self.widths):
            raise ValueError(
                f"got {len(self.widths)} widths and {len(self.residuals)} residuals; "
                "expected one of each a stage"
            )
        x = append_coordinates(images) if self.coordinates else images
        x = x.astype(self.dtype)
        for stage, (width, residuals) in enumerate(zip(self.widths, self.residuals, strict=True)):
            side = self.stem if stage == 0 else 3
            x = self._convolve(x, width, side=side, stride=2, name=f"stage{stage}")
            for number in range(residuals):
                name = f"stage{stage}_residual{number}"
                x = x + 0.5 * self._convolve(x, width, side=3, stride=1, name=name)
        return Features.from_grid(x)

    def _convolve(
        self, x: Float[Array, "B h w C"], width: int, *, side: int, stride: int, name: str
    ) -> Float[Array, "B h2 w2 D"]:
        initialise = nn.initializers.he_normal()
        kernel = (side, side)
        layer = nn.Conv(
            width, kernel, strides=stride, kernel_init=initialise, dtype=self.dtype, name=name
        )
        return nn.relu(layer(x))


def append_coordinates(x: Float[Array, "B H W C"]) -> Float[Array, "B H W C+2"]:
    """The array with two more channels: x, then y, from -1 to 1 between the outer pixel centres."""
    batch, height, width, _ = x.shape
    rows = jnp.linspace(-1.0, 1.0, height, dtype=x.dtype).reshape(1, height, 1, 1)
    columns = jnp.linspace(-1.0, 1.0, width, dtype=x.dtype).reshape(1, 1, width, 1)
    shape = (batch, height, width, 1)
    return jnp.concatenate(
        [x, jnp.broadcast_to(columns, shape), jnp.broadcast_to(rows, shape)], axis=-1
    )
