"""VGG-16 and VGG-19 (Simonyan & Zisserman 2014, arXiv 1409.1556, configurations D and E)."""

import dataclasses
import functools
import itertools
from typing import Any, Literal

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from capjax.encoders.encoder import Encoder, Relu, for_one_call
from capjax.ops.convolution import convolution, max_pool
from capjax.types import Features, Preprocessing

# Convolutions of each stage, conv1_1 .. conv5_<last>; a 2x2 maximum halves the grid between stages.
STAGES = {16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
CHANNELS = (64, 128, 256, 512, 512)

# (mean, std) per RGB channel on the 0..255 scale.
NORMALISATION = {
    "torchvision": (
        (255 * 0.485, 255 * 0.456, 255 * 0.406),
        (255 * 0.229, 255 * 0.224, 255 * 0.225),
    ),
    "caffe": ((123.68, 116.779, 103.939), (1.0, 1.0, 1.0)),
}


class VGG(Encoder):
    """VGG up to a convolution, after its ReLU: 14x14x512 of conv5_4 at 224x224, without pool5.

    No batch norm, so nothing here depends on the batch.

    Weights released for Caffe, and Keras' copies of them, see BGR images from which only the mean
    was subtracted. Here images are RGB everywhere: the preprocessing subtracts the same means in
    RGB order, and reading such weights turns the input channels of conv1_1 around, which gives the
    same numbers.

    Attributes:
      depth: 16 or 19.
      output: the last convolution that exists, "conv1_1" .. "conv5_4" ("conv5_3" for depth 16).
      weights_of: whose normalisation the weights were trained with: "torchvision" (mean and
        deviation; timm's are the same) or "caffe" (mean only; Keras' too).
      dtype: of activations and products.
      relu: of every convolution.
    """

    depth: int = 19
    output: str = "conv5_4"
    weights_of: Literal["torchvision", "caffe"] = "torchvision"
    dtype: Any = jnp.float32
    relu: Relu = for_one_call(nn.relu)

    def preprocessing(self, size: tuple[int, int] = (224, 224)) -> Preprocessing:
        """Squash to `size` so that the whole photograph is seen; the means of `weights_of`.

        The released networks were tested on central squares of photographs instead.
        """
        if self.weights_of not in NORMALISATION:
            known = ", ".join(map(repr, NORMALISATION))
            raise ValueError(f"unknown weights_of {self.weights_of!r}; choose one of: {known}")
        mean, std = NORMALISATION[self.weights_of]
        return Preprocessing(size=size, mean=mean, std=std)

    def stages(self) -> tuple[str, ...]:
        """conv1_1, …: the convolutions up to the output, after their ReLU."""
        return convolutions(self.depth, self.output)

    @nn.compact
    def __call__(
        self, images: Float[Array, "B H W 3"], train: bool = False, remat: bool = False
    ) -> Features:
        """Features of normalised images; `train` changes nothing, `remat` keeps no activation
        inside a stage for the backward pass.

        Raises:
          ValueError: the depth or the output does not exist.
        """
        del train
        record = self.new_record()
        x = images.astype(self.dtype)
        names = self.stages()
        for stage, own in itertools.groupby(names, key=lambda name: int(name[4])):
            layers = functools.partial(_stage, stage=stage, names=tuple(own))
            x, found = (nn.remat(layers) if remat else layers)(self, x)
            record |= found
        return dataclasses.replace(Features.from_grid(x), stages=record)


def _stage(
    net: VGG, x: Float[Array, "B h w C"], *, stage: int, names: tuple[str, ...]
) -> tuple[Float[Array, "B h2 w2 D"], dict[str, Array]]:
    """The convolutions of a stage, after the maximum that halves the grid before it; the record."""
    record: dict[str, Array] = {}
    if stage > 1:
        x = max_pool(x, 2, stride=2)
    for name in names:
        layer = nn.Conv(
            CHANNELS[stage - 1],
            (3, 3),
            padding=1,
            conv_general_dilated=convolution,
            kernel_init=nn.initializers.he_normal(),
            dtype=net.dtype,
            name=name,
        )
        x = net.at_stage(name, net.relu(layer(x)), record)
    return x, record


def convolutions(depth: int, output: str | None = None) -> tuple[str, ...]:
    """Names of the convolutions of a depth in order, up to `output`: "conv1_1", "conv1_2", …

    Raises:
      ValueError: the depth or the output does not exist.
    """
    if depth not in STAGES:
        known = ", ".join(map(str, STAGES))
        raise ValueError(f"unknown VGG depth {depth}; choose one of: {known}")
    names = tuple(
        f"conv{stage}_{number}"
        for stage, count in enumerate(STAGES[depth], start=1)
        for number in range(1, count + 1)
    )
    if output is None:
        return names
    if output not in names:
        raise ValueError(f"VGG-{depth} has no {output!r}; choose one of: {', '.join(names)}")
    return names[: names.index(output) + 1]
