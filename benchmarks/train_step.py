"""A teacher-forced training step of the soft-attention decoder, against a tuned PyTorch loop.

    python benchmarks/train_step.py [--rounds=5] [--eager] [--save]

Forward, loss, gradients, Adam from 196 x 2048 features of a frozen encoder: batch 32, 512/512/512
(embedding, LSTM, attention), vocabulary 10,000, 20 tokens. Both sides have the same weights and
must report the same loss. PyTorch (`torch_loop.py`) is tried eager, compiled (not with `--eager`)
and, in float32, with its products sent to oneDNN; the fastest of them is the one that counts:

    torch_loop, torch_loop_bfloat16    seconds of the fastest PyTorch step / seconds of capjax
    torch_public_loop                  the same without the operator that PyTorch keeps private

The share of the floor is the time that the arithmetic alone would take, at the rate of one large
matrix product of the same library in the same run, as a part of the time of the step. PyTorch comes
with the extra `parity`; measure on an idle machine (`README.md` says why).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
import optax
from protocol import argument_parser, report, time_in_turn

from capjax.decoders import AttentionLSTM
from capjax.train.objectives.losses import cross_entropy
from capjax.types import Features

BATCH, GRID, DEPTH, SIZE, VOCABULARY, TOKENS = 32, (14, 14), 2048, 512, 10_000, 20
POSITIONS = GRID[0] * GRID[1]
LEARNING_RATE = 1e-3
LARGE = (BATCH * POSITIONS, DEPTH, SIZE)  # rows, inner, columns of the keys' product


def operations() -> float:
    """Floating-point operations of all products of one step, a multiplication and an addition each.

    A layer costs three products: forward, for its weights, for its input; those that read the
    features of the frozen encoder need no gradient of their input.
    """
    words = BATCH * TOKENS
    layers = [  # rows, inner, columns, products
        (*LARGE, 2),
        (BATCH, DEPTH, 2 * SIZE, 2),  # initial state
        (words, SIZE, 4 * SIZE, 3),  # words to gates
        (words, SIZE, SIZE + 1 + 4 * SIZE, 3),  # query, gate, recurrent
        (words, DEPTH, 4 * SIZE, 3),  # context to gates
        (words, SIZE, SIZE, 3),  # deep output: state
        (words, DEPTH, SIZE, 3),  # and context
        (words, SIZE, VOCABULARY, 3),
        (words * POSITIONS, SIZE, 1, 3),  # score
        (words * POSITIONS, 1, DEPTH, 2),  # mixing
    ]
    return 2.0 * sum(rows * inner * columns * times for rows, inner, columns, times in layers)


def problem(dtype: jnp.dtype) -> tuple[AttentionLSTM, dict, Features, jax.Array]:
    """The decoder, its weights, features and tokens; equal in every call."""
    decoder = AttentionLSTM(
        VOCABULARY, DEPTH, hidden=SIZE, attention=SIZE, embedding=SIZE, dtype=dtype
    )
    draw = np.random.default_rng(0)
    maps = np.maximum(draw.normal(size=(BATCH, *GRID, DEPTH)), 0.0).astype(np.float32)
    features = Features.from_grid(jnp.asarray(maps))
    tokens = jnp.asarray(draw.integers(0, VOCABULARY, (BATCH, TOKENS)), jnp.int32)
    return decoder, jax.jit(decoder.init)(jax.random.key(0), features, tokens), features, tokens


def capjax_step(dtype: jnp.dtype) -> Callable[[], float]:
    """A function that does one more update and returns the loss before it."""
    decoder, variables, features, tokens = problem(dtype)
    optimizer = optax.adam(LEARNING_RATE)
    mask = jnp.ones(tokens.shape, jnp.float32)

    def loss(variables: dict, features: Features, tokens: jax.Array) -> jax.Array:
        hidden, _ = decoder.apply(variables, features, tokens)
        return cross_entropy(decoder.apply(variables, hidden, method="readout"), tokens, mask)

    def update(
        variables: dict, state: optax.OptState, features: Features, tokens: jax.Array
    ) -> tuple[dict, optax.OptState, jax.Array]:
        value, gradients = jax.value_and_grad(loss)(variables, features, tokens)
        updates, state = optimizer.update(gradients, state, variables)
        return optax.apply_updates(variables, updates), state, value

    jitted = jax.jit(update, donate_argnums=(0, 1))
    held = [variables, jax.jit(optimizer.init)(variables)]

    def step() -> float:
        *held[:], value = jitted(*held, features, tokens)
        return float(value)

    return step


def capjax_product(dtype: jnp.dtype) -> Callable[[], jax.Array]:
    """A function that multiplies two large matrices."""
    rows, inner, columns = LARGE
    left, right = jnp.ones((rows, inner), dtype), jnp.ones((inner, columns), dtype)
    multiply = jax.jit(lambda a, b: jnp.matmul(a, b, preferred_element_type=jnp.float32))
    return lambda: multiply(left, right)


def torch_steps(*, compiled: bool) -> dict[str, Callable[[], float]]:
    """Every PyTorch candidate by name."""
    import torch_loop

    _, variables, features, tokens = problem(jnp.float32)
    given = (
        jax.tree.map(np.asarray, variables["params"]),
        np.asarray(features.positions).reshape(BATCH, POSITIONS, DEPTH),
        np.asarray(tokens),
    )
    choices: dict[str, Mapping[str, bool]] = {
        "torch_float32_eager": {},
        "torch_float32_onednn": {"onednn": True},
        "torch_bfloat16_eager": {"bfloat16": True},
    }
    if compiled:
        choices["torch_float32_compiled"] = {"compiled": True}
        choices["torch_bfloat16_compiled"] = {"compiled": True, "bfloat16": True}
    return {
        name: torch_loop.training_step(*given, learning_rate=LEARNING_RATE, **options)
        for name, options in choices.items()
    }


def check_losses(steps: Mapping[str, Callable[[], float]]) -> None:
    """Raises ValueError unless all candidates report one loss for the first two updates."""
    losses = {name: (step(), step()) for name, step in steps.items()}
    for name, values in losses.items():
        print(f"{name}: loss {values[0]:.4f}, {values[1]:.4f}")
    expected = losses["capjax_float32"]
    for name, values in losses.items():
        tolerance = 2e-2 if "bfloat16" in name else 1e-3
        if not np.allclose(values, expected, rtol=0, atol=tolerance):
            raise ValueError(f"{name} computes {values}; capjax_float32 computes {expected}")


def floor_shares(seconds: Mapping[str, float], rates: Mapping[str, float]) -> dict[str, float]:
    """Part of each step's time that its arithmetic takes at its library's matrix rate."""
    shares = {}
    for name, value in seconds.items():
        library = name.removesuffix("_eager").removesuffix("_compiled")
        shares[f"{name}_share_of_floor"] = operations() / rates[library] / value
    return shares


def main() -> None:
    """Times all candidates in turn and prints the result."""
    import torch_loop

    parser = argument_parser(__doc__)
    parser.add_argument("--eager", action="store_true", help="leave torch.compile out")
    flags = parser.parse_args()

    steps = {
        "capjax_float32": capjax_step(jnp.float32),
        "capjax_bfloat16": capjax_step(jnp.bfloat16),
        **torch_steps(compiled=not flags.eager),
    }
    check_losses(steps)
    seconds = time_in_turn(steps, rounds=flags.rounds, warmup=1)
    products = {
        "capjax_float32": capjax_product(jnp.float32),
        "capjax_bfloat16": capjax_product(jnp.bfloat16),
        "torch_float32": torch_loop.matrix_product(*LARGE, bfloat16=False),
        "torch_float32_onednn": torch_loop.matrix_product(*LARGE, bfloat16=False, onednn=True),
        "torch_bfloat16": torch_loop.matrix_product(*LARGE, bfloat16=True),
    }
    rates = {
        name: 2.0 * np.prod(LARGE) / value
        for name, value in time_in_turn(products, rounds=flags.rounds).items()
    }
    shares = floor_shares(seconds, rates)
    for name, value in seconds.items():
        print(f"{name}: {value:.3f} s, {shares[f'{name}_share_of_floor']:.0%} of it arithmetic")

    def fastest(word: str) -> float:
        return min(value for name, value in seconds.items() if name.startswith(f"torch_{word}"))

    public = min(v for n, v in seconds.items() if "torch_float32" in n and "onednn" not in n)
    report(
        "train_step",
        ratios={
            "torch_loop": fastest("float32") / seconds["capjax_float32"],
            "torch_public_loop": public / seconds["capjax_float32"],
            "torch_loop_bfloat16": fastest("bfloat16") / seconds["capjax_bfloat16"],
        },
        figures={
            **{f"{name}_s": value for name, value in seconds.items()},
            **{f"{name}_gflop_per_s": value / 1e9 for name, value in rates.items()},
            **shares,
            "arithmetic_gflop": operations() / 1e9,
        },
        save=flags.save,
    )


if __name__ == "__main__":
    main()
