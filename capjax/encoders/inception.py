"""InceptionV3 (Szegedy et al. 2015, arXiv 1512.00567) in the three forms that have weights.

The network is data: `STEM` and `BLOCKS` list every convolution in the order in which the authors'
code, Keras and torchvision all create them, which is what weights known only by their order need.
"""

import dataclasses
from typing import Any, Literal, NamedTuple

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from capjax.encoders.encoder import Encoder, Relu, for_one_call
from capjax.ops.convolution import average_around, convolution, max_pool
from capjax.types import Features, Preprocessing

EPSILON = 1e-3  # of every batch norm, in all three forms


class Variant(NamedTuple):
    """What differs between released weights.

    Attributes:
      count_border: averages over 3x3 cells count the zeros beyond the border.
      last_pool_max: the pooling branch of the last block takes maxima instead of averages.
      scale: batch norm has a scale.
      mean, std: of the normalisation, the same for every channel.
    """

    count_border: bool
    last_pool_max: bool
    scale: bool
    mean: float
    std: float


VARIANTS = {
    "tf2015": Variant(False, True, False, mean=128.0, std=128.0),
    "keras": Variant(False, False, False, mean=127.5, std=127.5),
    "torchvision": Variant(True, False, True, mean=127.5, std=127.5),
}


class Unit(NamedTuple):
    """A convolution without bias, its batch norm and ReLU; strided ones are not padded."""

    name: str
    channels: int
    kernel: tuple[int, int]
    stride: int = 1
    padding: Literal["SAME", "VALID"] = "SAME"


class Branch(NamedTuple):
    """Units one after the other; those of `fork` all read the last one and are concatenated.

    A pool comes first: "around" takes the 3x3 neighbourhood of every cell, "halve" the maximum of
    every second one.
    """

    units: tuple[Unit, ...]
    fork: tuple[Unit, ...] = ()
    pool: Literal["none", "around", "halve"] = "none"


STEM = (
    Unit("conv_0", 32, (3, 3), 2, "VALID"),
    Unit("conv_1", 32, (3, 3), 1, "VALID"),
    Unit("conv_2", 64, (3, 3)),
    "pool",
    Unit("conv_3", 80, (1, 1), 1, "VALID"),
    Unit("conv_4", 192, (3, 3), 1, "VALID"),
    "pool",
)


def _block_35(pool: int) -> tuple[Branch, ...]:
    return (
        Branch((Unit("branch1x1", 64, (1, 1)),)),
        Branch((Unit("branch5x5_1", 48, (1, 1)), Unit("branch5x5_2", 64, (5, 5)))),
        Branch(
            (
                Unit("branch3x3dbl_1", 64, (1, 1)),
                Unit("branch3x3dbl_2", 96, (3, 3)),
                Unit("branch3x3dbl_3", 96, (3, 3)),
            )
        ),
        Branch((Unit("branch_pool", pool, (1, 1)),), pool="around"),
    )


def _block_17(width: int) -> tuple[Branch, ...]:
    return (
        Branch((Unit("branch1x1", 192, (1, 1)),)),
        Branch(
            (
                Unit("branch7x7_1", width, (1, 1)),
                Unit("branch7x7_2", width, (1, 7)),
                Unit("branch7x7_3", 192, (7, 1)),
            )
        ),
        Branch(
            (
                Unit("branch7x7dbl_1", width, (1, 1)),
                Unit("branch7x7dbl_2", width, (7, 1)),
                Unit("branch7x7dbl_3", width, (1, 7)),
                Unit("branch7x7dbl_4", width, (7, 1)),
                Unit("branch7x7dbl_5", 192, (1, 7)),
            )
        ),
        Branch((Unit("branch_pool", 192, (1, 1)),), pool="around"),
    )


_BLOCK_8 = (
    Branch((Unit("branch1x1", 320, (1, 1)),)),
    Branch(
        (Unit("branch3x3_1", 384, (1, 1)),),
        fork=(Unit("branch3x3_2a", 384, (1, 3)), Unit("branch3x3_2b", 384, (3, 1))),
    ),
    Branch(
        (Unit("branch3x3dbl_1", 448, (1, 1)), Unit("branch3x3dbl_2", 384, (3, 3))),
        fork=(Unit("branch3x3dbl_3a", 384, (1, 3)), Unit("branch3x3dbl_3b", 384, (3, 1))),
    ),
    Branch((Unit("branch_pool", 192, (1, 1)),), pool="around"),
)

