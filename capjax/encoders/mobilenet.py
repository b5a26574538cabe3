"""MobileNet v1 with batch norm folded into biases (Howard et al. 2017, arXiv 1704.04861, Table 1).

Parameter names and layouts are those of `mobilenet_v1_1.0_224.npz`: `conv_0/{kernel,bias}` and
`block_{1..13}/{depthwise,pointwise}/{kernel,bias}`, HWIO.
"""

from typing import Any, Literal

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from capjax.ops.convolution import depthwise_convolution
from capjax.types import Features, Preprocessing

STEM_CHANNELS = 32
# (output channels, stride) of block_1 .. block_13.
BLOCKS = (
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    *((512, 1),) * 5,
    (1024, 2),
    (1024, 1),
)


class MobileNet(nn.Module):
    """MobileNet v1, width 1.0: 14x14x512 after block_11 or 7x7x1024 after block_13, at 224x224.

    Inference form: the batch norm of the released network is folded, so nothing here depends on
    the batch and fine-tuning trains kernels and biases.

    Attributes:
      output: the block whose map, after ReLU6, becomes the features; later blocks do not exist.
      dtype: of activations and products; the depthwise sums are float32.
    """

    output: Literal["block_11", "block_13"] = "block_11"
    dtype: Any = jnp.float32

    @staticmethod
    def preprocessing(size: tuple[int, int] = (224, 224)) -> Preprocessing:
        """Squash to `size`, (pixel - 128) / 128: what the released weights were trained with."""
        return Preprocessing(size=size, mean=(128.0,) * 3, std=(128.0,) * 3)

    @nn.compact
    def __call__(
        self, images: Float[Array, "B H W 3"], train: bool = False, remat: bool = False
    ) -> Features:
        """Features of normalised images; `train` changes nothing, `remat` keeps no activation
        inside a block for the backward pass.
        """
        del train
        if self.output not in ("block_11", "block_13"):
            raise ValueError(f"unknown output {self.output!r}; choose 'block_11' or 'block_13'")
        kind = nn.remat(_Separable) if remat else _Separable
        x = images.astype(self.dtype)
        x = nn.Conv(STEM_CHANNELS, (3, 3), strides=2, dtype=self.dtype, name="conv_0")(x)
        x = nn.relu6(x)
        for number in range(1, int(self.output.removeprefix("block_")) + 1):
            channels, stride = BLOCKS[number - 1]
            x = kind(channels, stride, self.dtype, name=f"block_{number}")(x)
        return Features.from_grid(x)


class _Separable(nn.Module):
    """Depthwise 3x3 and pointwise 1x1 convolution, each with bias and ReLU6."""

    channels: int
    stride: int
    dtype: Any

    @nn.compact
    def __call__(self, x: Float[Array, "B h w C"]) -> Float[Array, "B h2 w2 D"]:
        x = nn.relu6(_Depthwise(self.stride, self.dtype, name="depthwise")(x))
        pointwise = nn.Conv(self.channels, (1, 1), dtype=self.dtype, name="pointwise")
        return nn.relu6(pointwise(x))


class _Depthwise(nn.Module):
    stride: int
    dtype: Any

    @nn.compact
    def __call__(self, x: Float[Array, "B h w C"]) -> Float[Array, "B h2 w2 C"]:
        depth = x.shape[-1]
        kernel = self.param("kernel", nn.initializers.he_normal(), (3, 3, 1, depth))
        bias = self.param("bias", nn.initializers.zeros, (depth,))
        y = depthwise_convolution(x, kernel, stride=self.stride)
        return (y + bias.reshape(1, 1, 1, depth)).astype(self.dtype)
