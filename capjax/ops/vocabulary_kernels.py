"""`vocabulary_loss` as one kernel for a TPU and one for a GPU: logits never reach memory.

Both keep, for a block of states, the running maximum m and the running sum s of exp(logit - m)
while they walk through the vocabulary a tile at a time (as Wijmans et al. 2025, "Cut Your Losses in
Large-Vocabulary Language Models", arXiv 2411.09009, compute their loss): the exponentials of one
tile overlap with the product of the next. Products are of bfloat16 with sums in float32.

Words that fill up the last tile have a logit of `LOWEST` and so no share in any sum. Rows that fill
up the last block are computed and dropped. Neither kernel has a gradient.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jaxtyping import Array, Float, Int

LOWEST = -1e30
"""Below every logit, and finite: the difference of two of them is a number."""

Found = tuple[Float[Array, " R"], Float[Array, " R"]]


def tpu(
    states: Float[Array, "R h"],
    kernel: Float[Array, "h V"],
    bias: Float[Array, " V"],
    chosen: Int[Array, " R"],
    *,
    rows: int = 1024,
    words: int = 512,
    interpret: bool = False,
) -> Found:
    """(log-sum-exp, chosen logit) on a TPU.

    Maxima and sums are kept for each of the 128 lanes, which meet once, after the last tile.

    Args:
      states, kernel: bfloat16.
      bias: float32.
      chosen: word of each row.
      rows, words: of a tile; multiples of 128.
      interpret: run as plain JAX, to test it where no TPU is.
    """
    from jax.experimental.pallas import tpu as pltpu

    count, width = states.shape
    words = min(words, max(_LANES, 2**19 // width // _LANES * _LANES))  # 1 MB of the kernel
    result = pl.BlockSpec((1, rows), lambda row, word: (0, row))
    total, logit = pl.pallas_call(
        functools.partial(_tpu_tile, count=kernel.shape[1]),
        grid=(pl.cdiv(count, rows), pl.cdiv(kernel.shape[1], words)),
        in_specs=[
            pl.BlockSpec((rows, width), lambda row, word: (row, 0)),
            pl.BlockSpec((width, words), lambda row, word: (0, word)),
            pl.BlockSpec((1, words), lambda row, word: (0, word)),
            pl.BlockSpec((rows, 1), lambda row, word: (row, 0)),
        ],
        out_specs=[result, result],
        out_shape=[jax.ShapeDtypeStruct((1, count), jnp.float32)] * 2,
        scratch_shapes=[pltpu.VMEM((rows, _LANES), jnp.float32)] * 3,
        compiler_params=pltpu.CompilerParams(dimension_semantics=("parallel", "arbitrary")),
        cost_estimate=_cost(states, kernel),
        interpret=interpret,
        name="vocabulary_loss_tpu",
    )(states, kernel, bias.astype(jnp.float32)[None], chosen[:, None])
    return total[0], logit[0]


_LANES = 128


def _tpu_tile(
    states: Any,
    kernel: Any,
    bias: Any,
    chosen: Any,
    total: Any,
    logit: Any,
    high: Any,
    mass: Any,
    picked: Any,
    *,
    count: int,
) -> None:
    tile, words = pl.program_id(1), kernel.shape[1]

    @pl.when(tile == 0)
    def _begin() -> None:
        high[...] = jnp.full(high.shape, LOWEST, high.dtype)
        mass[...] = jnp.zeros(mass.shape, mass.dtype)
        picked[...] = jnp.zeros(picked.shape, picked.dtype)

    logits = jnp.dot(states[...], kernel[...], preferred_element_type=jnp.float32) + bias[...]
    word = jax.lax.broadcasted_iota(jnp.int32, (1, words), 1)
    logits = jnp.where(word < count - tile * words, logits, LOWEST)
    lanes = [logits[:, first : first + _LANES] for first in range(0, words, _LANES)]
    lane = jax.lax.broadcasted_iota(jnp.int32, high.shape, 1)
    wanted = jnp.broadcast_to(chosen[...] - tile * words, high.shape) - lane
    hits = [jnp.where(wanted == first * _LANES, own, 0.0) for first, own in enumerate(lanes)]
    picked[...] = functools.reduce(jnp.add, hits, picked[...])
    before = high[...]
    now = functools.reduce(jnp.maximum, lanes, before)
    shares = [jnp.exp(own - now) for own in lanes]
    mass[...] = functools.reduce(jnp.add, shares, mass[...] * jnp.exp(before - now))
    high[...] = now

    @pl.when(tile == pl.num_programs(1) - 1)
    def _end() -> None:
        by_lane = high[...].T
        top = jnp.max(by_lane, axis=0, keepdims=True)
        shares = mass[...].T * jnp.exp(by_lane - top)
        total[...] = top + jnp.log(jnp.sum(shares, axis=0, keepdims=True))
        logit[...] = jnp.sum(picked[...].T, axis=0, keepdims=True)


def gpu(
    states: Float[Array, "R h"],
    kernel: Float[Array, "h V"],
    bias: Float[Array, " V"],
    chosen: Int[Array, " R"],
    *,
    rows: int = 128,
    words: int = 256,
    depth: int = 64,
    parts: int = 4,
    interpret: bool = False,
) -> Found:
    """(log-sum-exp, chosen logit) on an NVIDIA GPU, through Triton.

    The vocabulary is divided into parts, each of a program of its own, so that there are several
    programs for every core; their sums meet outside.

    Args:
      states, kernel, bias, chosen, interpret: as for `tpu`.
      rows, words, depth: of a tile of the product; powers of two.
      parts: of the vocabulary.
    """
    from jax.experimental.pallas import triton

    count, width = states.shape
    more_rows, more_depth, more_words = (
        -count % rows,
        -width % depth,
        -kernel.shape[1] % (words * parts),
    )
    states = jnp.pad(states, ((0, more_rows), (0, more_depth)))
    chosen = jnp.pad(chosen, (0, more_rows))
    kernel = jnp.pad(kernel, ((0, more_depth), (0, more_words)))
    bias = jnp.pad(bias.astype(jnp.float32), (0, more_words), constant_values=LOWEST)
    width = states.shape[1]
    part = pl.BlockSpec((None, rows), lambda row, part: (part, row))
    total, logit = pl.pallas_call(
        functools.partial(_gpu_part, words=words, depth=depth),
        grid=((count + more_rows) // rows, parts),
        in_specs=[
            pl.BlockSpec((rows, width), lambda row, part: (row, 0)),
            pl.BlockSpec((width, kernel.shape[1] // parts), lambda row, part: (0, part)),
            pl.BlockSpec((kernel.shape[1] // parts,), lambda row, part: (part,)),
            pl.BlockSpec((rows,), lambda row, part: (row,)),
        ],
        out_specs=[part, part],
        out_shape=[jax.ShapeDtypeStruct((parts, count + more_rows), jnp.float32)] * 2,
        compiler_params=triton.CompilerParams(num_warps=8, num_stages=3),
        cost_estimate=_cost(states, kernel),
        interpret=interpret,
        name="vocabulary_loss_gpu",
    )(states, kernel, bias, chosen)
    return jax.nn.logsumexp(total, axis=0)[:count], jnp.sum(logit, axis=0)[:count]


def _gpu_part(
    states: Any, kernel: Any, bias: Any, chosen: Any, total: Any, logit: Any, words: int, depth: int
) -> None:
    rows, width = states.shape
    own = chosen[...] - pl.program_id(1) * kernel.shape[1]

    def tile(number: Array, carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        high, mass, picked = carry
        first = number * words

        def deeper(step: Array, sums: Array) -> Array:
            inner = pl.ds(step * depth, depth)
            tile = kernel[inner, pl.ds(first, words)]
            return sums + jnp.dot(states[:, inner], tile, preferred_element_type=jnp.float32)

        logits = jnp.zeros((rows, words), jnp.float32)
        logits = jax.lax.fori_loop(0, width // depth, deeper, logits)
        logits = logits + bias[pl.ds(first, words)][None]
        word = first + jax.lax.broadcasted_iota(jnp.int32, (rows, words), 1)
        picked = picked + jnp.sum(jnp.where(word == own[:, None], logits, 0.0), axis=1)
        now = jnp.maximum(high, jnp.max(logits, axis=1))
        mass = mass * jnp.exp(high - now) + jnp.sum(jnp.exp(logits - now[:, None]), axis=1)
        return now, mass, picked

    zeros = jnp.zeros((rows,), jnp.float32)
    high, mass, picked = jax.lax.fori_loop(
        0, kernel.shape[1] // words, tile, (zeros + LOWEST, zeros, zeros)
    )
    total[...] = high + jnp.log(mass)
    logit[...] = picked


def _cost(states: Array, kernel: Array) -> pl.CostEstimate:
    (rows, width), words = states.shape, kernel.shape[1]
    return pl.CostEstimate(
        flops=2 * rows * width * words,
        transcendentals=rows * words,
        bytes_accessed=2 * (rows * width + width * words) + 8 * rows,
    )
