"""A plain LSTM over a sequence, with its own backward pass.

    a_t = x_t + h_{t-1} W,   (h_t, c_t) = LSTM(a_t, c_{t-1})

A scan's own gradient of W adds up T small products and reads and writes W's size T times; here the
backward loop stacks the gradients of a_t, and the gradient of W is one product after it (see
`recurrence`, which is this with attention). A hand-written backward pass has no forward mode:
`jax.jvp` through it is an error.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from capjax.decoders import lstm_kernel
from capjax.decoders.cell import Kept, Rules, backward_step, forward_step, lstm
from capjax.ops import platform
from capjax.ops.linear import outer_sum, product, times_transposed

State = tuple[Float[Array, "B n"], Float[Array, "B n"]]


def lstm_recurrence(
    kernel: Float[Array, "n 4n"],
    inputs: Float[Array, "T B 4n"],
    carry: State,
    valid: Bool[Array, "T B"] | None = None,
    *,
    dtype: Any,
    rules: Rules | None = None,
) -> tuple[Float[Array, "T B n"], State]:
    """States h after each step, and (h, c) after the last.

    Args:
      kernel: W, gates in the order input, forget, output, candidate.
      inputs: x_t, with the LSTM's bias.
      carry: (h, c) before the first step.
      valid: where False, the step changes nothing.
      dtype: of the matrix products; they accumulate in float32, and all else is in float32.
      rules: of the cell; with others than the usual ones autodiff differentiates the loop.
    """
    if rules is not None and rules.lstm is not lstm:
        return _ruled(kernel, inputs, carry, valid, rules, dtype)
    states, memory = _recurrence(dtype, kernel, inputs, *carry, valid)
    return states, (states[-1], memory)


def _ruled(
    kernel: Array, inputs: Array, carry: State, valid: Array | None, rules: Rules, dtype: Any
) -> tuple[Array, State]:
    def body(before: State, step: tuple[Array, Array | None]) -> tuple[State, Array]:
        given, keep = step
        h, c = rules.lstm(given + product(before[0], kernel, dtype), before[1])
        if keep is not None:
            h = jnp.where(keep[:, None], h, before[0])
            c = jnp.where(keep[:, None], c, before[1])
        return (h, c), h

    last, states = jax.lax.scan(body, carry, (inputs, valid))
    return states, last


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _recurrence(
    dtype: Any, kernel: Array, inputs: Array, h: Array, c: Array, valid: Array | None
) -> tuple[Array, Array]:
    """Where no gradient is asked for, accelerators keep no gates, and states in `dtype`."""

    def exact(*arguments: Any) -> tuple[Array, Array]:
        return _forward(dtype, *arguments)[0]

    if jnp.dtype(dtype) != jnp.bfloat16:
        return exact(kernel, inputs, h, c, valid)

    def rounded(kernel: Array, inputs: Array, h: Array, c: Array, valid: Array | None) -> Any:
        states, memory = narrow(kernel.astype(dtype), inputs, h, c, valid)
        return states.astype(h.dtype), memory

    def fused(kernel: Array, inputs: Array, h: Array, c: Array, valid: Array | None) -> Any:
        if valid is not None:
            return rounded(kernel, inputs, h, c, valid)
        states, memory = lstm_kernel.foldable(narrow)(kernel.astype(dtype), inputs, h, c)
        return states.astype(h.dtype), memory

    kernels = {"cuda": fused} if platform.triton_runs() else {}
    arguments = (kernel, inputs, h, c, valid)
    found: tuple[Array, Array] = jax.lax.platform_dependent(
        *arguments, cpu=exact, **kernels, default=rounded
    )
    return found


def narrow(
    kernel: Array, inputs: Array, h: Array, c: Array, valid: Array | None = None
) -> tuple[Array, Array]:
    """States in the dtype of the kernel, to which the product rounds them, and the last c."""

    def body(carry: State, step: tuple[Array, Array | None]) -> tuple[State, Array]:
        h, c = carry
        given, keep = step
        state, memory = lstm(given + product(h, kernel, kernel.dtype), c)
        state = state.astype(h.dtype)
        if keep is not None:
            state = jnp.where(keep[:, None], state, h)
            memory = jnp.where(keep[:, None], memory, c)
        return (state, memory), state

    (_, memory), states = jax.lax.scan(body, (h.astype(kernel.dtype), c), (inputs, valid))
    return states, memory


def _forward(
    dtype: Any, kernel: Array, inputs: Array, h: Array, c: Array, valid: Array | None
) -> tuple[tuple[Array, Array], tuple[Any, ...]]:
    rounded = kernel.astype(dtype)

    def body(carry: State, step: tuple[Array, Array | None]) -> tuple[State, tuple[Array, Kept]]:
        h, c = carry
        given, keep = step
        state, kept = forward_step(given + product(h, rounded, dtype), c)
        if keep is not None:
            state = jnp.where(keep[:, None], state, h)
            kept = kept._replace(cell=jnp.where(keep[:, None], kept.cell, c))
        return (state, kept.cell), (state, kept)

    (_, memory), (states, kept) = jax.lax.scan(body, (h, c), (inputs, valid))
    return (states, memory), (kernel, h, c, valid, states, kept)


def _backward(
    dtype: Any, residuals: tuple[Any, ...], d_outputs: tuple[Array, Array]
) -> tuple[Any, ...]:
    kernel, h, c, valid, states, kept = residuals
    rounded = kernel.astype(dtype)

    def body(carry: State, step: tuple[Any, ...]) -> tuple[State, Array]:
        d_h, d_c = carry
        d_state, kept, before, keep = step
        d_h = d_h + d_state
        held = jnp.zeros_like(d_h), jnp.zeros_like(d_c)
        if keep is not None:
            held = jnp.where(keep[:, None], 0.0, d_h), jnp.where(keep[:, None], 0.0, d_c)
            d_h, d_c = d_h - held[0], d_c - held[1]
        d_gates, d_c = backward_step(d_h, d_c, kept, before)
        return (times_transposed(d_gates, rounded) + held[0], d_c + held[1]), d_gates

    d_states, d_memory = d_outputs
    cells = jnp.concatenate([c[None], kept.cell[:-1]])
    (d_h, d_c), d_inputs = jax.lax.scan(
        body, (jnp.zeros_like(h), d_memory), (d_states, kept, cells, valid), reverse=True
    )
    d_kernel = outer_sum(jnp.concatenate([h[None], states[:-1]]), d_inputs, dtype)
    return d_kernel.astype(kernel.dtype), d_inputs, d_h, d_c, None


_recurrence.defvjp(_forward, _backward)
