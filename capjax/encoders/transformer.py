"""The block that every transformer encoder here is a stack of (Vaswani et al. 2017)."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Bool, Float

from capjax.ops.attention import attend

Activation = Literal["gelu", "quick_gelu"]


def quick_gelu(x: Float[Array, "*N"]) -> Float[Array, "*N"]:
    """x sigmoid(1.702 x): the approximation of gelu that CLIP was trained with."""
    return x * jax.nn.sigmoid(1.702 * x)


def _gelu(x: Float[Array, "*N"]) -> Float[Array, "*N"]:
    # In float32: of the bfloat16 form XLA makes two passes over memory.
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    return jax.nn.gelu(wide, approximate=False).astype(x.dtype)


ACTIVATIONS: Mapping[str, Callable[[Array], Array]] = {"gelu": _gelu, "quick_gelu": quick_gelu}


class Block(nn.Module):
    """Self-attention and a two-layer perceptron, each beside a shortcut.

    Attributes:
      heads: of attention; they divide the width.
      mlp: hidden size of the perceptron.
      norm: "before" each half (ViT, CLIP) or "after" each sum (BERT).
      activation: "gelu", the exact one with erf, or "quick_gelu".
      epsilon: of the layer norms.
      dtype: of activations and products; softmax and norm statistics are float32.
    """

    heads: int
    mlp: int
    norm: Literal["before", "after"] = "before"
    activation: Activation = "gelu"
    epsilon: float = 1e-12
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "B S D"],
        mask: Bool[Array, "..."] | None = None,
        moved: Float[Array, "B H S S"] | None = None,
        at_norm1: Callable[[Array], Array] = lambda y: y,
    ) -> tuple[Float[Array, "B S D"], Float[Array, "B H S S"]]:
        """The tokens one layer further, and the attention of each (row) to each.

        Args:
          x: tokens.
          mask: True where a token may see another, broadcastable to [B H S S].
          moved: what is added to the attention.
          at_norm1: sees what the first norm gives, where that comes before, and may change it.
        """
        width = x.shape[-1]
        check_heads(width, self.heads)
        before = self.norm == "before"
        norm1, norm2 = (layer_norm(self.epsilon, self.dtype, f"norm{number}") for number in (1, 2))

        def dense(size: int, name: str) -> nn.Dense:
            return nn.Dense(size, dtype=self.dtype, name=name)

        y = at_norm1(norm1(x)) if before else x
        parts = (*y.shape[:-1], self.heads, width // self.heads)
        query, key, value = (
            dense(width, name)(y).reshape(parts) for name in ("query", "key", "value")
        )
        read, attention = attend(query, key, value, mask, dtype=self.dtype, moved=moved)
        x = x + dense(width, "out")(read.reshape(y.shape))
        x = x if before else norm1(x)
        y = norm2(x) if before else x
        y = ACTIVATIONS[self.activation](dense(self.mlp, "mlp_in")(y))
        x = x + dense(width, "mlp_out")(y)
        return (x if before else norm2(x)), attention


def layer_norm(epsilon: float, dtype: Any, name: str) -> nn.LayerNorm:
    """Layer norm whose variance is that of the differences from the mean, as PyTorch's.

    The mean of squares minus the square of the mean, flax's default, loses digits where the mean
    is large, and these networks have such channels.
    """
    return nn.LayerNorm(epsilon=epsilon, use_fast_variance=False, dtype=dtype, name=name)


def check_heads(width: int, heads: int) -> None:
    """Raises ValueError where heads do not divide the width."""
    if width % heads:
        raise ValueError(
            f"got width={width} and heads={heads}; heads divide the width: choose, for instance, "
            f"heads={max(1, width // 64)}"
        )
