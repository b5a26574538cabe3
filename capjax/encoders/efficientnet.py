"""EfficientNetV2 S, M and L (Tan and Le 2021, arXiv 2104.00298, Table 4), without the classifier.

The released networks of Keras, timm (`tf_efficientnetv2_*`) and torchvision are one architecture;
they differ in how a strided convolution pads and in what pixels are scaled to.
"""

import dataclasses
from typing import Any, Literal, NamedTuple

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from capjax.encoders.encoder import Encoder
from capjax.ops.convolution import Padding, convolution, depthwise_convolution
from capjax.types import Features, Preprocessing

EPSILON = 1e-3
SQUEEZE = 0.25


class Stage(NamedTuple):
    """Blocks of one width.

    Attributes:
      fused: one 3x3 convolution in place of a 1x1 and a depthwise one; no squeeze-and-excitation.
      expand: hidden channels over input channels.
      stride: of the first block.
      channels: of the output.
      blocks: how many.
    """

    fused: bool
    expand: int
    stride: int
    channels: int
    blocks: int


class Size(NamedTuple):
    """One network.

    Attributes:
      stem, top: channels of the first and of the last convolution.
      stages: in order.
      native: side in pixels of the published evaluation.
    """

    stem: int
    top: int
    stages: tuple[Stage, ...]
    native: int


SIZES = {
    "s": Size(
        stem=24,
        top=1280,
        stages=(
            Stage(fused=True, expand=1, stride=1, channels=24, blocks=2),
            Stage(fused=True, expand=4, stride=2, channels=48, blocks=4),
            Stage(fused=True, expand=4, stride=2, channels=64, blocks=4),
            Stage(fused=False, expand=4, stride=2, channels=128, blocks=6),
            Stage(fused=False, expand=6, stride=1, channels=160, blocks=9),
            Stage(fused=False, expand=6, stride=2, channels=256, blocks=15),
        ),
        native=384,
    ),
    "m": Size(
        stem=24,
        top=1280,
        stages=(
            Stage(fused=True, expand=1, stride=1, channels=24, blocks=3),
            Stage(fused=True, expand=4, stride=2, channels=48, blocks=5),
            Stage(fused=True, expand=4, stride=2, channels=80, blocks=5),
            Stage(fused=False, expand=4, stride=2, channels=160, blocks=7),
            Stage(fused=False, expand=6, stride=1, channels=176, blocks=14),
            Stage(fused=False, expand=6, stride=2, channels=304, blocks=18),
            Stage(fused=False, expand=6, stride=1, channels=512, blocks=5),
        ),
        native=480,
    ),
    "l": Size(
        stem=32,
        top=1280,
        stages=(
            Stage(fused=True, expand=1, stride=1, channels=32, blocks=4),
            Stage(fused=True, expand=4, stride=2, channels=64, blocks=7),
            Stage(fused=True, expand=4, stride=2, channels=96, blocks=7),
            Stage(fused=False, expand=4, stride=2, channels=192, blocks=10),
            Stage(fused=False, expand=6, stride=1, channels=224, blocks=19),
            Stage(fused=False, expand=6, stride=2, channels=384, blocks=25),
            Stage(fused=False, expand=6, stride=1, channels=640, blocks=7),
        ),
        native=480,
    ),
}


