"""Teacher forcing against a plain scan of `step`: values, gradients, devices and platforms.

The scan's gradients are JAX's own, so the hand-written backward pass is compared with autodiff of
the definition, in float64.
"""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from capjax.decoders import AttentionLSTM, cell
from capjax.ops.linear import affine, outer_sum, product
from capjax.types import Features
from tests.pairs import pairs

VOCABULARY, DEPTH = 11, 6


@pytest.fixture
def float64():
    with jax.enable_x64(True):
        yield


def build(dtype=jnp.float64, **fields):
    sizes = {"hidden": 5, "attention": 4, "embedding": 3}
    return AttentionLSTM(VOCABULARY, DEPTH, **sizes, dtype=dtype, **fields)


def problem(decoder, batch=3, length=6):
    """Features with padding in one example, tokens, and variables of no special structure."""
    generator = np.random.default_rng(0)
    dtype = decoder.dtype
    image = Features.from_grid(jnp.asarray(generator.normal(size=(batch, 2, 2, 3, DEPTH)), dtype))
    image = image.replace(valid=image.valid.at[1, 1, 2:].set(False))
    tokens = jnp.asarray(generator.integers(0, VOCABULARY, (batch, length)), jnp.int32)
    shapes = jax.eval_shape(decoder.init, jax.random.key(0), image, tokens)
    weights = jax.tree.map(
        lambda s: jnp.asarray(0.5 * generator.normal(size=s.shape), dtype), shapes
    )
    return weights, image, tokens


def scan_of_steps(decoder, weights, image, tokens):
    carry, memory = decoder.apply(weights, image, method="start")

    def body(carry, token):
        carry, hidden, attention = decoder.apply(weights, carry, token, memory, method="step")
        return carry, (hidden, attention)

    _, (hidden, attention) = jax.lax.scan(body, carry, cell.shift(tokens).T)
    return hidden.swapaxes(0, 1), attention.swapaxes(0, 1)


def scalar(forced):
    """Weighs every hidden unit and every attention differently, attention also non-linearly."""
    hidden, attention = forced
    waves = [jnp.cos(jnp.arange(x.size, dtype=x.dtype)).reshape(x.shape) for x in forced]
    return jnp.sum(hidden * waves[0]) + jnp.sum(jnp.square(attention) * waves[1])


def value_and_gradients(force, weights, image, tokens):
    def value(weights, positions):
        forced = force(weights, image.replace(positions=positions), tokens)
        return scalar(forced), forced

    # One program: eager gradients would compile hundreds of small ones.
    return jax.jit(jax.value_and_grad(value, (0, 1), has_aux=True))(weights, image.positions)


@pytest.mark.parametrize(
    ("activation", "gate", "output"),
    pairs(("tanh", "relu"), ("none", "scalar", "vector"), ("deep_tanh", "deep", "linear")),
)
def test_values_and_all_gradients_are_those_of_a_scan_of_steps(float64, activation, gate, output):
    decoder = build(activation=activation, gate=gate, output=output)
    arguments = problem(decoder)
    fast = value_and_gradients(decoder.apply, *arguments)
    plain = value_and_gradients(functools.partial(scan_of_steps, decoder), *arguments)
    for ours, theirs in zip(jax.tree.leaves(fast), jax.tree.leaves(plain), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-10)
    positions = plain[1][1]
    assert np.abs(positions[1, 1, :2]).min() > 0.0
    np.testing.assert_array_equal(positions[1, 1, 2:], 0.0)


def test_one_token_and_many_targets_at_once(float64):
    decoder = build()
    weights, image, tokens = problem(decoder, length=1)

    def per_unit(force):
        def hidden(positions):
            return force(weights, image.replace(positions=positions), tokens)[0]

        def all_targets(positions):
            _, pull = jax.vjp(hidden, positions)
            targets = jnp.eye(3)[:, None, None, :] * jnp.ones((3, 3, 1, 1))  # [N B T m]
            return jax.vmap(pull)(targets)[0]

        return jax.jit(all_targets)(image.positions)

    np.testing.assert_allclose(
        per_unit(decoder.apply),
        per_unit(functools.partial(scan_of_steps, decoder)),
        atol=1e-10,
    )


