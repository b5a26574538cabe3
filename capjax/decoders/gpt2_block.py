"""One block of GPT-2 with cross-attention.

Shapes: T tokens that are asked for, S tokens that may be seen, L descriptors of an image, H heads
of size d, D width.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Bool, Float

from capjax import rng
from capjax.ops.attention import attend

ATTENTIONS = "attentions"
"""The collection where each `Attention` leaves its weights [B H T S], where it is mutable."""
ATTENTION_MOVES = "attention_moves"
"""A collection of the same form, which is added to them: derivatives by it are by the weights."""

_WEIGHTS = "weights"

Heads = tuple[Float[Array, "B H d S"], Float[Array, "B H S d"]]
"""Keys and values of S tokens or descriptors, as products read them: turned once, not each step."""


class Kept(NamedTuple):
    """What dropout keeps in one block; None where it keeps everything.

    Attributes:
      tokens, image: of the weights of self-attention and of cross-attention.
      added: of what the three parts add.
    """

    tokens: Bool[Array, "B T S H"] | None = None
    image: Bool[Array, "B T L H"] | None = None
    added: Bool[Array, "B T 3 D"] | None = None


EVERYTHING = Kept()


class Attention(nn.Module):
    """Multi-head attention: projections into heads and out of them.

    Attributes:
      width, heads: D, H.
      out_scale: deviation of the initial kernel of the last projection.
      dropout: of attention weights.
      dtype: of products; sums and the softmax are float32.
    """

    width: int
    heads: int
    out_scale: float
    dropout: float
    dtype: Any

    def setup(self) -> None:
        self.query, self.key, self.value = (dense(self.width, self.dtype) for _ in range(3))
        self.out = dense(self.width, self.dtype, self.out_scale)

    def queries(self, x: Float[Array, "B T D"]) -> Float[Array, "B T H d"]:
        """What tokens ask for."""
        return self._split(self.query(x))

    def remember(self, x: Float[Array, "B S D"]) -> Heads:
        """Keys and values of tokens or descriptors."""
        keys, values = self._split(self.key(x)), self._split(self.value(x))
        return jnp.moveaxis(keys, 1, 3), jnp.moveaxis(values, 1, 2)

    def __call__(
        self,
        queries: Float[Array, "B T H d"],
        remembered: Heads,
        mask: Bool[Array, "..."],
        keep: Bool[Array, "B T S H"] | None = None,
    ) -> tuple[Float[Array, "B T D"], Float[Array, "B H T S"]]:
        """What the queries read, and the attention weights before dropout keeps some of them."""
        keys, values = jnp.moveaxis(remembered[0], 3, 1), jnp.moveaxis(remembered[1], 2, 1)
        moved: Any = self.get_variable(ATTENTION_MOVES, _WEIGHTS)
        read, weights = attend(queries, keys, values, mask, dtype=self.dtype, moved=moved)
        if not self.is_initializing():  # they are no variables of the model
            self.sow(
                *(ATTENTIONS, _WEIGHTS, weights),
                init_fn=lambda: weights,
                reduce_fn=lambda _, newest: newest,
            )
        if keep is not None:
            kept = rng.only_kept(weights, jnp.moveaxis(keep, 3, 1), self.dropout)
            read = jnp.einsum("bhqk,bkhd->bqhd", kept.astype(self.dtype), values)
        return self.out(read.reshape(*read.shape[:-2], self.width)), weights

    def _split(self, x: Float[Array, "B S D"]) -> Float[Array, "B S H d"]:
        return x.reshape(*x.shape[:-1], self.heads, self.width // self.heads)


class Block(nn.Module):
    """Self-attention, cross-attention and a perceptron, each after a layer norm, beside a shortcut.

    Attributes:
      width, heads, mlp: D, H, hidden size of the perceptron.
      depth: how many blocks there are, for the initial kernels.
      epsilon: of the layer norms.
      attention_dropout, residual_dropout: of attention weights; of what each part adds.
      dtype: of products.
    """

    width: int
    heads: int
    mlp: int
    depth: int
    epsilon: float
    attention_dropout: float
    residual_dropout: float
    dtype: Any

    def setup(self) -> None:
        out_scale = 0.02 / math.sqrt(2 * self.depth)
        shared = (self.width, self.heads, out_scale, self.attention_dropout, self.dtype)
        self.norm1, self.norm_cross, self.norm2 = (
            layer_norm(self.epsilon, self.dtype) for _ in range(3)
        )
        self.attention, self.cross_attention = Attention(*shared), Attention(*shared)
        self.mlp_in = dense(self.mlp, self.dtype)
        self.mlp_out = dense(self.width, self.dtype, out_scale)

    def remember(self, descriptors: Float[Array, "B L D"]) -> Heads:
        """Keys and values of an image for this block's cross-attention."""
        return self.cross_attention.remember(descriptors)

    def __call__(
        self,
        x: Float[Array, "B T D"],
        seen: Bool[Array, "..."],
        image: Heads,
        valid: Bool[Array, "B L"],
        *,
        cached: Heads | None = None,
        here: Bool[Array, "B N"] | None = None,
        kept: Kept = EVERYTHING,
    ) -> tuple[Float[Array, "B T D"], Heads, Float[Array, "B T L"]]:
        """The tokens one block further, all keys and values, and attention over the image.

        Args:
          x: tokens, all of them or, with a cache, the newest.
          seen: True where a token may see another, broadcastable to [B H T S].
          image, valid: what `remember` gave, and which of it is no padding.
          cached: keys and values of earlier tokens.
          here: the place of the newest token in the cache.
          kept: what dropout keeps.
        """

        def added(values: Float[Array, "B T D"], part: int) -> Float[Array, "B T D"]:
            if kept.added is None:
                return values
            return rng.only_kept(values, kept.added[:, :, part], self.residual_dropout)

        y = self.norm1(x)
        own = self.attention.remember(y)
        if cached is not None and here is not None:
            place = here[:, None, None]
            own = (
                jnp.where(place, own[0], cached[0]),
                jnp.where(place.swapaxes(2, 3), own[1], cached[1]),
            )
        read, _ = self.attention(self.attention.queries(y), own, seen, kept.tokens)
        x = x + added(read, 0)
        asked = self.cross_attention.queries(self.norm_cross(x))
        visible = valid[:, None, None]
        read, looked = self.cross_attention(asked, image, visible, kept.image)
        x = x + added(read, 1)
        hidden = jax.nn.gelu(self.mlp_in(self.norm2(x)), approximate=True)
        return x + added(self.mlp_out(hidden), 2), own, jnp.mean(looked, axis=1)


def dense(size: int, dtype: Any, scale: float = 0.02) -> nn.Dense:
    """An affine layer with the initialisation of GPT-2."""
    return nn.Dense(size, dtype=dtype, kernel_init=nn.initializers.normal(scale))


def layer_norm(epsilon: float, dtype: Any) -> nn.LayerNorm:
    """With the variance of differences from the mean, in float32 or wider."""
    wide = jnp.promote_types(dtype, jnp.float32)
    return nn.LayerNorm(epsilon=epsilon, use_fast_variance=False, dtype=wide)