class EfficientNetV2(Encoder):
    """EfficientNetV2: at L and 480x480, 15x15x1280, whose mean is the 1280-d vector of Keras.

    Deviations: there is no stochastic depth, so that fine-tuning sees every block, and running
    variances average the biased batch variance, as Keras does and PyTorch does not.

    Its nonlinearity is SiLU everywhere: there is no `relu` to replace.

    Attributes:
      size: "s", "m" or "l".
      weights_of: the library whose weights these are. "keras" and "timm" (the `tf_` networks) pad
        strided convolutions by TensorFlow's "SAME" rule, "torchvision" symmetrically: the same
        weights give other features when padded the other way. It also decides `preprocessing`.
      output: "top_activation", or the map after a stage, "stage1" … ; later layers do not exist.
      freeze_norm: batch norm always uses its running statistics and never updates them; its scale
        and bias remain parameters.
      dtype: of activations and products; statistics and depthwise sums are float32.
    """

    size: Literal["s", "m", "l"] = "l"
    weights_of: Literal["keras", "timm", "torchvision"] = "keras"
    output: str = "top_activation"
    freeze_norm: bool = True
    dtype: Any = jnp.float32

    @property
    def padding(self) -> Padding:
        """Of strided convolutions."""
        return "symmetric" if self.weights_of == "torchvision" else "same"

    def preprocessing(self, size: tuple[int, int] | None = None) -> Preprocessing:
        """Squash to `size` (384x384 for S, 480x480 for M and L), scaled as the weights expect.

        Keras: x / 128 - 1. timm and torchvision's L: x / 127.5 - 1, bicubic. torchvision's S and
        M: ImageNet's mean and deviation. Squashing keeps the whole photograph in sight, where the
        libraries' evaluations crop its centre.
        """
        self.check()
        side = SIZES[self.size].native
        size = (side, side) if size is None else size
        if self.weights_of == "keras":
            return Preprocessing(size=size, mean=(128.0,) * 3, std=(128.0,) * 3)
        if self.weights_of == "torchvision" and self.size != "l":
            return Preprocessing(
                size=size,
                mean=(255 * 0.485, 255 * 0.456, 255 * 0.406),
                std=(255 * 0.229, 255 * 0.224, 255 * 0.225),
            )
        return Preprocessing(size=size, resample="bicubic")

    def stages(self) -> tuple[str, ...]:
        """stem, stage1, … and, with it as output, top_activation."""
        self.check()
        numbered = tuple(f"stage{number + 1}" for number in range(self.stage_count))
        top = ("top_activation",) if self.output == "top_activation" else ()
        return ("stem", *numbered, *top)

    @property
    def stage_count(self) -> int:
        """How many of `Size.stages` exist, given `output`."""
        if self.output == "top_activation":
            return len(SIZES[self.size].stages)
        return int(self.output.removeprefix("stage"))

    def check(self) -> None:
        """Raises ValueError for a field without meaning."""
        if self.size not in SIZES:
            raise ValueError(f"unknown size {self.size!r}; choose one of: {', '.join(SIZES)}")
        outputs = [f"stage{i + 1}" for i in range(len(SIZES[self.size].stages))]
        for name, choices in (
            ("weights_of", ["keras", "timm", "torchvision"]),
            ("output", [*outputs, "top_activation"]),
        ):
            value = getattr(self, name)
            if value not in choices:
                raise ValueError(f"unknown {name} {value!r}; choose one of: {', '.join(choices)}")

    @nn.compact
    def __call__(
        self, images: Float[Array, "B H W 3"], train: bool = False, remat: bool = False
    ) -> Features:
        """Features of normalised images; `train` uses and updates batch statistics, `remat` keeps
        no activation inside a block for the backward pass.
        """
        self.check()
        record = self.new_record()
        size = SIZES[self.size]
        frozen = self.freeze_norm or not train
        kind = nn.remat(_Block) if remat else _Block
        x = images.astype(self.dtype)
        x = _Convolution(size.stem, 3, 2, self.padding, frozen, self.dtype, name="stem")(x)
        x = self.at_stage("stem", nn.silu(x), record)
        for number, stage in enumerate(size.stages[: self.stage_count], start=1):
            for block in range(stage.blocks):
                x = kind(
                    fused=stage.fused,
                    expand=stage.expand,
                    stride=1 if block else stage.stride,
                    channels=stage.channels,
                    padding=self.padding,
                    frozen=frozen,
                    dtype=self.dtype,
                    name=f"stage{number}_{block}",
                )(x)
            x = self.at_stage(f"stage{number}", x, record)
        if self.output == "top_activation":
            x = _Convolution(size.top, 1, 1, self.padding, frozen, self.dtype, name="top")(x)
            x = self.at_stage("top_activation", nn.silu(x), record)
        return dataclasses.replace(Features.from_grid(x), stages=record)


