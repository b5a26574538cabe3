"""Steps of an LSTM as one kernel each, for a GPU: gates never reach memory.

A program of the kernel computes all four gates of some units for some rows, so that the cell is
updated where the products end:

    a = x + h W,   c <- sigmoid(a_f) c + sigmoid(a_i) tanh(a_g),   h <- sigmoid(a_o) tanh(c)

Between steps h is in bfloat16, to which the product rounds it anyway, and c in float32. Letters: R
rows, P inputs of a step, n LSTM size, gates in the order of `cell`. There is no gradient.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jaxtyping import Array, Float

ROWS, UNITS, DEPTH = 128, 64, 64
"""Of a tile of the product; powers of two."""

FEWEST = 64
"""Tiles of a step below which they would leave most of a GPU without work."""


def tiles(rows: int, size: int) -> int:
    """Tiles of a step; 0 where they do not cover the state."""
    return 0 if size % UNITS or size % DEPTH else -(-rows // ROWS) * (size // UNITS)


def foldable(
    plain: Callable[..., Any], *, mapped: bool = False, interpret: bool = False
) -> Callable[..., Any]:
    """Computes what `run` does, with one kernel a step for all that `vmap` maps over.

    What is mapped over becomes rows of the same product. Where nothing is, or where too few tiles
    would fill a GPU, it is `plain`: XLA, which would not divide the kernel, can then divide a batch
    over devices.

    Args:
      plain: the same function of (kernel, inputs, h, c), for as many inputs as rows.
      mapped: whether the rows are those of a mapped function already.
      interpret: run kernels as plain JAX, to test them where no GPU is.
    """

    def several(kernel: Array, inputs: Array, h: Array, c: Array) -> Any:
        if mapped and tiles(*h.shape) >= FEWEST:
            return run(kernel, inputs, h, c, interpret=interpret)
        return plain(kernel, jnp.tile(inputs, (1, h.shape[0] // inputs.shape[1], 1)), h, c)

    folded = jax.custom_batching.custom_vmap(several)

    @folded.def_vmap
    def _fold(
        size: int, batched: list[bool], kernel: Array, inputs: Array, h: Array, c: Array
    ) -> Any:
        if batched[0]:
            axes = [0 if each else None for each in batched]
            return jax.vmap(several, axes)(kernel, inputs, h, c), (True, True)
        rows = h.shape[-2]
        if batched[1]:
            inputs = jnp.tile(inputs, (1, 1, rows // inputs.shape[2], 1))
            inputs = jnp.moveaxis(inputs, 0, 1).reshape(inputs.shape[1], size * rows, -1)
        h, c = (
            (each if own else jnp.broadcast_to(each, (size, *each.shape))).reshape(size * rows, -1)
            for each, own in zip((h, c), batched[2:], strict=True)
        )
        inner = foldable(plain, mapped=True, interpret=interpret)
        states, memory = inner(kernel, inputs, h, c)
        states = jnp.moveaxis(states.reshape(states.shape[0], size, rows, -1), 1, 0)
        return (states, memory.reshape(size, rows, -1)), (True, True)

    return folded


def run(
    kernel: Float[Array, "n 4n"],
    inputs: Float[Array, "T P 4n"],
    h: Float[Array, "R n"],
    c: Float[Array, "R n"],
    *,
    interpret: bool = False,
) -> tuple[Float[Array, "T R n"], Float[Array, "R n"]]:
    """States h after each step, rounded to bfloat16, and c after the last.

    Args:
      kernel: W, bfloat16; n a multiple of `UNITS` and `DEPTH`.
      inputs: x of each step, float32; row r takes entry r modulo P.
      h, c: before the first step; c float32.
      interpret: run as plain JAX.
    """
    from jax.experimental.pallas import triton

    (rows, size), period = h.shape, inputs.shape[1]
    more = ((0, -rows % ROWS), (0, 0))
    state = jnp.pad(h.astype(kernel.dtype), more), jnp.pad(c, more)
    count = state[0].shape[0]
    own = pl.BlockSpec((ROWS, UNITS), lambda row, unit: (row, unit))
    step = pl.pallas_call(
        _tile,
        grid=(count // ROWS, size // UNITS),
        in_specs=[
            pl.BlockSpec((size, 4, UNITS), lambda row, unit: (0, 0, unit)),
            pl.BlockSpec((period, 4, UNITS), lambda row, unit: (0, 0, unit)),
            pl.BlockSpec((ROWS, size), lambda row, unit: (row, 0)),
            own,
        ],
        out_specs=[own, own],
        out_shape=[jax.ShapeDtypeStruct((count, size), each.dtype) for each in state],
        input_output_aliases={3: 1},
        compiler_params=triton.CompilerParams(num_warps=8, num_stages=3),
        interpret=interpret,
        name="lstm_step_gpu",
    )
    gates = kernel.reshape(size, 4, size)

    def body(carry: tuple[Array, Array], given: Array) -> tuple[Any, Array]:
        h, c = step(gates, given.reshape(period, 4, size), *carry)
        return (h, c), h

    # Within a turn the state goes from buffer to buffer; from turn to turn a loop may copy it.
    turn = max(each for each in range(1, 9) if inputs.shape[0] % each == 0)
    (_, memory), states = jax.lax.scan(body, state, inputs, unroll=turn)
    return states[:, :rows], memory[:rows]


def _tile(kernel: Any, inputs: Any, h: Any, before: Any, state: Any, after: Any) -> None:
    rows, size = h.shape

    def deeper(step: Array, sums: tuple[Array, ...]) -> tuple[Array, ...]:
        inner = pl.ds(step * DEPTH, DEPTH)
        own = h[:, inner]
        return tuple(
            total + jnp.dot(own, kernel[inner, gate], preferred_element_type=jnp.float32)
            for gate, total in enumerate(sums)
        )

    zeros = jnp.zeros(before.shape, jnp.float32)
    sums = jax.lax.fori_loop(0, size // DEPTH, deeper, (zeros,) * 4)
    row = (pl.program_id(0) * rows + jnp.arange(rows)) % inputs.shape[0]
    entry, forget, output, candidate = (
        total + inputs[row, gate] for gate, total in enumerate(sums)
    )
    memory = _sigmoid(forget) * before[...] + _sigmoid(entry) * jnp.tanh(candidate)
    after[...] = memory
    state[...] = (_sigmoid(output) * jnp.tanh(memory)).astype(state.dtype)


def _sigmoid(values: Array) -> Array:
    return 0.5 * jnp.tanh(0.5 * values) + 0.5
