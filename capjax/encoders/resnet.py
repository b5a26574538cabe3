"""ResNet v1.5 (He et al. 2015, arXiv 1512.03385; the stride sits in the 3x3, as in torchvision)."""

import dataclasses
from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from capjax.encoders.encoder import Encoder, Relu, for_one_call
from capjax.ops import platform
from capjax.ops.convolution import convolution, max_pool
from capjax.ops.image import adaptive_average_pool
from capjax.types import Features, Preprocessing

# Blocks of layer1 .. layer4, and whether a block is a bottleneck.
DEPTHS = {
    18: ((2, 2, 2, 2), False),
    34: ((3, 4, 6, 3), False),
    50: ((3, 4, 6, 3), True),
    101: ((3, 4, 23, 3), True),
    152: ((3, 8, 36, 3), True),
}


class ResNet(Encoder):
    """ResNet-18/34/50/101/152 v1.5 without its classifier.

    Deviation from PyTorch: in training, running variances average the biased batch variance
    (flax), not the unbiased one; at 32 images of 7x7 they differ by 0.06 %.

    Attributes:
      depth: 18, 34, 50, 101 or 152.
      stage: last layer that exists, 1..4; layer4 has stride 32, layer3 stride 16.
      pool: adaptive average pooling of the map to (h, w); (14, 14) is the choice of the popular
        PyTorch tutorial of Show, Attend and Tell.
      freeze_norm: batch norm always uses its running statistics and never updates them; its scale
        and bias remain parameters.
      dtype: of activations and products; statistics are float32.
      relu: of every layer.
    """

    depth: int = 101
    stage: int = 4
    pool: tuple[int, int] | None = None
    freeze_norm: bool = True
    dtype: Any = jnp.float32
    relu: Relu = for_one_call(nn.relu)

    @staticmethod
    def preprocessing(size: tuple[int, int] = (224, 224)) -> Preprocessing:
        """Squash to `size` so that the whole photograph is seen; ImageNet mean and deviation."""
        return Preprocessing(
            size=size,
            mean=(255 * 0.485, 255 * 0.456, 255 * 0.406),
            std=(255 * 0.229, 255 * 0.224, 255 * 0.225),
        )

    def stages(self) -> tuple[str, ...]:
        """stem (after its maximum), layer1, …: after the last block of each, before `pool`."""
        return ("stem", *(f"layer{number}" for number in range(1, self.stage + 1)))

    @nn.compact
    def __call__(
        self, images: Float[Array, "B H W 3"], train: bool = False, remat: bool = False
    ) -> Features:
        """Features of normalised images; `train` uses and updates batch statistics, `remat` keeps
        no activation inside a block for the backward pass.
        """
        if self.depth not in DEPTHS:
            known = ", ".join(str(depth) for depth in DEPTHS)
            raise ValueError(f"unknown ResNet depth {self.depth}; choose one of: {known}")
        if self.stage not in (1, 2, 3, 4):
            raise ValueError(f"got stage={self.stage}; expected 1, 2, 3 or 4")
        record = self.new_record()
        blocks, bottleneck = DEPTHS[self.depth]
        frozen = self.freeze_norm or not train
        kind = nn.remat(_Block) if remat else _Block
        x = _convolution(64, 7, 2, self.dtype, "conv1")(images.astype(self.dtype))
        x = self.relu(_norm(frozen, self.dtype, "bn1")(x))
        # Once: the first block reads it twice, and the compiler of JAX 0.7 would pool twice.
        x = platform.barrier(max_pool(x, 3, stride=2, pad=1))
        x = self.at_stage("stem", x, record)
        for layer in range(self.stage):
            for block in range(blocks[layer]):
                x = kind(
                    width=64 * 2**layer,
                    stride=2 if layer and not block else 1,
                    bottleneck=bottleneck,
                    frozen=frozen,
                    relu=self.relu,
                    dtype=self.dtype,
                    name=f"layer{layer + 1}_{block}",
                )(x)
            x = self.at_stage(f"layer{layer + 1}", x, record)
        if self.pool is not None:
            x = adaptive_average_pool(x, self.pool)
        return dataclasses.replace(Features.from_grid(x), stages=record)


class _Block(nn.Module):
    """Two 3x3 convolutions, or 1x1, 3x3, 1x1 (`bottleneck`), beside a shortcut."""

    width: int
    stride: int
    bottleneck: bool
    frozen: bool
    relu: Relu
    dtype: Any

    @nn.compact
    def __call__(self, x: Float[Array, "B h w C"]) -> Float[Array, "B h2 w2 D"]:
        # (channels, side, stride) of conv1, conv2 (, conv3)
        plan: tuple[tuple[int, int, int], ...]
        if self.bottleneck:
            plan = ((self.width, 1, 1), (self.width, 3, self.stride), (4 * self.width, 1, 1))
        else:
            plan = ((self.width, 3, self.stride), (self.width, 3, 1))
        y = x
        for number, (channels, side, stride) in enumerate(plan, start=1):
            y = _convolution(channels, side, stride, self.dtype, f"conv{number}")(y)
            y = _norm(self.frozen, self.dtype, f"bn{number}")(y)
            if number < len(plan):
                y = self.relu(y)
        if x.shape != y.shape:
            channels = y.shape[-1]
            x = _convolution(channels, 1, self.stride, self.dtype, "downsample_conv")(x)
            x = _norm(self.frozen, self.dtype, "downsample_bn")(x)
        # Once: every later block of the layer reads it.
        return platform.barrier(self.relu(x + y))


def _convolution(channels: int, side: int, stride: int, dtype: Any, name: str) -> nn.Conv:
    return nn.Conv(
        channels,
        (side, side),
        strides=stride,
        padding=side // 2,  # symmetric: "SAME" would shift the grid by a pixel at stride 2
        use_bias=False,
        conv_general_dilated=convolution,
        kernel_init=nn.initializers.variance_scaling(2.0, "fan_out", "normal"),
        dtype=dtype,
        name=name,
    )


def _norm(frozen: bool, dtype: Any, name: str) -> nn.BatchNorm:
    return nn.BatchNorm(
        use_running_average=frozen, momentum=0.9, epsilon=1e-5, dtype=dtype, name=name
    )
