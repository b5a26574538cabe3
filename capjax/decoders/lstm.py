"""The plain LSTM: the image is seen pooled, once (Vinyals et al. 2015) or beside every word."""

from typing import Any, Literal

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Int, Key

from capjax import rng
from capjax.decoders import cell
from capjax.decoders.lstm_recurrence import lstm_recurrence
from capjax.encoders.encoder import for_one_call
from capjax.ops.linear import affine, product
from capjax.types import Features

Carry = tuple[Float[Array, "B n"], Float[Array, "B n"]]
Memory = Float[Array, "B k"] | None
"""What every step adds of the image: k = n after the LSTM, or k = 4n to its gates."""


class LSTM(nn.Module):
    """Word LSTM that is given the pooled descriptor.

    Attributes:
      vocab_size: V.
      features: D of the encoder.
      hidden, embedding: n, m.
      inject: where the image enters; in brackets the name in Tanti et al. 2017 (arXiv 1703.09137).
        "input" feeds the projected pooled descriptor as step 0, before the first word (Vinyals et
        al., eq 10; pre-inject). "state" makes h and c of it, tanh of an affine layer (init-inject).
        "every" reads it beside the word at every step, from a state of zero: LSTM([E y, z], h, c),
        `AttentionLSTM`'s step with the mean z in place of attention (Ramanishka et al. 2017, eq 3;
        par-inject). "merge" adds it, projected to n and rectified, to every h, and a rectified
        layer of `merged` units follows: the LSTM, from zero, is a language model that never sees
        the image (merge, there with concatenation; the sum is what captioners in Keras use).
      merged: units of the layer after the merge, 0 for n; only for "merge".
      start_input: first word input; "token" (a learned row; the paper) or "zero".
      hidden_dropout: on what the last layer reads; embedding_dropout: on word embeddings.
      initialisation, forget_bias, dtype, rules: as in `AttentionLSTM`.
    """

    vocab_size: int
    features: int
    hidden: int = 512
    embedding: int = 512
    inject: Literal["input", "state", "every", "merge"] = "input"
    merged: int = 0
    start_input: Literal["zero", "token"] = "token"
    hidden_dropout: float = 0.0
    embedding_dropout: float = 0.0
    initialisation: cell.Initialisation = "lecun"
    forget_bias: float = 1.0
    dtype: Any = jnp.float32
    rules: cell.Rules = for_one_call(cell.Rules())

    def setup(self) -> None:
        kernel = cell.kernel_init(self.initialisation)
        zeros = nn.initializers.zeros
        depth, size, width = self.features, self.hidden, self.embedding
        table = cell.embedding_init(self.initialisation)
        self.embeddings = self.param("embedding", table, (self.vocab_size, width))
        if self.start_input == "token":
            self.first = self.param("start", table, (width,))
        injections = {
            "input": {"input": width},
            "state": {"h": size, "c": size},
            "every": {},
            "merge": {"merge": size},
        }
        if self.inject not in injections:
            known = ", ".join(injections)
            raise ValueError(f"unknown inject {self.inject!r}; choose one of: {known}")
        self.image_heads = {
            name: (
                self.param(f"image_{name}_kernel", kernel, (depth, out)),
                self.param(f"image_{name}_bias", zeros, (out,)),
            )
            for name, out in injections[self.inject].items()
        }
        if self.inject == "every":
            self.lstm_image = self.param("lstm_image", kernel, (depth, 4 * size))
        self.lstm_embedding = self.param("lstm_embedding", kernel, (width, 4 * size))
        self.lstm_recurrent = self.param("lstm_recurrent", cell.recurrent_init, (size, 4 * size))
        self.lstm_bias = self.param(
            "lstm_bias", cell.forget_bias_init(self.forget_bias), (4 * size,)
        )
        read = size
        if self.inject == "merge":
            read = self.merged or size
            self.merge_kernel = self.param("merge_kernel", kernel, (size, read))
            self.merge_bias = self.param("merge_bias", zeros, (read,))
        self.head_kernel = self.param("head_kernel", table, (read, self.vocab_size))
        self.head_bias = self.param("head_bias", zeros, (self.vocab_size,))

    def start(
        self,
        features: Features,
        keys: Key[Array, " B"] | None = None,
        length: int | None = None,
    ) -> tuple[Carry, Memory]:
        """The state before the first word, and what every step adds of the image (see `Memory`).

        With "every" and "merge" the state is zero; the others have no memory.
        """
        del keys, length  # nothing is dropped here, and the state does not grow
        pooled = features.pooled
        zero = jnp.zeros((pooled.shape[0], self.hidden), pooled.dtype)
        if self.inject == "every":
            return (zero, zero), product(pooled, self.lstm_image, self.dtype)
        image = {
            name: affine(pooled, w, b, self.dtype) for name, (w, b) in self.image_heads.items()
        }
        if self.inject == "state":
            return (self.rules.tanh(image["h"]), self.rules.tanh(image["c"])), None
        if self.inject == "merge":
            return (zero, zero), self.rules.relu(image["merge"])
        gates = affine(image["input"], self.lstm_embedding, self.lstm_bias, self.dtype)
        return self.rules.lstm(gates, zero), None

    def step(
        self, carry: Carry, token: Int[Array, " B"], memory: Memory = None
    ) -> tuple[Carry, Float[Array, "B r"], None]:
        """One word further: `token` is the previous word (NO_TOKEN at first)."""
        gates = self._gates(self._embed(token), memory)
        carry = self._recur(carry, gates)
        return carry, self._merge(carry[0], memory), None

    def readout(self, hidden: Float[Array, "*N r"]) -> Float[Array, "*N V"]:
        """Logits, in float32."""
        return affine(hidden, self.head_kernel, self.head_bias, self.dtype)

    def head(self) -> tuple[Float[Array, "r V"], Float[Array, " V"]]:
        """The affine layer that `readout` applies."""
        return self.head_kernel, self.head_bias

    def __call__(
        self,
        features: Features,
        tokens: Int[Array, "B T"],
        keys: Key[Array, " B"] | None = None,
    ) -> tuple[Float[Array, "B T r"], None]:
        """Teacher forcing: what `scan(step)` returns, with the input products outside it."""
        carry, memory = self.start(features)
        embedded = cell.read_words(self, self._embed(cell.shift(tokens)))
        embedded = rng.dropout(embedded, self.embedding_dropout, keys=rng.child(keys, "embedding"))
        gates = self._gates(embedded, memory)
        states, _ = lstm_recurrence(
            self.lstm_recurrent, gates.swapaxes(0, 1), carry, dtype=self.dtype
        )
        hidden = self._merge(states.swapaxes(0, 1), memory)
        return rng.dropout(hidden, self.hidden_dropout, keys=rng.child(keys, "hidden")), None

    def _embed(self, tokens: Int[Array, "*N"]) -> Float[Array, "*N m"]:
        zero = jnp.zeros((self.embedding,), self.embeddings.dtype)
        first = self.first if self.start_input == "token" else zero
        return self.rules.word(cell.look_up(self.embeddings, first, tokens))

    def _gates(self, embedded: Float[Array, "B *T m"], image: Memory) -> Float[Array, "B *T 4n"]:
        """The part of the pre-activations that needs no state."""
        gates = affine(embedded, self.lstm_embedding, self.lstm_bias, self.dtype)
        return _add_image(gates, image) if self.inject == "every" else gates

    def _merge(self, h: Float[Array, "B *T n"], image: Memory) -> Float[Array, "B *T r"]:
        """What the last layer reads."""
        if self.inject != "merge":
            return h
        joined = _add_image(h, image)
        return self.rules.relu(affine(joined, self.merge_kernel, self.merge_bias, self.dtype))

    def _recur(self, carry: Carry, gates: Float[Array, "B 4n"]) -> Carry:
        h, c = carry
        return self.rules.lstm(gates + product(h, self.lstm_recurrent, self.dtype), c)


def _add_image(steps: Float[Array, "B *T k"], image: Memory) -> Float[Array, "B *T k"]:
    """The image's k numbers beside those of one step, or of every step."""
    assert image is not None, "a decoder that adds the image keeps it"
    return steps + (image if steps.ndim == 2 else image[:, None])
