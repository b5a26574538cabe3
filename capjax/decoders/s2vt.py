"""Sequence to sequence (S2VT): one LSTM reads descriptors one after the other, then writes words.

`S2VT` is the single-LSTM captioner of Ramanishka et al. 2017 ("Top-down Visual Saliency Guided by
Captions"), `TwoLayerS2VT` the model of Venugopalan et al. 2015 that it descends from. Shapes: L
descriptors of a sequence, D features, p projected descriptor, n LSTM size, m embedding size.
"""

from typing import Any, Literal

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Bool, Float, Int, Key

from capjax import rng
from capjax.decoders import cell
from capjax.decoders.lstm_recurrence import State, lstm_recurrence
from capjax.encoders.encoder import for_one_call
from capjax.ops.linear import affine, product
from capjax.types import Features

Scan = Literal["raster", "snake", "frames"]


def sequence(features: Features, scan: Scan) -> tuple[Float[Array, "B L D"], Bool[Array, "B L"]]:
    """The descriptors in the order in which an encoder reads them, and which of them are valid.

    "raster" reads the grid row by row (the paper, section 4.2), frame after frame; "snake" turns
    every second row around (the released code); "frames" reads one mean descriptor a frame.
    """
    if scan not in ("raster", "snake", "frames"):
        raise ValueError(f"unknown scan {scan!r}; choose 'raster', 'snake' or 'frames'")
    if scan == "frames":
        features = features.frame_means()
    positions, valid = features.positions, features.valid
    if scan == "snake":
        cells = jnp.arange(positions.shape[2]).reshape(features.grid)
        order = cells.at[1::2].set(cells[1::2, ::-1]).reshape(-1)
        positions, valid = positions[:, :, order], valid[:, :, order]
    batch, frames, cells_of_frame, depth = positions.shape
    length = frames * cells_of_frame
    return positions.reshape(batch, length, depth), valid.reshape(batch, length)


def read_sequence(
    kernel: Float[Array, "n 4n"],
    inputs: Float[Array, "B L 4n"],
    valid: Bool[Array, "B L"],
    dtype: Any,
    rules: cell.Rules,
) -> tuple[Float[Array, "B L n"], State]:
    """States of an LSTM that starts from zero, and its last (h, c).

    The first step has no state to multiply with. Caption-guided saliency reduces an image to a
    sequence of one descriptor, for which it is the only step.
    """
    first = valid[:, 0, None]
    h, c = rules.lstm(inputs[:, 0], jnp.zeros_like(inputs[:, 0, : kernel.shape[0]]))
    carry = jnp.where(first, h, 0.0), jnp.where(first, c, 0.0)
    if inputs.shape[1] == 1:
        return carry[0][:, None], carry
    states, last = lstm_recurrence(
        kernel, inputs[:, 1:].swapaxes(0, 1), carry, valid[:, 1:].T, dtype=dtype, rules=rules
    )
    return jnp.concatenate([carry[0][:, None], states.swapaxes(0, 1)], axis=1), last