class _Block(nn.Module):
    """MBConv, or Fused-MBConv, with a shortcut where the shape stays."""

    fused: bool
    expand: int
    stride: int
    channels: int
    padding: Padding
    frozen: bool
    dtype: Any

    @nn.compact
    def __call__(self, x: Float[Array, "B h w C"]) -> Float[Array, "B h2 w2 D"]:
        inputs, hidden = x, self.expand * x.shape[-1]
        rest = (self.padding, self.frozen, self.dtype)
        if self.fused and self.expand == 1:
            x = _Convolution(self.channels, 3, self.stride, *rest, name="project")(x)
            x = nn.silu(x)
        else:
            if self.fused:
                x = nn.silu(_Convolution(hidden, 3, self.stride, *rest, name="expand")(x))
            else:
                x = nn.silu(_Convolution(hidden, 1, 1, *rest, name="expand")(x))
                x = nn.silu(_Depthwise(self.stride, *rest, name="depthwise")(x))
                # The width of the squeeze follows from the block's input, not from its hidden one.
                width = max(1, int(SQUEEZE * inputs.shape[-1]))
                x = _SqueezeExcite(width, self.dtype, name="se")(x)
            x = _Convolution(self.channels, 1, 1, *rest, name="project")(x)
        return x + inputs if inputs.shape == x.shape and self.stride == 1 else x


class _Convolution(nn.Module):
    """Convolution without bias, and batch norm."""

    channels: int
    side: int
    stride: int
    padding: Padding
    frozen: bool
    dtype: Any

    @nn.compact
    def __call__(self, x: Float[Array, "B h w C"]) -> Float[Array, "B h2 w2 D"]:
        convolve = nn.Conv(
            self.channels,
            (self.side, self.side),
            strides=self.stride,
            padding="SAME" if self.padding == "same" else self.side // 2,
            use_bias=False,
            conv_general_dilated=convolution,
            kernel_init=nn.initializers.variance_scaling(2.0, "fan_out", "normal"),
            dtype=self.dtype,
            name="conv",
        )
        return _norm(self.frozen, self.dtype)(convolve(x))


class _Depthwise(nn.Module):
    """Depthwise 3x3 convolution without bias, and batch norm."""

    stride: int
    padding: Padding
    frozen: bool
    dtype: Any

    @nn.compact
    def __call__(self, x: Float[Array, "B h w C"]) -> Float[Array, "B h2 w2 C"]:
        kernel = self.param("kernel", nn.initializers.he_normal(), (3, 3, 1, x.shape[-1]))
        y = depthwise_convolution(x, kernel, stride=self.stride, padding=self.padding)
        return _norm(self.frozen, self.dtype)(y)


class _SqueezeExcite(nn.Module):
    """Scales channels by a function of their means (Hu et al. 2018), with SiLU inside."""

    width: int
    dtype: Any

    @nn.compact
    def __call__(self, x: Float[Array, "B h w C"]) -> Float[Array, "B h w C"]:
        mean = jnp.mean(x, axis=(1, 2), keepdims=True, dtype=jnp.float32)
        reduce = nn.Conv(self.width, (1, 1), dtype=self.dtype, name="reduce")
        expand = nn.Conv(x.shape[-1], (1, 1), dtype=self.dtype, name="expand")
        return x * nn.sigmoid(expand(nn.silu(reduce(mean))))


def _norm(frozen: bool, dtype: Any) -> nn.BatchNorm:
    return nn.BatchNorm(
        use_running_average=frozen, momentum=0.9, epsilon=EPSILON, dtype=dtype, name="norm"
    )
