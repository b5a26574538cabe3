"""What every LSTM decoder shares: the cell, its initialisers, and the shift of tokens."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Int

from capjax.types import NO_TOKEN

READ_WORDS = "read_words"
"""The collection where teacher forcing records the embeddings it reads; see `read_words`."""
MOVED_WORDS = "moved_words"
"""The collection of variables that `moved_words` adds."""

Initialisation = Literal["lecun", "uniform", "sat", "glorot"]


class Kept(NamedTuple):
    """What the backward pass needs of a step: gates after their nonlinearity, and the cell."""

    gates: Float[Array, "B 4n"]
    cell: Float[Array, "B n"]


def lstm(
    gate_sums: Float[Array, "B 4n"], memory: Float[Array, "B n"]
) -> tuple[Float[Array, "B n"], Float[Array, "B n"]]:
    """(h, c) from packed pre-activations in the order input, forget, output, candidate."""
    state, kept = forward_step(gate_sums, memory)
    return state, kept.cell


def _same(values: Array) -> Array:
    return values


@dataclasses.dataclass(frozen=True)
class Rules:
    """What `start` and `step` of an LSTM decoder do beside affine maps.

    A method may replace them for a call of its own, for another backward pass, by functions with
    the same values. Teacher forcing as a whole has a backward pass written by hand, which does not
    ask: with other rules, scan `step`.

    Attributes:
      tanh, relu: of projections, initial states and deep outputs.
      weight: of what a signal is multiplied by, attention over positions and a context's gate.
      word: of the embeddings of words, first inputs among them.
      lstm: the cell.
    """

    tanh: Callable[[Array], Array] = jnp.tanh
    relu: Callable[[Array], Array] = nn.relu
    weight: Callable[[Array], Array] = _same
    word: Callable[[Array], Array] = _same
    lstm: Callable[[Array, Array], tuple[Array, Array]] = lstm


def forward_step(gate_sums: Float[Array, "B 4n"], memory: Float[Array, "B n"]) -> tuple[Any, Kept]:
    """The state after a step, and what its backward pass needs."""
    size = memory.shape[1]
    # sigmoid(x) = tanh(x / 2) / 2 + 1 / 2. One operation for all gates: an accelerator fuses it
    # into the product that made them, as it does not where parts are put side by side.
    slope = jnp.where(jnp.arange(4 * size) < 3 * size, 0.5, 1.0).astype(gate_sums.dtype)[None]
    gates = slope * jnp.tanh(slope * gate_sums) + (1 - slope)
    entry, forget, output, candidate = jnp.split(gates, 4, axis=1)
    memory = forget * memory + entry * candidate
    return output * jnp.tanh(memory), Kept(gates, memory)


def backward_step(
    d_h: Float[Array, "B n"], d_c: Float[Array, "B n"], kept: Kept, before: Float[Array, "B n"]
) -> tuple[Float[Array, "B 4n"], Float[Array, "B n"]]:
    """Gradients of the packed pre-activations and of the cell before the step."""
    entry, forget, output, candidate = jnp.split(kept.gates, 4, axis=1)
    squashed = jnp.tanh(kept.cell)
    d_c = d_c + d_h * output * (1 - jnp.square(squashed))
    d_gate_sums = [
        d_c * candidate * entry * (1 - entry),
        d_c * before * forget * (1 - forget),
        d_h * squashed * output * (1 - output),
        d_c * entry * (1 - jnp.square(candidate)),
    ]
    return jnp.concatenate(d_gate_sums, axis=1), d_c * forget


def shift(tokens: Int[Array, "B T"]) -> Int[Array, "B T"]:
    """The previous token at every step, NO_TOKEN first: the only place where tokens move."""
    return jnp.pad(tokens[:, :-1], ((0, 0), (1, 0)), constant_values=NO_TOKEN)


def moved_words(variables: Mapping[str, Any], delta: Float[Array, "B T m"]) -> dict[str, Any]:
    """Variables of a captioner with which teacher forcing adds `delta` to the embeddings it reads.

    What is read at a step is the word before: `delta[:, t]` moves word t - 1. A delta of zero
    changes no number, and derivatives by it are those by the embeddings.
    """
    return {**variables, MOVED_WORDS: {"decoder": {"delta": delta}}}


def read_words(module: nn.Module, embedded: Float[Array, "B T m"]) -> Float[Array, "B T m"]:
    """The embeddings that a decoder's teacher forcing reads: moved, and recorded, where asked."""
    if not module.is_initializing():  # what is recorded is no weight
        module.sow(READ_WORDS, "embedded", embedded)
    delta: Any = module.get_variable(MOVED_WORDS, "delta", None)
    return embedded if delta is None else embedded + delta


