"""CLIP's text encoder (Radford et al. 2021, arXiv 2103.00020)."""

from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Bool, Float, Int

from capjax.encoders.transformer import Activation, Block, layer_norm
from capjax.text.bert import check_length
from capjax.text.embedding import Encoded, unit_length

LARGE: dict[str, int] = {"width": 768, "heads": 12, "mlp": 3072, "projection": 768}
"""Fields of ViT-L/14's text encoder; the defaults are those of ViT-B/32 and B/16."""


class ClipText(nn.Module):
    """One vector a text in the space that CLIP shares between texts and images.

    Causal, so what follows the end token changes nothing, whichever id it has.

    Attributes:
      vocab_size: V.
      width, layers, heads, mlp: of the transformer.
      positions: longest text in tokens, start and end included.
      projection: size of the embedding; None leaves the hidden state of the end token.
      end: id of the end token, whose first place in a text is read; None: that of the largest id,
        as OpenAI's code and the configs that say 2 do.
      normalise: whether embeddings have length 1.
      activation: "quick_gelu" (OpenAI) or "gelu" (many of OpenCLIP's).
      epsilon: of the layer norms.
      dtype: of activations and products; softmax, norm statistics and projection are float32.
    """

    vocab_size: int = 49408
    width: int = 512
    layers: int = 12
    heads: int = 8
    mlp: int = 2048
    positions: int = 77
    projection: int | None = 512
    end: int | None = None
    normalise: bool = True
    activation: Activation = "quick_gelu"
    epsilon: float = 1e-5
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        tokens: Int[Array, "B T"],
        mask: Bool[Array, "B T"] | None = None,
        embedded: Float[Array, "B T D"] | None = None,
    ) -> Encoded:
        """Encodes texts of start token, words and end token; `mask` is not needed.

        Args:
          tokens: ids.
          mask: not read.
          embedded: in place of the rows of `token_embedding` that `tokens` names, for gradients
            with respect to them; the end is still found in `tokens`.

        Raises:
          ValueError: more tokens than position embeddings.
        """
        del mask
        length = tokens.shape[1]
        check_length(length, self.positions)
        small = nn.initializers.normal(0.02)
        words = self.param("token_embedding", small, (self.vocab_size, self.width))
        places = self.param("position_embedding", small, (self.positions, self.width))
        x = words[tokens] if embedded is None else embedded
        x = (x + places[None, :length]).astype(self.dtype)
        causal = jnp.tril(jnp.ones((length, length), bool))
        for number in range(self.layers):
            block = Block(
                self.heads,
                self.mlp,
                activation=self.activation,
                epsilon=self.epsilon,
                dtype=self.dtype,
                name=f"block_{number}",
            )
            x, _ = block(x, causal)
        x = layer_norm(self.epsilon, self.dtype, "norm")(x)
        # argmax takes the first of equals: also where padding repeats the end token.
        last = jnp.argmax(tokens if self.end is None else tokens == self.end, axis=1)
        embedding = jnp.take_along_axis(x, last[:, None, None], axis=1)[:, 0]
        embedding = embedding.astype(jnp.promote_types(self.dtype, jnp.float32))
        if self.projection is not None:
            embedding = nn.Dense(self.projection, use_bias=False, name="projection")(embedding)
        return Encoded(x, unit_length(embedding) if self.normalise else embedding)