class S2VT(nn.Module):
    """One LSTM, the same weights for reading and writing (Ramanishka et al. 2017, section 3).

    Reading step i takes [W v_i + b, 0], writing step t takes [0, E y_{t-1}], the first one [0, 0]:
    what is absent is zero in the projected space, not the projection of zero. Word t is
    distributed as softmax(h_t W_o + b_o).

    Deviations from the released code, each a field or a setting: `CGS` has its sizes, dropout and
    initialisation (Glorot over each block of the kernel instead of over the whole one, 8 % wider;
    the projection's bias starts at zero); `data.frequency_bias` starts b_o at the log frequencies
    of the words. Validation counts the end token like any other.

    Attributes:
      vocab_size: V.
      features: D of the encoder.
      hidden, embedding: n, m.
      projection: p; 0 for n.
      scan: see `sequence`; a model must be explained with the order it was trained with, so the
        order belongs to the model, and maps are always row by row.
      input_dropout: on projected descriptors and word embeddings; hidden_dropout: on h before the
        output.
      initialisation, forget_bias, dtype, rules: as in `AttentionLSTM`.
    """

    vocab_size: int
    features: int
    hidden: int = 512
    embedding: int = 256
    projection: int = 0
    scan: Scan = "raster"
    input_dropout: float = 0.0
    hidden_dropout: float = 0.0
    initialisation: cell.Initialisation = "lecun"
    forget_bias: float = 1.0
    dtype: Any = jnp.float32
    rules: cell.Rules = for_one_call(cell.Rules())

    def setup(self) -> None:
        kernel = cell.kernel_init(self.initialisation)
        table = cell.embedding_init(self.initialisation)
        zeros = nn.initializers.zeros
        size, width = self.hidden, self.projection or self.hidden
        self.embeddings = self.param("embedding", table, (self.vocab_size, self.embedding))
        self.feature_kernel = self.param("feature_kernel", kernel, (self.features, width))
        self.feature_bias = self.param("feature_bias", zeros, (width,))
        self.lstm_features = self.param("lstm_features", kernel, (width, 4 * size))
        self.lstm_embedding = self.param("lstm_embedding", kernel, (self.embedding, 4 * size))
        self.lstm_recurrent = self.param(
            "lstm_recurrent", cell.recurrent_kernel_init(self.initialisation), (size, 4 * size)
        )
        self.lstm_bias = self.param(
            "lstm_bias", cell.forget_bias_init(self.forget_bias), (4 * size,)
        )
        self.head_kernel = self.param("head_kernel", table, (size, self.vocab_size))
        self.head_bias = self.param("head_bias", zeros, (self.vocab_size,))

    def start(
        self,
        features: Features,
        keys: Key[Array, " B"] | None = None,
        length: int | None = None,
    ) -> tuple[State, None]:
        """The state after reading; nothing of the image is read later."""
        del length  # the state does not grow
        values, valid = sequence(features, self.scan)
        projected = affine(values, self.feature_kernel, self.feature_bias, self.dtype)
        projected = rng.dropout(projected, self.input_dropout, keys=rng.child(keys, "frames"))
        inputs = affine(projected, self.lstm_features, self.lstm_bias, self.dtype)
        _, carry = read_sequence(self.lstm_recurrent, inputs, valid, self.dtype, self.rules)
        return carry, None

    def step(
        self, carry: State, token: Int[Array, " B"], memory: None = None
    ) -> tuple[State, Float[Array, "B n"], None]:
        """One word further: `token` is the previous word (NO_TOKEN at first)."""
        gates = affine(self._embed(token), self.lstm_embedding, self.lstm_bias, self.dtype)
        carry = self.rules.lstm(
            gates + product(carry[0], self.lstm_recurrent, self.dtype), carry[1]
        )
        return carry, carry[0], None

    def readout(self, hidden: Float[Array, "*N n"]) -> Float[Array, "*N V"]:
        """Logits, in float32."""
        return affine(hidden, self.head_kernel, self.head_bias, self.dtype)

    def head(self) -> tuple[Float[Array, "n V"], Float[Array, " V"]]:
        """The affine layer that `readout` applies."""
        return self.head_kernel, self.head_bias

    def __call__(
        self,
        features: Features,
        tokens: Int[Array, "B T"],
        keys: Key[Array, " B"] | None = None,
    ) -> tuple[Float[Array, "B T n"], None]:
        """Teacher forcing: what `scan(step)` returns, with the input products outside it."""
        carry, _ = self.start(features, keys)
        embedded = cell.read_words(self, self._embed(cell.shift(tokens)))
        embedded = rng.dropout(embedded, self.input_dropout, keys=rng.child(keys, "embedding"))
        gates = affine(embedded, self.lstm_embedding, self.lstm_bias, self.dtype)
        states, _ = lstm_recurrence(
            self.lstm_recurrent, gates.swapaxes(0, 1), carry, dtype=self.dtype
        )
        hidden = states.swapaxes(0, 1)
        return rng.dropout(hidden, self.hidden_dropout, keys=rng.child(keys, "hidden")), None

    def _embed(self, tokens: Int[Array, "*N"]) -> Float[Array, "*N m"]:
        zero = jnp.zeros((self.embedding,), self.embeddings.dtype)
        return self.rules.word(cell.look_up(self.embeddings, zero, tokens))


