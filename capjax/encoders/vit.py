"""Vision transformer (Dosovitskiy et al. 2020, arXiv 2010.11929)."""

import functools
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from capjax.encoders.encoder import Encoder
from capjax.encoders.transformer import Block, layer_norm
from capjax.types import Features, Preprocessing

SMALL: dict[str, int] = {"width": 384, "layers": 12, "heads": 6, "mlp": 1536}
"""Fields of ViT-S."""

BASE: dict[str, int] = {"width": 768, "layers": 12, "heads": 12, "mlp": 3072}
"""Fields of ViT-B, the defaults."""

LARGE: dict[str, int] = {"width": 1024, "layers": 24, "heads": 16, "mlp": 4096}
"""Fields of ViT-L."""


class Source(NamedTuple):
    """What depends on where weights are from.

    Attributes:
      epsilon: of the layer norms.
      imagenet_colours: ImageNet's mean and deviation instead of 0.5.
      resample: how photographs were resized.
    """

    epsilon: float
    imagenet_colours: bool
    resample: Literal["bilinear", "bicubic"]


SOURCES = {
    "transformers": Source(1e-12, False, "bilinear"),
    "timm": Source(1e-6, False, "bicubic"),
    "torchvision": Source(1e-6, True, "bilinear"),
}


class ViT(Encoder):
    """ViT without its classifier: 14x14x768 and a class token for ViT-B/16 at 224x224.

    Tokens are those after the final layer norm. They are contextual: what is stored at a position
    need not have come from its patch (`capjax.explainers.attentions.rollout` follows it back).

    Its nonlinearity is GELU everywhere: there is no `relu` to replace.

    Attributes:
      patch: side of a patch in pixels, 16 or 32.
      width, layers, heads, mlp: of the transformer; see `SMALL`, `BASE`, `LARGE`.
      size: (H, W) that the position embeddings were trained for.
      interpolate: other image sizes resize the position embeddings, as timm does (bicubic, a=-0.5,
        antialiased where it shrinks; transformers uses a=-0.75 without antialiasing, which differs
        in the third digit). Without it another size is an error.
      class_token: whether the class token is among the features, in `Features.extra`; it always
        takes part in the encoder.
      weights_of: the library whose weights are read, which settles epsilon, colours and resizing:
        "transformers" (1e-12, mean and deviation of 0.5, bilinear), "timm" (1e-6, 0.5, bicubic;
        the `augreg` weights) or "torchvision" (1e-6, ImageNet's mean and deviation, bilinear).
      epsilon: of the layer norms, where a config says otherwise.
      keep_attention: whether `Features.attentions` holds every layer's attention.
      dtype: of activations and products; softmax and norm statistics are float32.
    """

    patch: int = 16
    width: int = 768
    layers: int = 12
    heads: int = 12
    mlp: int = 3072
    size: tuple[int, int] = (224, 224)
    interpolate: bool = False
    class_token: bool = True
    weights_of: Literal["transformers", "timm", "torchvision"] = "transformers"
    epsilon: float | None = None
    keep_attention: bool = False
    dtype: Any = jnp.float32

    def preprocessing(self, size: tuple[int, int] | None = None) -> Preprocessing:
        """Squash to `size` (default: that of the position embeddings), as `weights_of` resizes.

        timm's and torchvision's own presets resize the shorter side to 248 or 256 and crop; here
        the whole photograph is seen.
        """
        size = self.size if size is None else size
        source = self._source()
        if not source.imagenet_colours:
            return Preprocessing(size=size, resample=source.resample)
        return Preprocessing(
            size=size,
            resample=source.resample,
            mean=(255 * 0.485, 255 * 0.456, 255 * 0.406),
            std=(255 * 0.229, 255 * 0.224, 255 * 0.225),
        )

    def stages(self) -> tuple[str, ...]:
        """embedding (patches with their positions), block_0, …, before the final layer norm; ahead
        of the last block what its first norm gives, block_11_norm1 of ViT-B.

        Of each the tokens on the grid; the class token is left out.
        """
        blocks = [f"block_{number}" for number in range(self.layers)]
        return ("embedding", *blocks[:-1], f"{blocks[-1]}_norm1", blocks[-1])

    @nn.compact
    def __call__(
        self, images: Float[Array, "B H W 3"], train: bool = False, remat: bool = False
    ) -> Features:
        """Features of normalised images; `train` changes nothing, `remat` keeps no activation
        inside a block for the backward pass.

        Raises:
          ValueError: sides that are no multiple of the patch, or of another size than `size`
            without `interpolate`.
        """
        del train
        epsilon = self._source().epsilon if self.epsilon is None else self.epsilon
        grid = self._grid(images.shape[1:3])
        record = self.new_record()
        x = self._patches(images, grid)
        token = self.param("class_token", nn.initializers.zeros, (1, 1, self.width))
        token = jnp.broadcast_to(token, (x.shape[0], 1, self.width)).astype(self.dtype)
        x = jnp.concatenate([token, x], axis=1) + self._positions(grid).astype(self.dtype)
        x = self._at_stage_of_tokens("embedding", x, grid, record)
        attentions = []
        for number in range(self.layers):
            name = f"block_{number}"
            options: dict[str, Any] = {"moved": self.moved_attention(name, len(x))}
            kind = nn.remat(Block) if remat else Block
            if self.touched(f"{name}_norm1"):
                kind = Block  # what a stage records cannot leave what is computed again
                options["at_norm1"] = functools.partial(
                    self._at_stage_of_tokens, f"{name}_norm1", grid=grid, record=record
                )
            block = kind(self.heads, self.mlp, epsilon=epsilon, dtype=self.dtype, name=name)
            x, attention = block(x, **options)
            x = self._at_stage_of_tokens(name, x, grid, record)
            attentions.append(attention)
        x = layer_norm(epsilon, self.dtype, "norm")(x)
        return Features(
            positions=x[:, None, 1:],
            extra=x[:, :1] if self.class_token else x[:, :0],
            valid=jnp.ones((x.shape[0], 1, grid[0] * grid[1]), bool),
            grid=grid,
            attentions=jnp.stack(attentions, axis=1)[:, None] if self.keep_attention else None,
            stages=record,
        )

    def _at_stage_of_tokens(
        self, stage: str, x: Float[Array, "B S D"], grid: tuple[int, int], record: dict[str, Array]
    ) -> Float[Array, "B S D"]:
        """`at_stage` of the tokens on the grid; those before them stay."""
        if not self.touched(stage):
            return x
        cells = x[:, 1:].reshape(-1, *grid, self.width)
        cells = self.at_stage(stage, cells, record).reshape(-1, grid[0] * grid[1], self.width)
        return jnp.concatenate([x[:, :1], cells], axis=1)

    def _source(self) -> Source:
        if self.weights_of not in SOURCES:
            raise ValueError(
                f"unknown weights_of={self.weights_of!r}; choose one of: {', '.join(SOURCES)}"
            )
        return SOURCES[self.weights_of]

    def _grid(self, size: tuple[int, ...]) -> tuple[int, int]:
        """(h, w) patches of an image."""
        if size[0] % self.patch or size[1] % self.patch:
            raise ValueError(
                f"got images of {size[0]}x{size[1]} pixels; expected multiples of the patch, "
                f"{self.patch}"
            )
        if tuple(size) != tuple(self.size) and not self.interpolate:
            raise ValueError(
                f"got images of {size[0]}x{size[1]} pixels; the position embeddings are those of "
                f"{self.size[0]}x{self.size[1]}: resize the images, or set interpolate=True"
            )
        return size[0] // self.patch, size[1] // self.patch

    def _patches(
        self, images: Float[Array, "B H W 3"], grid: tuple[int, int]
    ) -> Float[Array, "B P D"]:
        """The strided convolution as one product."""
        side = self.patch
        kernel_init = nn.initializers.lecun_normal()
        kernel = self.param("patch_kernel", kernel_init, (side, side, 3, self.width))
        bias = self.param("patch_bias", nn.initializers.zeros, (self.width,))
        x = images.astype(self.dtype).reshape(-1, grid[0], side, grid[1], side, 3)
        x = x.swapaxes(2, 3).reshape(-1, grid[0] * grid[1], side * side * 3)
        x = x @ kernel.astype(self.dtype).reshape(-1, self.width)
        return x + bias.astype(self.dtype).reshape(1, 1, -1)

    def _positions(self, grid: tuple[int, int]) -> Float[Array, "1 S D"]:
        """Position embeddings of the class token and of a grid."""
        rows, columns = (length // self.patch for length in self.size)
        shape = (1, 1 + rows * columns, self.width)
        table = self.param("position_embedding", nn.initializers.normal(0.02), shape)
        if grid == (rows, columns):
            return table
        cells = table[:, 1:].reshape(1, rows, columns, self.width)
        cells = jax.image.resize(cells, (1, *grid, self.width), "cubic")
        return jnp.concatenate([table[:, :1], cells.reshape(1, -1, self.width)], axis=1)