def look_up(
    embedding: Float[Array, "V m"], first: Float[Array, " m"], tokens: Int[Array, "*N"]
) -> Float[Array, "*N m"]:
    """Embeddings of tokens, `first` where a token is NO_TOKEN."""
    rows = embedding[jnp.maximum(tokens, 0)]
    return jnp.where((tokens == NO_TOKEN)[..., None], jnp.broadcast_to(first, rows.shape), rows)


def kernel_init(initialisation: Initialisation) -> nn.initializers.Initializer:
    """The initialiser of a plain kernel.

    "lecun": N(0, 1/fan in), linen's own; "uniform": U(±1/sqrt(fan in)), PyTorch's, which is 1.7
    times narrower and learnt more slowly from frozen features here; "sat": N(0, 0.01²), as
    arctic-captions; "glorot": U(±sqrt(6 / (fan in + fan out))), as TensorFlow 1.
    """
    if initialisation == "glorot":
        return nn.initializers.glorot_uniform()
    if initialisation == "sat":
        return nn.initializers.normal(0.01)
    if initialisation == "uniform":
        return nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
    return nn.initializers.lecun_normal()


def embedding_init(initialisation: Initialisation) -> nn.initializers.Initializer:
    """The initialiser of embeddings and of the last layer.

    As `kernel_init`, with two exceptions. With "lecun" each component of an embedding has variance
    1/m. With "uniform" both are U(±0.1), as in the sgrvinod tutorial.
    """
    if initialisation == "glorot":
        # A vector (a first input) is drawn like a row of its table.
        return lambda key, shape, dtype=jnp.float32: nn.initializers.glorot_uniform()(
            key, (1, *shape)[-2:], dtype
        ).reshape(shape)
    if initialisation == "sat":
        return nn.initializers.normal(0.01)
    if initialisation == "uniform":
        return lambda key, shape, dtype=jnp.float32: jax.random.uniform(
            key, shape, dtype, -0.1, 0.1
        )
    return lambda key, shape, dtype=jnp.float32: (
        jax.random.normal(key, shape, dtype) / math.sqrt(min(shape))
    )


def recurrent_kernel_init(initialisation: Initialisation) -> nn.initializers.Initializer:
    """The initialiser of the product with the state: `recurrent_init`, or Glorot's."""
    return kernel_init("glorot") if initialisation == "glorot" else recurrent_init


def recurrent_init(
    key: Array, shape: tuple[int, int], dtype: jnp.dtype = jnp.float32
) -> Float[Array, "n 4n"]:
    """Four orthogonal n x n blocks side by side (arctic-captions)."""
    keys = jax.random.split(key, shape[1] // shape[0])
    orthogonal = nn.initializers.orthogonal()
    return jnp.concatenate([orthogonal(k, (shape[0], shape[0]), dtype) for k in keys], axis=1)


def forget_bias_init(value: float) -> nn.initializers.Initializer:
    """Zero, except `value` for the forget gate (kept inside the bias, as in Keras)."""

    def init(key: Array, shape: tuple[int], dtype: jnp.dtype = jnp.float32) -> Float[Array, " 4n"]:
        del key
        width = math.prod(shape) // 4
        return jnp.zeros(shape, dtype).at[width : 2 * width].set(value)

    return init