class TwoLayerS2VT(nn.Module):
    """Two LSTMs, the lower one for frames and the upper one for words (Venugopalan et al. 2015).

    At every step the lower LSTM takes a projected frame and the upper one
    [h of the lower, word embedding, stage], with stage 0 while reading and 1 while writing. While
    reading the word is the first row, which also is the first word input of writing (the released
    code uses the end token's row for both; no caption goes on after its end token, so that row has
    no other use). While writing the frame is a zero descriptor, whose projection is the bias.

    Attributes:
      vocab_size: V.
      features: D of the encoder.
      hidden: n of either LSTM; embedding, projection: m, p.
      scan: see `sequence`.
      frame_dropout, embedding_dropout, lower_dropout, hidden_dropout: on projected frames, word
        embeddings, the lower LSTM's output and the upper one's; off in the released solver.
      initialisation, forget_bias, dtype, rules: as in `AttentionLSTM`; the released code draws
        from U(±0.08).
    """

    vocab_size: int
    features: int
    hidden: int = 1000
    embedding: int = 500
    projection: int = 500
    scan: Scan = "frames"
    frame_dropout: float = 0.0
    embedding_dropout: float = 0.0
    lower_dropout: float = 0.0
    hidden_dropout: float = 0.0
    initialisation: cell.Initialisation = "lecun"
    forget_bias: float = 1.0
    dtype: Any = jnp.float32
    rules: cell.Rules = for_one_call(cell.Rules())

    def setup(self) -> None:
        kernel = cell.kernel_init(self.initialisation)
        table = cell.embedding_init(self.initialisation)
        recurrent = cell.recurrent_kernel_init(self.initialisation)
        bias = cell.forget_bias_init(self.forget_bias)
        zeros = nn.initializers.zeros
        size, width = self.hidden, self.projection
        self.embeddings = self.param("embedding", table, (self.vocab_size, self.embedding))
        self.first = self.param("start", table, (self.embedding,))
        self.feature_kernel = self.param("feature_kernel", kernel, (self.features, width))
        self.feature_bias = self.param("feature_bias", zeros, (width,))
        self.lower_features = self.param("lower_features", kernel, (width, 4 * size))
        self.lower_recurrent = self.param("lower_recurrent", recurrent, (size, 4 * size))
        self.lower_bias = self.param("lower_bias", bias, (4 * size,))
        self.upper_lower = self.param("upper_lower", kernel, (size, 4 * size))
        self.upper_embedding = self.param("upper_embedding", kernel, (self.embedding, 4 * size))
        self.upper_stage = self.param("upper_stage", zeros, (4 * size,))
        self.upper_recurrent = self.param("upper_recurrent", recurrent, (size, 4 * size))
        self.upper_bias = self.param("upper_bias", bias, (4 * size,))
        self.head_kernel = self.param("head_kernel", table, (size, self.vocab_size))
        self.head_bias = self.param("head_bias", zeros, (self.vocab_size,))

    def start(
        self,
        features: Features,
        keys: Key[Array, " B"] | None = None,
        length: int | None = None,
    ) -> tuple[tuple[State, State], None]:
        """The states after reading; nothing of the image is read later."""
        del length  # the state does not grow
        values, valid = sequence(features, self.scan)
        projected = affine(values, self.feature_kernel, self.feature_bias, self.dtype)
        projected = rng.dropout(projected, self.frame_dropout, keys=rng.child(keys, "frames"))
        inputs = affine(projected, self.lower_features, self.lower_bias, self.dtype)
        states, lower = read_sequence(self.lower_recurrent, inputs, valid, self.dtype, self.rules)
        states = rng.dropout(states, self.lower_dropout, keys=rng.child(keys, "lower_frames"))
        first = self.rules.word(self.first)
        inputs = self._upper_inputs(states, first.reshape(1, 1, -1), writing=False)
        _, upper = read_sequence(self.upper_recurrent, inputs, valid, self.dtype, self.rules)
        return (lower, upper), None

    def step(
        self, carry: tuple[State, State], token: Int[Array, " B"], memory: None = None
    ) -> tuple[tuple[State, State], Float[Array, "B n"], None]:
        """One word further: `token` is the previous word (NO_TOKEN at first)."""
        (lower_h, lower_c), (upper_h, upper_c) = carry
        gates = self._no_frame()[None] + product(lower_h, self.lower_recurrent, self.dtype)
        lower = self.rules.lstm(gates, lower_c)
        inputs = self._upper_inputs(lower[0], self._embed(token), writing=True)
        gates = inputs + product(upper_h, self.upper_recurrent, self.dtype)
        upper = self.rules.lstm(gates, upper_c)
        return (lower, upper), upper[0], None

    def readout(self, hidden: Float[Array, "*N n"]) -> Float[Array, "*N V"]:
        """Logits, in float32."""
        return affine(hidden, self.head_kernel, self.head_bias, self.dtype)

    def head(self) -> tuple[Float[Array, "n V"], Float[Array, " V"]]:
        """The affine layer that `readout` applies."""
        return self.head_kernel, self.head_bias

    def __call__(
        self,
        features: Features,
        tokens: Int[Array, "B T"],
        keys: Key[Array, " B"] | None = None,
    ) -> tuple[Float[Array, "B T n"], None]:
        """Teacher forcing: what `scan(step)` returns, one LSTM after the other."""
        (lower, upper), _ = self.start(features, keys)
        batch, length = tokens.shape
        nothing = jnp.broadcast_to(self._no_frame(), (length, batch, 4 * self.hidden))
        states, _ = lstm_recurrence(self.lower_recurrent, nothing, lower, dtype=self.dtype)
        states = states.swapaxes(0, 1)
        states = rng.dropout(states, self.lower_dropout, keys=rng.child(keys, "lower_words"))
        embedded = cell.read_words(self, self._embed(cell.shift(tokens)))
        embedded = rng.dropout(embedded, self.embedding_dropout, keys=rng.child(keys, "embedding"))
        inputs = self._upper_inputs(states, embedded, writing=True).swapaxes(0, 1)
        states, _ = lstm_recurrence(self.upper_recurrent, inputs, upper, dtype=self.dtype)
        hidden = states.swapaxes(0, 1)
        return rng.dropout(hidden, self.hidden_dropout, keys=rng.child(keys, "hidden")), None

    def _no_frame(self) -> Float[Array, " 4n"]:
        """The lower LSTM's input where there is no frame: the projection of zero."""
        bias = self.feature_bias[None]
        return affine(bias, self.lower_features, self.lower_bias, self.dtype)[0]

    def _upper_inputs(
        self, lower: Float[Array, "*N n"], embedded: Float[Array, "*M m"], *, writing: bool
    ) -> Float[Array, "*N 4n"]:
        bias = self.upper_bias + self.upper_stage if writing else self.upper_bias
        word = affine(embedded, self.upper_embedding, bias, self.dtype)
        return word + product(lower, self.upper_lower, self.dtype)

    def _embed(self, tokens: Int[Array, "*N"]) -> Float[Array, "*N m"]:
        return self.rules.word(cell.look_up(self.embeddings, self.first, tokens))


CGS: dict[str, Any] = {
    "hidden": 1300,
    "embedding": 300,
    "projection": 1300,
    "input_dropout": 0.5,
    "hidden_dropout": 0.5,
    "initialisation": "glorot",
    "forget_bias": 1.0,
}
"""Fields of the released captioner of Ramanishka et al. 2017 for `S2VT`."""