BLOCKS: dict[str, tuple[Branch, ...]] = {
    "mixed_0": _block_35(32),
    "mixed_1": _block_35(64),
    "mixed_2": _block_35(64),
    "mixed_3": (
        Branch((Unit("branch3x3", 384, (3, 3), 2, "VALID"),)),
        Branch(
            (
                Unit("branch3x3dbl_1", 64, (1, 1)),
                Unit("branch3x3dbl_2", 96, (3, 3)),
                Unit("branch3x3dbl_3", 96, (3, 3), 2, "VALID"),
            )
        ),
        Branch((), pool="halve"),
    ),
    "mixed_4": _block_17(128),
    "mixed_5": _block_17(160),
    "mixed_6": _block_17(160),
    "mixed_7": _block_17(192),
    "mixed_8": (
        Branch(
            (Unit("branch3x3_1", 192, (1, 1)), Unit("branch3x3_2", 320, (3, 3), 2, "VALID")),
        ),
        Branch(
            (
                Unit("branch7x7x3_1", 192, (1, 1)),
                Unit("branch7x7x3_2", 192, (1, 7)),
                Unit("branch7x7x3_3", 192, (7, 1)),
                Unit("branch7x7x3_4", 192, (3, 3), 2, "VALID"),
            )
        ),
        Branch((), pool="halve"),
    ),
    "mixed_9": _BLOCK_8,
    "mixed_10": _BLOCK_8,
}

# The smallest image whose map has a cell, by the first block that it holds for.
_LEAST_SIDE = {"mixed_8": 75, "mixed_3": 43, "mixed_0": 27}


class InceptionV3(Encoder):
    """InceptionV3 up to a block: 8x8x2048 of mixed_10, 17x17x768 of mixed_7, at 299x299.

    `Features.pooled` of mixed_10 is the vector that the 2015 graph calls pool_3.

    Three forms are easy to confuse: their weights fit each other's names and shapes, their outputs
    do not. "tf2015" is the graph of 2015-12-05 (1,008 classes; also what Frechet inception
    distances are computed with): averages over 3x3 cells leave out what lies beyond the border, the
    last block takes maxima there, pixels are (x - 128) / 128. "keras" (and TF-Slim) averages there
    too, on x / 127.5 - 1. "torchvision" counts the border's zeros in its averages and has a scale
    in batch norm. Its models are given images of ImageNet mean and deviation which they turn into
    x / 127.5 - 1 themselves (`transform_input`): the two steps are composed here.

    Deviation from the graph of 2015: its own resizing (bilinear, sample i at i n / m, no
    antialiasing) is not used; photographs are resized as for every encoder.

    Attributes:
      variant: "tf2015", "keras" or "torchvision".
      output: the last block that exists, "mixed_0" .. "mixed_10" (the graph calls the first one
        "mixed"; torchvision's are Mixed_5b .. Mixed_7c).
      freeze_norm: batch norm always uses its running statistics and never updates them; its bias
        (and scale) remain parameters.
      dtype: of activations and products; statistics are float32.
      relu: of every convolution.
    """

    variant: Literal["tf2015", "keras", "torchvision"] = "tf2015"
    output: str = "mixed_10"
    freeze_norm: bool = True
    dtype: Any = jnp.float32
    relu: Relu = for_one_call(nn.relu)

    def preprocessing(self, size: tuple[int, int] = (299, 299)) -> Preprocessing:
        """Squash to `size` so that the whole photograph is seen; the pixel scale of `variant`."""
        form = self._form()
        return Preprocessing(size=size, mean=(form.mean,) * 3, std=(form.std,) * 3)

    def stages(self) -> tuple[str, ...]:
        """stem (after its last maximum), mixed_0, …"""
        return ("stem", *blocks_up_to(self.output))

    @nn.compact
    def __call__(
        self, images: Float[Array, "B H W 3"], train: bool = False, remat: bool = False
    ) -> Features:
        """Features of normalised images; `train` uses and updates batch statistics, `remat` keeps
        no activation inside a block for the backward pass.

        Raises:
          ValueError: the variant or the output does not exist, or the images are too small.
        """
        form = self._form()
        names = blocks_up_to(self.output)
        _check_side(images.shape[1:3], names)
        record = self.new_record()
        rest = (self.freeze_norm or not train, self.relu, self.dtype)
        kind = nn.remat(_Block) if remat else _Block
        x = images.astype(self.dtype)
        for part in STEM:
            if isinstance(part, Unit):
                x = _ConvolutionNorm(part, form.scale, *rest, name=part.name)(x)
            else:
                x = max_pool(x, 3, stride=2)
        x = self.at_stage("stem", x, record)
        for name in names:
            maxima = form.last_pool_max and name == "mixed_10"
            x = kind(BLOCKS[name], form, maxima, *rest, name=name)(x)
            x = self.at_stage(name, x, record)
        return dataclasses.replace(Features.from_grid(x), stages=record)

    def _form(self) -> Variant:
        if self.variant not in VARIANTS:
            known = ", ".join(map(repr, VARIANTS))
            raise ValueError(
                f"unknown InceptionV3 variant {self.variant!r}; choose one of: {known}"
            )
        return VARIANTS[self.variant]


