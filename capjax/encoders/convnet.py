"""A small convolutional net, trained from scratch with its decoder (the embedded scenes)."""

from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from capjax.types import Features, Preprocessing


class ConvNet(nn.Module):
    """Stages of a strided 3x3 convolution and residual 3x3 convolutions, with group norm.

    Group norm (Wu and He 2018) sees one image at a time, so a prediction never depends on the
    rest of the batch and there are no running statistics to keep.

    Attributes:
      widths: channels of each stage; every stage halves the grid.
      residuals: residual convolutions in each stage.
      groups: of group norm; must divide every width.
      coordinates: appends x and y in [-1, 1] to the image, so that descriptors can tell where
        they are (Liu et al. 2018, CoordConv).
      dtype: of activations and products; norms reduce in float32.
    """

    widths: tuple[int, ...] = (32, 64, 128)
    residuals: tuple[int, ...] = (0, 1, 1)
    groups: int = 8
    coordinates: bool = False
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
            x = nn.relu(self._convolve(x, width, stride=2, name=f"stage{stage}"))
            for number in range(residuals):
                y = self._convolve(x, width, stride=1, name=f"stage{stage}_residual{number}")
                x = nn.relu(x + y)
        return Features.from_grid(x)

    def _convolve(
        self, x: Float[Array, "B h w C"], width: int, *, stride: int, name: str
    ) -> Float[Array, "B h2 w2 D"]:
        convolution = nn.Conv(
            width, (3, 3), strides=stride, use_bias=False, dtype=self.dtype, name=f"{name}_conv"
        )
        return nn.GroupNorm(self.groups, dtype=self.dtype, name=f"{name}_norm")(convolution(x))


def append_coordinates(x: Float[Array, "B H W C"]) -> Float[Array, "B H W C+2"]:
    """The array with two more channels: x, then y, from -1 to 1 between the outer pixel centres."""
    batch, height, width, _ = x.shape
    rows = jnp.linspace(-1.0, 1.0, height, dtype=x.dtype).reshape(1, height, 1, 1)
    columns = jnp.linspace(-1.0, 1.0, width, dtype=x.dtype).reshape(1, 1, width, 1)
    shape = (batch, height, width, 1)
    return jnp.concatenate(
        [x, jnp.broadcast_to(columns, shape), jnp.broadcast_to(rows, shape)], axis=-1
    )
