"""The recurrence of the soft-attention LSTM over a whole caption, with its own backward pass.

`AttentionLSTM.step` defines one step; this is the same recurrence for all T steps of teacher
forcing, in the form that trains fast. Shapes: L positions, D features, A attention size, n LSTM
size, G gates of the context (D for a vector gate, 1 for a scalar gate, 0 for none).

Forward, t = 0 .. T-1, from the state h, c before the step:

    [q, g, r] = h [W_q, W_g, W_r]            one product for all that reads the state
    alpha = softmax(w . act(k + q))          over positions; k are the keys
    m = sum_i alpha_i v_i,  z = sigmoid(g + b_g) m
    u = x_t + r + z W_z,  h, c = LSTM(u, c)  x_t is the word's part of the gates

Backward, t = T-1 .. 0, with dy the gradient of the loss with respect to y:

    du, dc from dh, dc                       the cell
    dz += du W_z',  dm = sigmoid(g + b_g) dz,  dg = (dz m) sigmoid'(g + b_g)
    dalpha_i += v_i . dm,  de = alpha (dalpha - alpha . dalpha)
    dq = w sum_i de_i act'(k_i + q),  dk_i += w de_i act'(k_i + q)
    dh = [dq, dg, du] [W_q, W_g, W_r]'

What no earlier step needs is left until after the loop: the gradient of each weight is one product
over all T steps of the stacked [dq, dg, du] (a scan's own gradient adds up T small products, reads
and writes the weights' size T times, and runs at a fraction of the matrix rate), and the gradient
of the values is one batched product, which the compiler drops where no one asks for it (a frozen
encoder). act(k + q) is computed again instead of kept: [T B L A] would be the largest array of all.

With hard attention the context is m = sum_i s_i v_i instead, s the chosen position (or alpha, where
an example reads the expectation): no gradient of m reaches alpha where s was chosen, and that of
the values is weighed by s.

A position that is alone (caption-guided saliency reduces an image to one) takes a shorter way
forwards, see `lone`.

A hand-written backward pass has no forward mode: `jax.jvp` through `recurrence` is an error.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from capjax.decoders import cell, lone
from capjax.decoders.energy import Activation, activate, scores, slope_of, sum_of_parts
from capjax.decoders.selection import Draws, choose
from capjax.ops import platform
from capjax.ops.linear import batched_product, outer_sum, product, times_transposed

_TOGETHER = 32
"""Words whose shares in the gradient of the keys are added up in one pass."""


class Outputs(NamedTuple):
    """What each step gives.

    Attributes:
      states: h after the step.
      contexts: z, after the gate.
      alphas: attention.
      chosen: what the context weighed the positions with; None where it is alpha for all.
    """

    states: Float[Array, "T B n"]
    contexts: Float[Array, "T B D"]
    alphas: Float[Array, "T B L"]
    chosen: Float[Array, "T B L"] | None


class Weights(NamedTuple):
    """What the recurrence multiplies with.

    Attributes:
      state: W_q, W_g and W_r side by side.
      gate_bias: b_g.
      score: w.
      context: W_z.
    """

    state: Float[Array, "n A+G+4n"]
    gate_bias: Float[Array, " G"]
    score: Float[Array, " A"]
    context: Float[Array, "D 4n"]


class _Kept(NamedTuple):
    """What the backward pass needs of each step; gates are kept after their nonlinearity."""

    query: Float[Array, "B A"]
    gate: Float[Array, "B G"]
    mixed: Float[Array, "B D"]
    cell: cell.Kept


def recurrence(
    weights: Weights,
    inputs: Float[Array, "T B 4n"],
    carry: tuple[Float[Array, "B n"], Float[Array, "B n"]],
    keys: Float[Array, "B L A"],
    values: Float[Array, "B L D"],
    valid: Bool[Array, "B L"],
    *,
    activation: Activation,
    dtype: Any,
    draws: Draws | None = None,
) -> Outputs:
    """States, contexts and attention of a whole caption.

    Args:
      weights: see `Weights`.
      inputs: x_t, the word's part of the gates, with the LSTM's bias.
      carry: (h, c) before the first step.
      keys, values, valid: of the positions; invalid ones get no attention.
      activation: act, of the attention score.
      dtype: of matrix products; they accumulate in float32, and all else is in float32, but for
        the keys, which accelerators keep in `dtype`.
      draws: chooses one position a word: hard attention.
    """
    return _recurrence(activation, dtype, weights, inputs, *carry, keys, values, valid, draws)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _recurrence(
    activation: Activation,
    dtype: Any,
    weights: Weights,
    inputs: Array,
    h: Array,
    c: Array,
    keys: Array,
    values: Array,
    valid: Array,
    draws: Draws | None,
) -> Outputs:
    return _forward(activation, dtype, weights, inputs, h, c, keys, values, valid, draws)[0]


def _forward(
    activation: Activation,
    dtype: Any,
    weights: Weights,
    inputs: Array,
    h: Array,
    c: Array,
    keys: Array,
    values: Array,
    valid: Array,
    draws: Draws | None,
) -> tuple[Outputs, tuple[Any, ...]]:
    attention, gates = weights.score.shape[0], weights.gate_bias.shape[0]
    splits = (attention, attention + gates)
    state_kernel, context_kernel = weights.state.astype(dtype), weights.context.astype(dtype)

    alone = lone.is_alone(keys.shape[1], gates)
    lifted = product(values[:, 0], context_kernel, dtype) if alone else None

    rounded = keys.astype(dtype)

    def body(
        carry: tuple[Array, Array], step: tuple[Any, ...]
    ) -> tuple[Any, tuple[Outputs, _Kept]]:
        (h, c), (word, noise) = carry, step
        if alone:
            query, gate, recurrent = lone.read(h, jnp.split(state_kernel, splits, axis=1))
        else:
            query, gate, recurrent = jnp.split(product(h, state_kernel, dtype), splits, axis=1)
        energy = scores(activate(rounded, query, activation), weights.score, dtype)
        alpha = jax.nn.softmax(jnp.where(valid, energy, -jnp.inf))
        chosen = None
        if draws is not None:
            chosen = jnp.where(draws.expected[:, None], alpha, choose(alpha, noise))
        mixed = batched_product("bl,bld->bd", alpha if chosen is None else chosen, values)
        gate = jax.nn.sigmoid(gate + weights.gate_bias[None])
        context = mixed * gate if gates else mixed
        if lifted is None:
            seen = product(context, context_kernel, dtype)
        else:
            seen = lifted * gate if gates else lifted
        h, own = cell.forward_step(word + recurrent + seen, c)
        return (h, own.cell), (Outputs(h, context, alpha, chosen), _Kept(query, gate, mixed, own))

    noise = None if draws is None else draws.noise
    _, (outputs, kept) = jax.lax.scan(body, (h, c), (inputs, noise))
    expected = None if draws is None else draws.expected
    return outputs, (weights, h, c, keys, values, outputs, kept, expected)


def _backward(
    activation: Activation, dtype: Any, residuals: tuple[Any, ...], d_outputs: Outputs
) -> tuple[Any, ...]:
    weights, h, _, keys, values, outputs, kept, _ = residuals
    states, contexts, alphas, chosen = outputs
    attention, gates = weights.score.shape[0], weights.gate_bias.shape[0]
    (d_h, d_c), d_reads, d_mixed, d_keys, d_score = platform.on_processor(
        functools.partial(_loop_with_keys, activation, dtype),
        functools.partial(_loop_then_keys, activation, dtype),
        residuals,
        d_outputs,
    )
    _, d_gates, d_inputs = jnp.split(d_reads, (attention, attention + gates), axis=2)
    d_weights = Weights(
        state=outer_sum(jnp.concatenate([h[None], states[:-1]]), d_reads, dtype),
        gate_bias=jnp.sum(d_gates, axis=(0, 1)),
        score=d_score,
        context=outer_sum(contexts, d_inputs, dtype),
    )
    weighing = alphas if chosen is None else chosen
    d_values = jnp.einsum("tbl,tbd->bld", weighing, d_mixed).astype(values.dtype)
    d_keys = d_keys * weights.score[None, None]
    return d_weights, d_inputs, d_h, d_c, d_keys, d_values, None, None


def _loop_with_keys(
    activation: Activation, dtype: Any, residuals: tuple[Any, ...], d_outputs: Outputs
) -> tuple[Any, ...]:
    """The backward loop, with the gradient of the keys added up a step at a time.

    On a processor act costs more than the way of that sum to memory and back.
    """
    keys = residuals[3]
    rounded = keys.astype(dtype)

    def ask(total: Array, query: Array, d_energy: Array) -> tuple[Array, Array, Array]:
        active = activate(rounded, query, activation)
        slope = slope_of(active, activation)
        d_score = jnp.einsum("bl,bla->ba", d_energy, active)
        d_query = jnp.einsum("bl,bla->ba", d_energy, slope)
        return total + d_energy[..., None] * slope, d_query, d_score

    carry, d_keys, d_reads, d_mixed, d_score = _loop(
        dtype, residuals, d_outputs, ask, jnp.zeros_like(keys)
    )
    return carry, d_reads, d_mixed, d_keys, jnp.sum(d_score, axis=(0, 1))


def _loop_then_keys(
    activation: Activation, dtype: Any, residuals: tuple[Any, ...], d_outputs: Outputs
) -> tuple[Any, ...]:
    """The backward loop, then the gradients of keys and scores over all steps in one pass.

    On an accelerator act costs less than the way of their sum to memory and back in every step. All
    sums are written out as additions, which is how they cost what their arithmetic costs.
    """
    keys, queries = residuals[3].astype(dtype), residuals[6].query

    def ask(_: None, query: Array, d_energy: Array) -> tuple[None, Array, Array]:
        def share(keys: Array, d_energy: Array) -> Array:
            return d_energy[..., None] * slope_of(activate(keys, query, activation), activation)

        return None, sum_of_parts(share, keys, d_energy), d_energy

    carry, _, d_reads, d_mixed, d_energy = _loop(dtype, residuals, d_outputs, ask, None)

    def add(totals: tuple[Array, Array], word: tuple[Array, Array]) -> tuple[Any, None]:
        query, d_energy = word
        active = activate(keys, query, activation)
        share = d_energy[..., None]
        return (totals[0] + share * slope_of(active, activation), totals[1] + share * active), None

    zeros = jnp.zeros(keys.shape, d_energy.dtype)
    length = min(len(queries), _TOGETHER)
    (d_keys, d_score), _ = jax.lax.scan(add, (zeros, zeros), (queries, d_energy), unroll=length)
    return carry, d_reads, d_mixed, d_keys, jnp.sum(d_score, axis=(0, 1))


def _loop(
    dtype: Any,
    residuals: tuple[Any, ...],
    d_outputs: Outputs,
    ask: Callable[[Any, Array, Array], tuple[Any, Array, Array]],
    total: Any,
) -> tuple[Any, ...]:
    """The backward loop.

    Args:
      dtype: of matrix products.
      residuals, d_outputs: as in `_backward`.
      ask: (total, q, de) to the next total, dq / w, and what is stacked.
      total: before the last step.

    Returns:
      (dh, dc) before the first step; the total; the stacked [dq, dg, du] and dm; the stack of
      `ask`.
    """
    weights, h, c, _, values, (_, _, alphas, _), kept, expected = residuals
    state_kernel, context_kernel = weights.state.astype(dtype), weights.context.astype(dtype)

    def body(carry: tuple[Array, Array, Any], step: tuple[Any, ...]) -> tuple[Any, Any]:
        d_h, d_c, total = carry
        (d_state, d_context, d_alpha, _), alpha, kept, before = step
        d_gate_sums, d_c = cell.backward_step(d_h + d_state, d_c, kept.cell, before)
        d_context = d_context + times_transposed(d_gate_sums, context_kernel)
        d_mixed, d_gate = _gate_backward(d_context, kept)
        d_weighing = batched_product("bd,bld->bl", d_mixed, values)
        if expected is not None:
            d_weighing = jnp.where(expected[:, None], d_weighing, 0.0)
        d_alpha = d_alpha + d_weighing
        d_energy = alpha * (d_alpha - jnp.sum(alpha * d_alpha, axis=1, keepdims=True))
        total, d_query, stacked = ask(total, kept.query, d_energy)
        d_reads = jnp.concatenate([d_query * weights.score[None], d_gate, d_gate_sums], axis=1)
        d_h = times_transposed(d_reads, state_kernel)
        return (d_h, d_c, total), (d_reads, d_mixed, stacked)

    cells = jnp.concatenate([c[None], kept.cell.cell[:-1]])
    zeros = (jnp.zeros_like(h), jnp.zeros_like(c), total)
    (d_h, d_c, total), (d_reads, d_mixed, stacked) = jax.lax.scan(
        body, zeros, (d_outputs, alphas, kept, cells), reverse=True
    )
    return (d_h, d_c), total, d_reads, d_mixed, stacked


_recurrence.defvjp(_forward, _backward)


def _gate_backward(d_context: Array, kept: _Kept) -> tuple[Array, Array]:
    """Gradients of the mixed values and of the gate before its sigmoid."""
    gates = kept.gate.shape[1]
    if not gates:
        return d_context, kept.gate
    d_gate = d_context * kept.mixed
    if gates == 1:
        d_gate = jnp.sum(d_gate, axis=1, keepdims=True)
    return d_context * kept.gate, d_gate * kept.gate * (1 - kept.gate)
