"""The LSTM of Show, Attend and Tell (Xu et al. 2015), soft or hard, with its public variants.

Shapes: L = F * P positions, D features, A attention size, n LSTM size, m embedding size. With a
`projection` D is its size.
"""

import dataclasses
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Int, Key

from capjax import rng
from capjax.decoders import cell, lone, selection
from capjax.decoders.annotations import Memory, pooled
from capjax.decoders.energy import scores
from capjax.decoders.recurrence import Weights, recurrence
from capjax.encoders.encoder import for_one_call
from capjax.ops.linear import affine, batched_product, product
from capjax.types import Features

Carry = tuple[Array, ...]
"""h and c, [B n] each; where positions are sampled, also the number of the word, [B]."""


class AttentionLSTM(nn.Module):
    """Attention over positions, then an LSTM step, then the word distribution.

    One step (paper eqs 1-7; h is the state before the step, so attention and gate use the same h):
      e_i = w . act(W_a a_i + W_h h + b),  alpha = softmax(e),  z = sum_i alpha_i a_i,
      z <- sigmoid(W_b h + b_b) z,  (h', c') = LSTM([E y, z], h, c),
      hidden = tanh(E y + L_h h' + L_z z + b_o),  logits = L_o hidden + b.

    With `hard` a training step reads one position a word, drawn from alpha, instead of z (section
    4.1); `capjax.train.objectives.reinforce` has the gradient that alpha gets then. Attention that
    is returned is always alpha.

    Deviations from the paper, each a field: tanh of the deep output is arctic-captions' and not in
    eq 7 (`output="deep"` is eq 7); the score has no scalar bias, which softmax would cancel.

    Attributes:
      vocab_size: V.
      features: D of the encoder.
      hidden, attention, embedding: n, A, m.
      projection: size to which a learnt layer (linear, ReLU) reduces each annotation vector before
        anything reads it: a small decoder for many channels. 0: no such layer.
      attend: to "positions" or to "frames". An annotation vector is then the mean of a frame, and
        a position's attention its share of its frame's.
      hard: training draws one position a word, except in `expected_share` of the captions.
      expected_share: of captions that read the expectation in training, as with soft attention.
      expected_scope: whether every "image" draws that for itself (paper) or the "batch" at once
        (arctic).
      reading: outside training, what a step reads: the "expected" context (arctic, for hard models
        too), the one at the "argmax" of alpha, or at a "sample" of it, drawn with the same noise
        for every image.
      activation: of the attention score; "tanh" (paper) or "relu" (sgrvinod).
      gate: "scalar" (paper), "vector" of size D (sgrvinod) or "none".
      output: "deep_tanh" (arctic), "deep" (eq 7) or "linear" (of the LSTM state; sgrvinod).
      init_activation: of the initial state's last layer; "tanh" (arctic) or "linear" (sgrvinod).
      init_layers: 2 puts one relu layer of width D before it (arctic), 1 none.
      start_input: first input; "zero" (arctic) or "token", a learned row (sgrvinod).
      hidden_dropout: on h' before the output; embedding_dropout: on E y; output_dropout: on the
        deep output; init_dropout: on the hidden layer of the initial state.
      initialisation: see `cell.kernel_init`.
      forget_bias: initial forget-gate bias.
      dtype: of matrix products; softmax and state stay float32.
      rules: of what is no affine map, see `cell.Rules`.
    """

    vocab_size: int
    features: int
    hidden: int = 512
    attention: int = 256
    embedding: int = 256
    projection: int = 0
    attend: Literal["positions", "frames"] = "positions"
    hard: bool = False
    expected_share: float = 0.5
    expected_scope: selection.Scope = "image"
    reading: selection.Reading = "expected"
    activation: Literal["tanh", "relu"] = "tanh"
    gate: Literal["none", "scalar", "vector"] = "scalar"
    output: Literal["deep_tanh", "deep", "linear"] = "deep_tanh"
    init_activation: Literal["tanh", "linear"] = "tanh"
    init_layers: Literal[1, 2] = 1
    start_input: Literal["zero", "token"] = "zero"
    hidden_dropout: float = 0.0
    embedding_dropout: float = 0.0
    output_dropout: float = 0.0
    init_dropout: float = 0.0
    initialisation: cell.Initialisation = "lecun"
    forget_bias: float = 1.0
    dtype: Any = jnp.float32
    rules: cell.Rules = for_one_call(cell.Rules())

    def setup(self) -> None:
        kernel = cell.kernel_init(self.initialisation)
        zeros = nn.initializers.zeros
        depth, size, width = self.projection or self.features, self.hidden, self.embedding
        if self.projection:
            self.projection_kernel = self.param("projection_kernel", kernel, (self.features, depth))
            self.projection_bias = self.param("projection_bias", zeros, (depth,))
        self.embeddings = self.param(
            "embedding", cell.embedding_init(self.initialisation), (self.vocab_size, width)
        )
        if self.start_input == "token":
            self.first = self.param("start", cell.embedding_init(self.initialisation), (width,))
        if self.init_layers == 2:
            self.init_kernel = self.param("init_kernel", kernel, (depth, depth))
            self.init_bias = self.param("init_bias", zeros, (depth,))
        self.init_heads = {
            name: (
                self.param(f"init_{name}_kernel", kernel, (depth, size)),
                self.param(f"init_{name}_bias", zeros, (size,)),
            )
            for name in ("h", "c")
        }
        self.attention_features = self.param("attention_features", kernel, (depth, self.attention))
        self.attention_hidden = self.param("attention_hidden", kernel, (size, self.attention))
        self.attention_bias = self.param("attention_bias", zeros, (self.attention,))
        self.attention_score = self.param("attention_score", kernel, (self.attention, 1))
        if self.gate != "none":
            gates = 1 if self.gate == "scalar" else depth
            self.gate_kernel = self.param("gate_kernel", kernel, (size, gates))
            self.gate_bias = self.param("gate_bias", zeros, (gates,))
        self.lstm_embedding = self.param("lstm_embedding", kernel, (width, 4 * size))
        self.lstm_context = self.param("lstm_context", kernel, (depth, 4 * size))
        self.lstm_recurrent = self.param("lstm_recurrent", cell.recurrent_init, (size, 4 * size))
        self.lstm_bias = self.param(
            "lstm_bias", cell.forget_bias_init(self.forget_bias), (4 * size,)
        )
        if self.output != "linear":
            self.output_hidden = self.param("output_hidden", kernel, (size, width))
            self.output_context = self.param("output_context", kernel, (depth, width))
            self.output_bias = self.param("output_bias", zeros, (width,))
        last = size if self.output == "linear" else width
        self.head_kernel = self.param(
            "head_kernel", cell.embedding_init(self.initialisation), (last, self.vocab_size)
        )
        self.head_bias = self.param("head_bias", zeros, (self.vocab_size,))

    def start(
        self,
        features: Features,
        keys: Key[Array, " B"] | None = None,
        length: int | None = None,
    ) -> tuple[Carry, Memory]:
        """The state before the first word, and what every step reads of the image."""
        del length  # the state does not grow
        depth = features.positions.shape[-1]
        if depth != self.features:
            raise ValueError(f"got features of depth {depth}; this decoder expects {self.features}")
        share = features.valid.astype(jnp.float32)
        if self.attend == "frames":
            share = share / jnp.maximum(jnp.sum(share, axis=-1, keepdims=True), 1.0)
            features = features.frame_means()
        if self.projection:
            kernel, bias = self.projection_kernel, self.projection_bias
            projected = self.rules.relu(affine(features.positions, kernel, bias, self.dtype))
            features = dataclasses.replace(features, positions=projected)
        batch, frames, positions, _ = features.positions.shape
        values = features.positions.reshape(batch, frames * positions, -1)
        scored = affine(values, self.attention_features, self.attention_bias, self.dtype)
        memory = Memory(values.astype(self.dtype), scored, features.valid.reshape(batch, -1), share)
        mean = pooled(features, memory.values)
        if self.init_layers == 2:
            mean = self.rules.relu(affine(mean, self.init_kernel, self.init_bias, self.dtype))
            dropped = rng.dropout(mean[:, None], self.init_dropout, keys=rng.child(keys, "init"))
            mean = dropped[:, 0]
        state = [affine(mean, w, b, self.dtype) for w, b in self.init_heads.values()]
        if self.init_activation == "tanh":
            state = [self.rules.tanh(value) for value in state]
        count = [jnp.zeros((batch,), jnp.int32)] if self.reading == "sample" else []
        return (*state, *count), memory

    def step(
        self, carry: Carry, token: Int[Array, " B"], memory: Memory
    ) -> tuple[Carry, Float[Array, "B Dh"], Float[Array, "B F P"]]:
        """One word further: `token` is the previous word (NO_TOKEN at first)."""
        embedded = self._embed(token)
        gates = affine(embedded, self.lstm_embedding, self.lstm_bias, self.dtype)
        carry, context, alpha = self._recur(carry, gates, memory)
        hidden = self._deep_output(carry[0], context, embedded)
        return carry, hidden, memory.on_grid(alpha)

    def readout(self, hidden: Float[Array, "*N Dh"]) -> Float[Array, "*N V"]:
        """Logits, in float32."""
        return affine(hidden, self.head_kernel, self.head_bias, self.dtype)

    def head(self) -> tuple[Float[Array, "Dh V"], Float[Array, " V"]]:
        """The affine layer that `readout` applies."""
        return self.head_kernel, self.head_bias

    def __call__(
        self,
        features: Features,
        tokens: Int[Array, "B T"],
        keys: Key[Array, " B"] | None = None,
    ) -> tuple[Float[Array, "B T Dh"], Float[Array, "B T F P"]]:
        """Teacher forcing: what `scan(step)` returns, with all that needs no state outside it.

        Args:
          features: of the images.
          tokens: the words to predict; the shift happens here.
          keys: one key an example turns dropout on.
        """
        carry, memory = self.start(features, keys)
        embedded = rng.dropout(
            cell.read_words(self, self._embed(cell.shift(tokens))),
            self.embedding_dropout,
            keys=rng.child(keys, "embedding"),
        )
        gates = affine(embedded, self.lstm_embedding, self.lstm_bias, self.dtype)
        draws = self._draws(keys, tokens.shape[1], memory.valid.shape)
        stacked = recurrence(
            self._recurrent_weights(),
            gates.swapaxes(0, 1),
            (carry[0], carry[1]),
            memory.keys,
            memory.values,
            memory.valid,
            activation=self.activation,
            dtype=self.dtype,
            draws=draws,
        )
        if draws is not None and not self.is_initializing():  # what is drawn is no weight
            assert stacked.chosen is not None, "draws choose"
            self.sow("selection", "chosen", memory.on_grid(stacked.chosen.swapaxes(0, 1)))
            self.sow("selection", "expected", draws.expected)
        words = embedded.swapaxes(0, 1)  # stay first, as the recurrence stacks them
        seen = self._seen_alone(stacked.states, carry[0], memory)
        hidden = self._deep_output(stacked.states, stacked.contexts, words, keys, seen)
        return hidden.swapaxes(0, 1), memory.on_grid(stacked.alphas.swapaxes(0, 1))

    def _draws(
        self, keys: Key[Array, " B"] | None, words: int, shape: tuple[int, ...]
    ) -> selection.Draws | None:
        """How each word chooses among positions [B L]; None where all read the expectation."""
        if keys is None:
            return selection.reading_draws(self.reading, words, shape)
        if not self.hard:
            return None
        return selection.training_draws(
            keys, words, shape[1], self.expected_share, self.expected_scope
        )

    def _embed(self, tokens: Int[Array, "*N"]) -> Float[Array, "*N m"]:
        zero = jnp.zeros((self.embedding,), self.embeddings.dtype)
        first = self.first if self.start_input == "token" else zero
        return self.rules.word(cell.look_up(self.embeddings, first, tokens))

    def _recurrent_weights(self) -> Weights:
        gated = self.gate != "none"
        gate = [self.gate_kernel] if gated else []
        return Weights(
            state=jnp.concatenate([self.attention_hidden, *gate, self.lstm_recurrent], axis=1),
            gate_bias=self.gate_bias if gated else jnp.zeros((0,), self.lstm_bias.dtype),
            score=self.attention_score[:, 0],
            context=self.lstm_context,
        )

    def _recur(
        self, carry: Carry, gates: Float[Array, "B 4n"], memory: Memory
    ) -> tuple[Carry, Float[Array, "B D"], Float[Array, "B L"]]:
        """Attention and the LSTM cell: all that depends on the state.

        `recurrence` is this over a whole caption, with a backward pass of its own.
        """
        h, c, *count = carry
        act = jnp.tanh if self.activation == "tanh" else nn.relu
        query = product(h, self.attention_hidden, self.dtype)
        active = act(memory.keys + query[:, None])
        energy = scores(active, self.attention_score[:, 0], self.dtype)
        energy = jnp.where(memory.valid, energy, -jnp.inf)
        alpha = jax.nn.softmax(energy)
        read = alpha
        if self.reading != "expected":
            word = count[0] if count else jnp.zeros(alpha.shape[:1], jnp.int32)
            read = selection.choose(
                alpha, selection.reading_noise(self.reading, word, alpha.shape[1])
            )
        context = batched_product("bl,bld->bd", self.rules.weight(read), memory.values)
        if self.gate != "none":
            gate = nn.sigmoid(affine(h, self.gate_kernel, self.gate_bias, self.dtype))
            context *= self.rules.weight(gate)
        gates = gates + product(h, self.lstm_recurrent, self.dtype)
        gates = gates + product(context, self.lstm_context, self.dtype)
        return (*self.rules.lstm(gates, c), *(each + 1 for each in count)), context, alpha

    def _seen_alone(
        self, states: Float[Array, "T B n"], before: Float[Array, "B n"], memory: Memory
    ) -> Float[Array, "T B m"] | None:
        """The context's part of the deep output, where it is a multiple of one product."""
        gates = {"none": 0, "scalar": 1}.get(self.gate, self.hidden)
        if self.output == "linear" or not lone.is_alone(memory.values.shape[1], gates):
            return None
        seen = product(memory.values[:, 0], self.output_context, self.dtype)[None]
        if gates:
            states = jnp.concatenate([before[None], states[:-1]])
            seen *= nn.sigmoid(affine(states, self.gate_kernel, self.gate_bias, self.dtype))
        return seen

    def _deep_output(
        self,
        h: Float[Array, "*T B n"],
        context: Float[Array, "*T B D"],
        embedded: Float[Array, "*T B m"],
        keys: Key[Array, " B"] | None = None,
        seen: Float[Array, "*T B m"] | None = None,
    ) -> Float[Array, "*T B Dh"]:
        h = rng.dropout(h, self.hidden_dropout, keys=rng.child(keys, "hidden"), words_first=True)
        if self.output == "linear":
            return h
        if seen is None:
            seen = product(context, self.output_context, self.dtype)
        hidden = embedded + affine(h, self.output_hidden, self.output_bias, self.dtype) + seen
        if self.output == "deep_tanh":
            hidden = self.rules.tanh(hidden)
        return rng.dropout(
            hidden, self.output_dropout, keys=rng.child(keys, "output"), words_first=True
        )


SAT: dict[str, Any] = {
    "attention": 512,
    "embedding": 512,
    "init_layers": 2,
    "hidden_dropout": 0.5,
    "output_dropout": 0.5,
    "init_dropout": 0.5,
    "initialisation": "sat",
    "forget_bias": 0.0,
}
"""Fields of the paper's released model (arctic-captions); the LSTM size is the caller's choice."""

SGRVINOD: dict[str, Any] = {
    "attention": 512,
    "embedding": 512,
    "activation": "relu",
    "gate": "vector",
    "output": "linear",
    "init_activation": "linear",
    "start_input": "token",
    "hidden_dropout": 0.5,
    "initialisation": "uniform",
    "forget_bias": 0.0,
}
"""Fields of the widely used PyTorch tutorial (sgrvinod/a-PyTorch-Tutorial-to-Image-Captioning)."""