@pytest.mark.parametrize("rows", [7, 5000])
def test_a_product_has_the_gradients_of_matmul(float64, rows):
    generator = np.random.default_rng(1)
    values, kernel, bias, weigh = (
        jnp.asarray(generator.normal(size=shape))
        for shape in ((2, rows, 3), (3, 4), (4,), (2, rows, 4))
    )

    def ours(values, kernel, bias):
        return jnp.sum(affine(values, kernel, bias, jnp.float64) * weigh)

    def plain(values, kernel, bias):
        return jnp.sum((jnp.einsum("bri,io->bro", values, kernel) + bias[None, None]) * weigh)

    for one, two in zip(
        jax.jit(jax.grad(ours, (0, 1, 2)))(values, kernel, bias),
        jax.jit(jax.grad(plain, (0, 1, 2)))(values, kernel, bias),
        strict=True,
    ):
        np.testing.assert_allclose(one, two, atol=1e-10)


def test_bfloat16_products_round_their_operands_and_sum_in_float32():
    generator = np.random.default_rng(2)
    values, kernel, weigh = (
        jnp.asarray(generator.normal(size=shape), jnp.float32)
        for shape in ((300, 8), (8, 5), (300, 5))
    )
    rounded = [np.asarray(x.astype(jnp.bfloat16), np.float64) for x in (values, kernel, weigh)]
    result, pull = jax.vjp(lambda v, k: product(v, k, jnp.bfloat16), values, kernel)
    d_values, d_kernel = pull(weigh)
    assert {x.dtype for x in (result, d_values, d_kernel)} == {jnp.dtype(jnp.float32)}
    np.testing.assert_allclose(result, rounded[0] @ rounded[1], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(d_values, rounded[2] @ rounded[1].T, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(d_kernel, rounded[0].T @ rounded[2], rtol=1e-5, atol=1e-4)
    np.testing.assert_array_equal(outer_sum(values, weigh, jnp.bfloat16), d_kernel)


def test_bfloat16_teacher_forcing_stays_near_float32():
    exact, rounded = build(jnp.float32), build(jnp.bfloat16)
    arguments = problem(exact)
    (_, forced), gradients = value_and_gradients(exact.apply, *arguments)
    (_, near), near_gradients = value_and_gradients(rounded.apply, *arguments)
    np.testing.assert_allclose(near[0], forced[0], atol=0.05)
    for one, two in zip(jax.tree.leaves(near_gradients), jax.tree.leaves(gradients), strict=True):
        assert one.dtype == two.dtype
        assert np.linalg.norm(one - two) <= 0.05 * np.linalg.norm(two) + 1e-6


def gradient(decoder, weights, image, tokens):
    return jax.jit(jax.grad(lambda w: scalar(decoder.apply(w, image, tokens))))(weights)


@pytest.mark.devices
def test_sharded_batch_gives_the_same_gradient_with_no_collective_inside_the_loops():
    decoder = build(jnp.float32)
    weights, image, tokens = problem(decoder, batch=8)
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    rows = NamedSharding(mesh, PartitionSpec("data"))
    whole = NamedSharding(mesh, PartitionSpec())
    sharded = jax.jit(
        functools.partial(gradient, decoder), in_shardings=(whole, rows, rows), out_shardings=whole
    )
    compiled = sharded.lower(weights, image, tokens).compile()
    for one, two in zip(
        jax.tree.leaves(compiled(weights, image, tokens)),
        jax.tree.leaves(gradient(decoder, weights, image, tokens)),
        strict=True,
    ):
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-5)
    program = compiled.as_text()
    assert "all-reduce" in program
    loops = set(re.findall(r"body=%?([\w.-]+)", program))
    assert loops
    computations = re.split(r"\n(?=(?:ENTRY )?%?[\w.-]+ \()", program)
    inside = [text for text in computations if text.split(" ")[0].lstrip("%") in loops]
    assert len(inside) == len(loops)
    collective = re.compile(r"= \S+ (all-reduce|all-gather|all-to-all|collective-permute)")
    assert not [line for text in inside for line in text.splitlines() if collective.search(line)]


def test_a_frozen_encoder_costs_no_gradient_of_its_features():
    decoder = build(jnp.float32)
    arguments = problem(decoder)

    def flops(gradients):
        return jax.jit(gradients).lower(*arguments).compile().cost_analysis()["flops"]

    def of_all(weights, image, tokens):
        return value_and_gradients(decoder.apply, weights, image, tokens)[1]

    frozen = flops(functools.partial(gradient, decoder))
    batch, length, positions = 3, 6, 12
    mixing = 2 * batch * length * positions * DEPTH
    keys = 2 * batch * positions * DEPTH * decoder.attention
    assert flops(of_all) - frozen >= mixing + keys


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_lowers_for_accelerators(platform, dtype):
    decoder = build(dtype)
    arguments = problem(build(jnp.float32))
    step = jax.jit(functools.partial(gradient, decoder))
    exported = jax.export.export(step, platforms=[platform])(*arguments)
    assert exported.platforms == (platform,)
