"""A small convolutional net, trained from scratch with its decoder (the embedded scenes)."""

import functools
from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from capjax.types import Features, Preprocessing


class ConvNet(nn.Module):
    """Stages of a strided convolution and residual 3x3 convolutions, each with batch norm.

    Batch norm, unlike group norm, keeps an image's own colours and fills, which scenes are about:
    with it, shapes were learnt in a third of the updates that the net needs without any norm, and
    in a tenth of those it needs with group norm.

    Attributes:
      widths: channels of each stage; every stage halves the grid.
      residuals: residual convolutions in each stage.
      stem: side of the first stage's kernel; the others are 3x3.
      coordinates: appends x and y in [-1, 1] to the image, so that descriptors can tell where
        they are (Liu et al. 2018, CoordConv).
      momentum: of the running statistics, which are used outside training.
      dtype: of activations and products; statistics are float32.
    """

    widths: tuple[int, ...] = (16, 32, 64)
    residuals: tuple[int, ...] = (0, 0, 2)
    stem: int = 3
    coordinates: bool = True
    momentum: float = 0.95
    dtype: Any = jnp.float32

    @staticmethod
    def preprocessing(size: tuple[int, int] = (64, 64)) -> Preprocessing:
        """Squash to `size`, pixels to [-1, 1]."""
        return Preprocessing(size=size)

    @nn.compact
    def __call__(self, images: Float[Array, "B H W 3"], train: bool = False) -> Features:
        """Features [B 1 P widths[-1]] of normalised images.

        With `train` the batch's own statistics normalise, and the running ones are updated
        (collection "batch_stats").
        """
        if len(self.residuals) != len(self.widths):
            raise ValueError(
                f"got {len(self.widths)} widths and {len(self.residuals)} residuals; "
                "expected one of each a stage"
            )
        x = append_coordinates(images) if self.coordinates else images
        x = x.astype(self.dtype)
        convolve = functools.partial(self._convolve, train=train)
        for stage, (width, residuals) in enumerate(zip(self.widths, self.residuals, strict=True)):
            side = self.stem if stage == 0 else 3
            x = convolve(x, width, side=side, stride=2, name=f"stage{stage}")
            for number in range(residuals):
                name = f"stage{stage}_residual{number}"
                x = x + convolve(x, width, side=3, stride=1, name=name)
        return Features.from_grid(x)

    def _convolve(
        self,
        x: Float[Array, "B h w C"],
        width: int,
        *,
        side: int,
        stride: int,
        name: str,
        train: bool,
    ) -> Float[Array, "B h2 w2 D"]:
        convolution = nn.Conv(
            width, (side, side), strides=stride, use_bias=False, dtype=self.dtype, name=name
        )
        norm = nn.BatchNorm(
            use_running_average=not train,
            momentum=self.momentum,
            dtype=self.dtype,
            name=f"{name}_norm",
        )
        return nn.relu(norm(convolution(x)))


def append_coordinates(x: Float[Array, "B H W C"]) -> Float[Array, "B H W C+2"]:
    """The array with two more channels: x, then y, from -1 to 1 between the outer pixel centres."""
    batch, height, width, _ = x.shape
    rows = jnp.linspace(-1.0, 1.0, height, dtype=x.dtype).reshape(1, height, 1, 1)
    columns = jnp.linspace(-1.0, 1.0, width, dtype=x.dtype).reshape(1, 1, width, 1)
    shape = (batch, height, width, 1)
    return jnp.concatenate(
        [x, jnp.broadcast_to(columns, shape), jnp.broadcast_to(rows, shape)], axis=-1
    )
