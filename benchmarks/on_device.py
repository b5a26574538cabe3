"""The hot programs timed on the device that is here, beside the estimates for it.

    python benchmarks/on_device.py [--programs=beam_3,…] [--target=h200] [--rounds=5]
        [--tiny] [--save]

First each Pallas kernel that the device runs is compared with its reference path on the device
(a processor runs the GPU's as plain JAX); a kernel that differs ends the run. Then each program of
`accelerator/programs.py` is run with random weights and timed. The ratio of a program is its last
saved estimate for `--target` / its time: 1 where the estimate is right, below 1 where the device
takes longer. A decoding loop may end before the turns that its estimate counts; that is printed.
`--tiny` takes one small program instead, to test this script where no accelerator is.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from accelerator.program import Program
from accelerator.programs import PROGRAMS, decoder_only
from accelerators import chosen, saved
from protocol import argument_parser, report, time_in_turn

from capjax.decoders import AttentionLSTM, lstm_kernel
from capjax.decoders.lstm_recurrence import narrow
from capjax.decoding import Decoded, Greedy, generate
from capjax.ops import vocabulary_kernels
from capjax.ops.vocabulary_loss import vocabulary_loss
from capjax.types import Features


def main() -> None:
    """Compares the kernels, times the programs and reports."""
    parser = argument_parser(__doc__)
    parser.add_argument("--programs", default=",".join(PROGRAMS), help="names, comma-separated")
    parser.add_argument("--target", default="h200", help="chip whose estimates stand beside")
    parser.add_argument("--tiny", action="store_true", help="one small program, as a test")
    flags = parser.parse_args()
    figures = compare_kernels(small=flags.tiny)
    programs: dict[str, Callable[[], Program]] = {"tiny": tiny}
    if not flags.tiny:
        programs = {name: PROGRAMS[name] for name in chosen(flags.programs, PROGRAMS, "program")}
    estimates, ratios = saved(), {}
    for name, make in programs.items():
        milliseconds = 1e3 * seconds(make(), flags.rounds)
        figures[f"{name}_ms"] = milliseconds
        estimated = estimates.get(f"{name}_{flags.target}_estimated_ms")
        beside = "no estimate" if estimated is None else f"estimated {estimated:.2f} ms"
        print(f"{name}: {milliseconds:.2f} ms ({beside})", flush=True)
        if estimated is not None:
            ratios[f"{name}_estimate"] = estimated / milliseconds
    report("on_device", ratios=ratios, figures=figures, save=flags.save)


def seconds(program: Program, rounds: int) -> float:
    """Median seconds of a program with random arguments."""
    arguments = jax.tree.map(drawn, program.arguments)
    # Nothing is donated: every round reads the same arguments.
    compiled = jax.jit(program.function).lower(*arguments).compile()
    result = compiled(*arguments)
    if isinstance(result, Decoded) and program.turns is not None:
        turns = int(jnp.max(result.lengths))
        if turns < program.turns:
            print(f"{program.name}: {turns} turns of {program.turns}")
    return time_in_turn({"it": lambda: compiled(*arguments)}, rounds=rounds)["it"]


def drawn(leaf: Any) -> jax.Array:
    """An array of this shape: small normal numbers, whole numbers of one, or a key."""
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return jax.random.key(0)
    if not jnp.issubdtype(leaf.dtype, jnp.floating):
        return jnp.ones(leaf.shape, leaf.dtype)
    return 0.02 * jax.random.normal(jax.random.key(leaf.size), leaf.shape, leaf.dtype)


def tiny() -> Program:
    """Greedy captions of two images by a small attention LSTM."""
    decoder = AttentionLSTM(50, 2048, hidden=16, attention=16, embedding=16, dtype=jnp.bfloat16)
    net, variables = decoder_only(decoder)
    maps = jax.ShapeDtypeStruct((2, 2, 2, 2048), jnp.float32)
    features = jax.eval_shape(Features.from_grid, maps)

    def write(variables: Any, features: Any) -> Any:
        return generate(net, variables, features, Greedy(), eos=2, max_len=4)

    return Program("tiny", "", write, (variables, features), None, 0.0, 0.0, turns=4)


def compare_kernels(*, small: bool) -> dict[str, float]:
    """Largest differences between each kernel and its reference path, on this device.

    Ends with a message where they are not those of rounding.
    """
    processor = jax.default_backend() == "cpu"
    rows, width, words = (64, 64, 300) if small or processor else (4096, 512, 10_000)
    states, table = normal(0, rows, width).astype(jnp.bfloat16), normal(1, width, words)
    table, bias = (table / width**0.5).astype(jnp.bfloat16), normal(2, words)
    ids = jax.random.randint(jax.random.key(3), (rows,), 0, words, jnp.int32)
    with_kernel = functools.partial(vocabulary_loss, dtype=jnp.bfloat16, rows=rows)
    if processor:  # what a GPU would run
        with_kernel = functools.partial(vocabulary_kernels.gpu, interpret=True)
    found = jax.jit(with_kernel)(states, table, bias, ids)
    logits = jnp.matmul(states, table, preferred_element_type=jnp.float32) + bias[None]
    expected = jax.nn.logsumexp(logits, axis=1), logits[jnp.arange(rows), ids]
    off = {"vocabulary_loss_off": worst(found, expected)}
    if processor or jax.default_backend() in ("gpu", "cuda"):
        size = 64 if small or processor else 1024
        arguments = (
            (normal(4, size, 4 * size) / size**0.5).astype(jnp.bfloat16),
            normal(5, 3, 2, 4 * size),
            normal(6, rows, size).astype(jnp.bfloat16),
            normal(7, rows, size),
        )
        steps = functools.partial(lstm_kernel.run, interpret=processor)
        plain = (arguments[0], jnp.tile(arguments[1], (1, rows // 2, 1)), *arguments[2:])
        off["lstm_step_off"] = worst(jax.jit(steps)(*arguments), jax.jit(narrow)(*plain))
    for name, value in off.items():
        print(f"{name}: {value:.2g}")
        if not value < (2**-6 if name.startswith("lstm") else 1e-3):  # states are in bfloat16
            sys.exit(f"{name} is {value}: the kernel is not its reference path on this device")
    return off


def normal(seed: int, *shape: int) -> jax.Array:
    """Standard normal numbers."""
    return jax.random.normal(jax.random.key(seed), shape)


def worst(found: Any, expected: Any) -> float:
    """The largest absolute difference of any two numbers."""
    pairs = zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True)
    return max(
        float(np.max(np.abs(np.asarray(one, np.float32) - np.asarray(other, np.float32))))
        for one, other in pairs
    )


if __name__ == "__main__":
    main()