def blocks_up_to(output: str) -> tuple[str, ...]:
    """Names of the blocks in order, the last one being `output`."""
    names = tuple(BLOCKS)
    if output not in names:
        raise ValueError(f"InceptionV3 has no {output!r}; choose one of: {', '.join(names)}")
    return names[: names.index(output) + 1]


def units_of(block: str) -> tuple[Unit, ...]:
    """The convolutions of a block, or of the "stem", in the order of creation."""
    if block == "stem":
        return tuple(part for part in STEM if isinstance(part, Unit))
    return tuple(unit for branch in BLOCKS[block] for unit in (*branch.units, *branch.fork))


def _check_side(size: tuple[int, ...], names: tuple[str, ...]) -> None:
    least = next(side for first, side in _LEAST_SIDE.items() if first in names)
    if min(size) < least:
        raise ValueError(
            f"got images of {size[0]} x {size[1]} pixels; {names[-1]} of InceptionV3 needs at "
            f"least {least} x {least}"
        )


class _Block(nn.Module):
    """Branches side by side, concatenated."""

    branches: tuple[Branch, ...]
    form: Variant
    maxima: bool
    frozen: bool
    relu: Relu
    dtype: Any

    @nn.compact
    def __call__(self, x: Float[Array, "B h w C"]) -> Float[Array, "B h2 w2 D"]:
        def apply(unit: Unit, y: Array) -> Array:
            rest = (self.form.scale, self.frozen, self.relu, self.dtype)
            return _ConvolutionNorm(unit, *rest, name=unit.name)(y)

        results = []
        for branch in self.branches:
            y = self._pool(branch.pool, x)
            for unit in branch.units:
                y = apply(unit, y)
            results += [apply(unit, y) for unit in branch.fork] or [y]
        return jnp.concatenate(results, axis=-1)

    def _pool(self, pool: str, x: Array) -> Array:
        if pool == "halve":
            return max_pool(x, 3, stride=2)
        if pool == "around" and self.maxima:
            return max_pool(x, 3, stride=1, pad=1)
        if pool == "around":
            return average_around(x, count_border=self.form.count_border)
        return x


class _ConvolutionNorm(nn.Module):
    unit: Unit
    scale: bool
    frozen: bool
    relu: Relu
    dtype: Any

    @nn.compact
    def __call__(self, x: Float[Array, "B h w C"]) -> Float[Array, "B h2 w2 D"]:
        unit = self.unit
        x = nn.Conv(
            unit.channels,
            unit.kernel,
            strides=unit.stride,
            padding=unit.padding,
            use_bias=False,
            conv_general_dilated=convolution,
            kernel_init=nn.initializers.he_normal(),
            dtype=self.dtype,
            name="conv",
        )(x)
        x = nn.BatchNorm(
            use_running_average=self.frozen,
            momentum=0.9,
            epsilon=EPSILON,
            use_scale=self.scale,
            dtype=self.dtype,
            name="norm",
        )(x)
        return self.relu(x)
