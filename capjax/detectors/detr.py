"""DETR (Carion et al. 2020, arXiv 2005.12872): boxes from learnt queries, no anchors.

Letters: P cells of the last feature map, D width, Q queries, N classes.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Bool, Float

from capjax.encoders.resnet import ResNet
from capjax.encoders.transformer import check_heads, layer_norm
from capjax.ops.attention import attend

STRIDE = 32
"""Pixels of a cell of the last feature map."""
TEMPERATURE = 10_000.0
"""Of the sines that say where a cell lies."""


class Found(NamedTuple):
    """What each query found.

    Attributes:
      logits: [B Q N+1] float32, the last class being "no object".
      boxes: [B Q 4] float32, (middle x, middle y, width, height) as shares of the valid picture.
    """

    logits: Float[Array, "B Q N1"]
    boxes: Float[Array, "B Q 4"]


class Detr(nn.Module):
    """Detects objects; the defaults are those of detr-resnet-50, 41,577,888 parameters.

    Attributes:
      classes: N, "no object" not counted. Ids of COCO run to 90, some of them unused.
      depth: of the ResNet.
      width, heads, mlp: D, heads of attention, hidden size of perceptrons.
      encoder_layers, decoder_layers: how many there are.
      queries: Q, most objects of a picture.
      dtype: of activations and products; softmax, norm statistics and outputs are float32.
    """

    classes: int = 91
    depth: int = 50
    width: int = 256
    heads: int = 8
    mlp: int = 2048
    encoder_layers: int = 6
    decoder_layers: int = 6
    queries: int = 100
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: Float[Array, "B H W 3"], valid: Bool[Array, "B H W"]) -> Found:
        """Detects objects in normalised images.

        Args:
          images: 0 where they are padded, below and to the right.
          valid: False for padding; which cells are valid is read at the cells' first pixels.

        Raises:
          ValueError: shapes do not fit, or the width is not one that heads and sines divide.
        """
        self._check(images, valid)
        features = ResNet(depth=self.depth, dtype=self.dtype, name="backbone")(images)
        rows, columns = features.grid
        cells = _cells(valid, rows, columns)
        places = sine_places(cells, self.width).reshape(len(images), -1, self.width)
        mask = cells.reshape(len(images), 1, 1, -1)
        x = self._dense(self.width, "input_projection")(features.positions[:, 0])
        for number in range(self.encoder_layers):
            x = self._layer(f"encoder_{number}")(x, places, mask)
        queries = self.param("queries", nn.initializers.normal(1.0), (self.queries, self.width))
        asked = jnp.broadcast_to(queries, (len(images), *queries.shape))
        y = jnp.zeros_like(asked, x.dtype)
        for number in range(self.decoder_layers):
            y = self._layer(f"decoder_{number}")(y, asked, mask, x, places)
        y = layer_norm(1e-5, self.dtype, "decoder_norm")(y).astype(jnp.float32)
        logits = nn.Dense(self.classes + 1, name="classifier")(y)
        for number in range(2):
            y = nn.relu(nn.Dense(self.width, name=f"box_{number}")(y))
        return Found(logits, nn.sigmoid(nn.Dense(4, name="box_2")(y)))

    def _layer(self, name: str) -> "_Layer":
        return _Layer(self.heads, self.mlp, self.dtype, name=name)

    def _dense(self, width: int, name: str) -> nn.Dense:
        return nn.Dense(width, dtype=self.dtype, name=name)

    def _check(self, images: Array, valid: Array) -> None:
        if images.ndim != 4 or images.shape[-1] != 3 or valid.shape != images.shape[:3]:
            raise ValueError(
                f"got images {images.shape} and valid {valid.shape}; expected [B H W 3] and [B H W]"
            )
        check_heads(self.width, self.heads)
        if self.width % 4:
            raise ValueError(f"got width={self.width}; sines and cosines of x and y divide it by 4")


class _Layer(nn.Module):
    """Self-attention, attention to a memory where one is given, and a perceptron, each beside a
    shortcut and followed by a norm. Places are added to queries and keys, not to values.
    """

    heads: int
    mlp: int
    dtype: Any

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "B T D"],
        places: Float[Array, "B T D"],
        mask: Bool[Array, "B 1 1 P"],
        memory: Float[Array, "B P D"] | None = None,
        memory_places: Float[Array, "B P D"] | float = 0.0,
    ) -> Float[Array, "B T D"]:
        width = x.shape[-1]
        own = mask if memory is None else None  # of queries, every one is valid
        x = x + self._attention("self", x + places, x + places, x, own)
        x = self._norm("norm1")(x)
        if memory is not None:
            x = x + self._attention("cross", x + places, memory + memory_places, memory, mask)
            x = self._norm("norm2")(x)
        y = nn.relu(nn.Dense(self.mlp, dtype=self.dtype, name="mlp_in")(x))
        x = x + nn.Dense(width, dtype=self.dtype, name="mlp_out")(y)
        return self._norm("norm3")(x)

    def _attention(self, name: str, query: Array, key: Array, value: Array, mask: Any) -> Array:
        width = query.shape[-1]
        query, key, value = (
            nn.Dense(width, dtype=self.dtype, name=f"{name}_{part}")(tokens).reshape(
                *tokens.shape[:2], self.heads, width // self.heads
            )
            for part, tokens in (("query", query), ("key", key), ("value", value))
        )
        read, _ = attend(query, key, value, mask, dtype=self.dtype)
        read = read.reshape(*read.shape[:2], width)
        return nn.Dense(width, dtype=self.dtype, name=f"{name}_out")(read)

    def _norm(self, name: str) -> nn.LayerNorm:
        return layer_norm(1e-5, self.dtype, name)


def _cells(valid: Bool[Array, "B H W"], rows: int, columns: int) -> Bool[Array, "B h w"]:
    """Whether a cell is valid: nearest pixel, the first of those that it covers."""
    height, width = valid.shape[1:]
    down = (jnp.arange(rows) * height) // rows
    across = (jnp.arange(columns) * width) // columns
    return valid[:, down[:, None], across]


def sine_places(cells: Bool[Array, "B h w"], width: int) -> Float[Array, "B h w D"]:
    """Sines and cosines of a cell's place, as shares of the valid part: y's, then x's.

    Args:
      cells: False for padding, below and to the right.
      width: D, a multiple of 4.
    """
    half = width // 2
    pairs = jnp.arange(half) // 2
    frequency = TEMPERATURE ** (2 * pairs / half)
    halves = []
    for axis in (1, 2):
        count = jnp.cumsum(cells.astype(jnp.float32), axis=axis)
        last = jnp.max(count, axis=axis, keepdims=True)
        angle = (2 * math.pi * count / (last + 1e-6))[..., None] / frequency[None, None, None]
        both = jnp.stack([jnp.sin(angle[..., 0::2]), jnp.cos(angle[..., 1::2])], axis=-1)
        halves.append(both.reshape(*cells.shape, half))
    return jnp.concatenate(halves, axis=-1)


def probabilities(logits: Float[Array, "B Q N1"]) -> Float[Array, "B Q N"]:
    """Of each class; what is missing to 1 is that there is no object."""
    return jax.nn.softmax(logits, axis=-1)[..., :-1]
