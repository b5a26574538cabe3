"""Texts to vectors on the host: a tokenizer, a net and its weights as one object."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from capjax.text.bert import Bert
from capjax.text.clip_text import ClipText
from capjax.text.subwords import Subwords

TOKEN_BUCKET = 16
"""Texts are padded to multiples of so many tokens, so that few shapes are compiled."""

LARGEST_BATCH = 64


@dataclasses.dataclass(frozen=True, eq=False)
class SentenceEncoder:
    """A pretrained text encoder; `capjax.weights.load_text_encoder` makes one.

    Attributes:
      net: the static module.
      variables: its weights, float32.
      subwords: its tokenizer.
      name: where it was loaded from, to be reported with every score that it gives.
    """

    net: Bert | ClipText
    variables: Mapping[str, Any]
    subwords: Subwords
    name: str

    def encode(self, texts: Sequence[str]) -> Float[np.ndarray, "N D"]:
        """One embedding a text, float32, in the order given; long texts are cut.

        Texts of like length share a batch. Batches are padded to powers of two and multiples of
        `TOKEN_BUCKET`, which changes nothing but the last digits.
        """
        ids = self.subwords.encode(texts)
        order = sorted(range(len(ids)), key=lambda row: len(ids[row]))
        found: dict[int, np.ndarray] = {}
        for first in range(0, len(order), LARGEST_BATCH):
            rows = order[first : first + LARGEST_BATCH]
            longest = max(len(ids[row]) for row in rows)
            length = min(-(-longest // TOKEN_BUCKET) * TOKEN_BUCKET, self.subwords.max_length)
            batch = 1 << (len(rows) - 1).bit_length()
            tokens, mask = self.subwords.padded([ids[row] for row in rows], (batch, length))
            vectors = np.asarray(_embed(self.net, self.variables, tokens, mask))
            found.update(zip(rows, vectors[: len(rows)], strict=True))
        if not found:
            return np.zeros((0, self.size), np.float32)
        return np.stack([found[row] for row in range(len(ids))])

    @functools.cached_property
    def size(self) -> int:
        """Length of an embedding."""
        tokens = jax.ShapeDtypeStruct((1, 2), np.int32)
        mask = jax.ShapeDtypeStruct((1, 2), bool)
        embed = functools.partial(_embed, self.net)
        return int(jax.eval_shape(embed, self.variables, tokens, mask).shape[1])


@functools.partial(jax.jit, static_argnames=("net",))
def _embed(
    net: Bert | ClipText, variables: Any, tokens: Int[Array, "B T"], mask: Bool[Array, "B T"]
) -> Float[Array, "B D"]:
    encoded: Any = net.apply(variables, tokens, mask)
    return encoded.embedding
