"""Weights are rounded once, before the loop, and captions stay the same to the bit."""

import functools
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from capjax import rng
from capjax.captioner import CaptionNet
from capjax.decoders import GPT2, LSTM, S2VT, AttentionLSTM
from capjax.decoders.gpt2 import TINY
from capjax.decoding import Beam, Greedy, HuggingFaceBeam, Sample, generate
from capjax.decoding.rounding import rounded
from capjax.encoders import ConvNet
from capjax.ops.linear import product
from capjax.types import Features

HALF = jnp.bfloat16
EOS, WORDS, DEPTH = 2, 6, 6
METHODS = (Beam(3), Greedy(), Sample(count=2, top_p=0.9), HuggingFaceBeam(3))
SIZES = {"hidden": 8, "embedding": 7}
DECODERS = {
    "attention": functools.partial(AttentionLSTM, 12, DEPTH, attention=5, **SIZES),
    "lstm": functools.partial(LSTM, 12, DEPTH, **SIZES),
    "s2vt": functools.partial(S2VT, 12, DEPTH, **SIZES),
    "gpt2": functools.partial(GPT2, 12, DEPTH, start_token=0, **TINY),
}


def problem(name, dtype):
    """A net that starts from features, dense weights, and features of four images."""
    net = CaptionNet(ConvNet(), DECODERS[name](dtype=dtype), (0.0,) * 3, (1.0,) * 3)
    draw = np.random.default_rng(0)
    features = Features.from_grid(jnp.asarray(draw.normal(size=(4, 2, 3, DEPTH)), jnp.float32))
    init = functools.partial(net.init, method="teacher_force")
    shapes = jax.eval_shape(init, jax.random.key(0), features, jnp.zeros((4, 2), jnp.int32))
    return (
        net,
        jax.tree.map(lambda leaf: draw.normal(0, 0.6, leaf.shape).astype("f4"), shapes),
        features,
    )


def decode(net, method, variables, features):
    keys = rng.per_example(jax.random.key(1), jnp.arange(4))
    return generate(net, variables, features, method, eos=EOS, max_len=WORDS, keys=keys)


def at_every_word(monkeypatch):
    """Leaves the rounding to each turn of the loop."""
    module = sys.modules["capjax.decoding.generate"]  # the package has a function of that name
    monkeypatch.setattr(module, "rounded", lambda turn, weights, *others: weights)


@pytest.mark.parametrize("name, method", list(zip(DECODERS, METHODS, strict=True)))
def test_captions_are_those_of_weights_rounded_at_every_word(name, method, monkeypatch):
    net, variables, features = problem(name, HALF)
    once = jax.device_get(jax.jit(functools.partial(decode, net, method))(variables, features))
    at_every_word(monkeypatch)
    again = jax.device_get(jax.jit(functools.partial(decode, net, method))(variables, features))
    jax.tree.map(np.testing.assert_array_equal, once, again)
    assert len(np.unique(once.log_probs)) > 10


@pytest.mark.parametrize("name", DECODERS)
def test_in_float32_the_program_is_the_same(name, monkeypatch):
    net, variables, features = problem(name, jnp.float32)

    def program():
        written = jax.jit(lambda *arrays: decode(net, Beam(3), *arrays))
        return written.lower(variables, features).as_text()

    once = program()
    at_every_word(monkeypatch)
    assert program() == once


@pytest.mark.parametrize("method", METHODS, ids=lambda method: type(method).__name__)
@pytest.mark.parametrize("name", DECODERS)
def test_no_loop_rounds_a_weight(name, method):
    net, variables, features = problem(name, HALF)
    traced = jax.make_jaxpr(functools.partial(decode, net, method))(variables, features)
    (loop,) = [each for each in traced.eqns if each.primitive.name == "while"]
    kernels = {leaf.shape for leaf in jax.tree.leaves(variables) if leaf.ndim == 2}
    kernels |= {shape[::-1] for shape in kernels}
    found = [each.outvars[0].aval.shape for each in roundings(loop.params["body_jaxpr"].jaxpr)]
    assert found, "states are rounded in the loop"
    assert not kernels & set(found)


def roundings(program):
    """All conversions to bfloat16, in inner programs too."""
    for each in program.eqns:
        if each.primitive.name == "convert_element_type" and each.params["new_dtype"] == HALF:
            yield each
        for inner in jax.tree.leaves(each.params, is_leaf=lambda leaf: hasattr(leaf, "eqns")):
            inner = getattr(inner, "jaxpr", inner)
            if hasattr(inner, "eqns"):
                yield from roundings(inner)


def dtypes(turn, weights):
    """Of the weights, once rounded."""
    return {name: leaf.dtype for name, leaf in rounded(turn, weights, jnp.ones((2, 3))).items()}


WEIGHTS = {"one": jnp.ones((3, 3)), "other": jnp.ones((3, 3)), "idle": jnp.ones(3)}


def test_what_is_only_multiplied_is_rounded():
    def turn(weights, x):
        x = product(x, weights["one"].T, HALF) @ weights["other"]
        return product(x, jax.jit(lambda one: one[:, None].reshape(3, 3))(weights["one"]), HALF)

    assert dtypes(turn, WEIGHTS) == {"one": HALF, "other": jnp.float32, "idle": jnp.float32}


def test_what_is_read_otherwise_too_is_left():
    def turn(weights, x):
        table = weights["one"]
        narrow = weights["other"].astype(HALF)
        return product(x, table, HALF) + table[:2], narrow, weights["other"].astype(jnp.float16)

    assert set(dtypes(turn, WEIGHTS).values()) == {jnp.dtype(jnp.float32)}


def test_what_the_turn_returns_is_left():
    def turn(weights, x):
        return weights["one"], product(x, weights["one"], HALF)

    assert dtypes(turn, WEIGHTS)["one"] == jnp.float32


def test_what_a_loop_inside_carries_is_left():
    def turn(weights, x):
        def inner(carry, _):
            return carry + 1.0, product(x, carry, HALF)

        return jax.lax.scan(inner, weights["one"], length=2)[1]

    assert dtypes(turn, WEIGHTS)["one"] == jnp.float32


def test_nothing_is_widened_and_whole_numbers_stay():
    weights = {"half": jnp.ones((3, 3), HALF), "ids": jnp.ones((3, 3), jnp.int32)}

    def turn(weights, x):
        return x @ weights["half"].astype(jnp.float32), weights["ids"].astype(HALF)

    assert dtypes(turn, weights) == {"half": HALF, "ids": jnp.int32}
