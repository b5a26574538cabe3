"""BERT (Devlin et al. 2018, arXiv 1810.04805) and the sentence encoders built on it (MiniLM)."""

from typing import Any, Literal

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Bool, Float, Int

from capjax.encoders.transformer import Block, layer_norm
from capjax.text.embedding import Encoded, masked_mean, unit_length

Pooling = Literal["mean", "cls", "pooler"]
POOLINGS = ("mean", "cls", "pooler")

MINILM_L6: dict[str, Any] = {
    "width": 384,
    "layers": 6,
    "mlp": 1536,
    "normalise": True,
}
"""Fields of all-MiniLM-L6-v2."""


class Bert(nn.Module):
    """One vector a text, and one a token; the defaults are those of bert-base-uncased.

    Every token has type 0: pairs of sentences are not read.

    Attributes:
      vocab_size: V.
      width, layers, heads, mlp: of the transformer.
      positions: longest text in tokens.
      types: rows of the token-type table, of which the first is used.
      pooling: "mean" over a text's tokens, [CLS] and [SEP] included (Reimers & Gurevych 2019);
        "cls", the first token; "pooler", tanh of an affine layer of it.
      normalise: whether embeddings have length 1.
      epsilon: of the layer norms.
      dtype: of activations and products; softmax, norm statistics and pooling are float32.
    """

    vocab_size: int = 30522
    width: int = 768
    layers: int = 12
    heads: int = 12
    mlp: int = 3072
    positions: int = 512
    types: int = 2
    pooling: Pooling = "mean"
    normalise: bool = False
    epsilon: float = 1e-12
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, tokens: Int[Array, "B T"], mask: Bool[Array, "B T"]) -> Encoded:
        """Encodes texts.

        Args:
          tokens: ids, special ones included.
          mask: False for padding, which changes nothing.

        Raises:
          ValueError: more tokens than position embeddings, or an unknown pooling.
        """
        if self.pooling not in POOLINGS:
            raise ValueError(
                f"unknown pooling {self.pooling!r}; choose one of: {', '.join(POOLINGS)}"
            )
        x = self._embed(tokens)
        for number in range(self.layers):
            block = Block(
                self.heads,
                self.mlp,
                norm="after",
                epsilon=self.epsilon,
                dtype=self.dtype,
                name=f"block_{number}",
            )
            x, _ = block(x, mask[:, None, None])
        if self.pooling == "mean":
            embedding = masked_mean(x, mask)
        else:
            embedding = x[:, 0].astype(jnp.float32)
        if self.pooling == "pooler":
            embedding = jnp.tanh(nn.Dense(self.width, name="pooler")(embedding))
        return Encoded(x, unit_length(embedding) if self.normalise else embedding)

    def _embed(self, tokens: Int[Array, "B T"]) -> Float[Array, "B T D"]:
        check_length(tokens.shape[1], self.positions)

        def table(name: str, rows: int) -> Array:
            return self.param(name, nn.initializers.normal(0.02), (rows, self.width))

        words = table("word_embedding", self.vocab_size)
        places = table("position_embedding", self.positions)
        kinds = table("type_embedding", self.types)
        x = words[tokens] + places[None, : tokens.shape[1]] + kinds[None, :1]
        return layer_norm(self.epsilon, self.dtype, "embedding_norm")(x)


def check_length(tokens: int, positions: int) -> None:
    """Raises ValueError for texts longer than the table of positions."""
    if tokens > positions:
        raise ValueError(
            f"got texts of {tokens} tokens; this encoder has embeddings for {positions} positions: "
            "cut them where they are tokenised"
        )
