"""MobileNet v1 with batch norm folded into biases (Howard et al. 2017, arXiv 1704.04861, Table 1).

Parameter names and layouts are those of `mobilenet_v1_1.0_224.npz`: `conv_0/{kernel,bias}` and
`block_{1..13}/{depthwise,pointwise}/{kernel,bias}`, HWIO.
"""

import dataclasses
from typing import Any, Literal

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from capjax.encoders.encoder import Encoder, Relu, for_one_call
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
OUTPUTS = {"block_11": (11,), "block_13": (13,), "block_11+13": (11, 13)}
"""Output -> the blocks that it is made of, the finest first."""


class MobileNet(Encoder):
    """MobileNet v1, width 1.0: 14x14x512 after block_11 or 7x7x1024 after block_13, at 224x224.

    "block_11+13" has both, 14x14x1536: the channels of block_11, then those of block_13, each of
    whose cells is repeated in the 2x2 cells of block_11's grid that it covers.

    Inference form: the batch norm of the released network is folded, so nothing here depends on
    the batch and fine-tuning trains kernels and biases.

    Attributes:
      output: the block, or blocks, whose map after ReLU6 becomes the features; later blocks do not
        exist.
      dtype: of activations and products; the depthwise sums are float32.
      relu: of every convolution, ReLU6: what replaces it ends at 6 too.
    """

    output: Literal["block_11", "block_13", "block_11+13"] = "block_11"
    dtype: Any = jnp.float32
    relu: Relu = for_one_call(nn.relu6)

    @staticmethod
    def preprocessing(size: tuple[int, int] = (224, 224)) -> Preprocessing:
        """Squash to `size`, (pixel - 128) / 128: what the released weights were trained with."""
        return Preprocessing(size=size, mean=(128.0,) * 3, std=(128.0,) * 3)

    def stages(self) -> tuple[str, ...]:
        """conv_0, block_1, …: after their last ReLU6."""
        last = blocks_of(self.output)[-1]
        return ("conv_0", *(f"block_{number}" for number in range(1, last + 1)))

    @nn.compact
    def __call__(
        self, images: Float[Array, "B H W 3"], train: bool = False, remat: bool = False
    ) -> Features:
        """Features of normalised images; `train` changes nothing, `remat` keeps no activation
        inside a block for the backward pass.
        """
        del train
        blocks = blocks_of(self.output)
        kind = nn.remat(_Separable) if remat else _Separable
        record = self.new_record()
        x = images.astype(self.dtype)
        x = nn.Conv(STEM_CHANNELS, (3, 3), strides=2, dtype=self.dtype, name="conv_0")(x)
        x = self.at_stage("conv_0", self.relu(x), record)
        maps = []
        for number in range(1, blocks[-1] + 1):
            channels, stride = BLOCKS[number - 1]
            name = f"block_{number}"
            x = kind(channels, stride, self.relu, self.dtype, name=name)(x)
            x = self.at_stage(name, x, record)
            if number in blocks:
                maps.append(x)
        rows, columns = maps[0].shape[1:3]
        spread = [_spread(each, rows, columns) for each in maps]
        features = Features.from_grid(jnp.concatenate(spread, axis=-1))
        return dataclasses.replace(features, stages=record)


def blocks_of(output: str) -> tuple[int, ...]:
    """Numbers of the blocks whose maps make an output."""
    if output not in OUTPUTS:
        raise ValueError(f"unknown output {output!r}; choose one of: {', '.join(OUTPUTS)}")
    return OUTPUTS[output]


def _spread(x: Float[Array, "B h w C"], rows: int, columns: int) -> Float[Array, "B r c C"]:
    """A map on a finer grid: every cell repeated, what hangs over the right and bottom cut off."""
    down, across = -(-rows // x.shape[1]), -(-columns // x.shape[2])
    repeated = jnp.repeat(jnp.repeat(x, down, axis=1), across, axis=2)
    return repeated[:, :rows, :columns]


class _Separable(nn.Module):
    """Depthwise 3x3 and pointwise 1x1 convolution, each with bias and ReLU6."""

    channels: int
    stride: int
    relu: Relu
    dtype: Any

    @nn.compact
    def __call__(self, x: Float[Array, "B h w C"]) -> Float[Array, "B h2 w2 D"]:
        x = self.relu(_Depthwise(self.stride, self.dtype, name="depthwise")(x))
        pointwise = nn.Conv(self.channels, (1, 1), dtype=self.dtype, name="pointwise")
        return self.relu(pointwise(x))


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
