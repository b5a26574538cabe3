"""The forms of a processor are in its programs, and in no others."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from capjax.captioner import CaptionNet
from capjax.decoders import LSTM
from capjax.decoders.recurrence import Weights, recurrence
from capjax.encoders import ResNet
from capjax.ops import chunks, platform
from capjax.ops.convolution import depthwise_convolution

ELSEWHERE = ("tpu", "cuda", "rocm")


def text(function, *arguments, on):
    """The program that jit lowers for a platform, whether or not such a device is here."""
    return jax.jit(function).trace(*arguments).lower(lowering_platforms=(on,)).as_text()


def test_a_form_is_chosen_by_the_platform_of_the_program():
    def function(x):
        return platform.on_processor(jnp.sin, jnp.cos, x)

    def forms(on):
        return re.findall(r"stablehlo\.(sine|cosine)", text(function, x, on=on))

    x = jnp.arange(3.0)
    assert forms("cpu") == ["sine"]
    for other in ELSEWHERE:
        assert forms(other) == ["cosine"]
    np.testing.assert_allclose(function(x), np.sin(x), rtol=1e-6)
    np.testing.assert_allclose(jax.vmap(jax.grad(function))(x), np.cos(x), rtol=1e-6)


@pytest.mark.parametrize("on", ["cpu", *ELSEWHERE])
def test_a_barrier_stands_on_a_processor_only(on):
    def slope(x):
        return jax.grad(lambda x: jnp.sum(platform.barrier({"x": x})["x"] ** 2))(x)

    for function in (platform.barrier, slope):
        assert ("optimization_barrier" in text(function, jnp.ones(3), on=on)) == (on == "cpu")
    np.testing.assert_array_equal(slope(jnp.arange(3.0)), 2 * np.arange(3.0))


def recurrence_slopes(dtype, positions=6, words=7, activation="tanh"):
    """A training step's gradient through attention, and its arguments."""
    draw = np.random.RandomState(0).standard_normal
    sizes = {"state": (4, 3 + 1 + 16), "gate_bias": (1,), "score": (3,), "context": (5, 16)}
    weights = Weights(**{name: jnp.asarray(draw(size), "f4") for name, size in sizes.items()})
    h, keys, values = (
        jnp.asarray(draw(size), "f4") for size in ((2, 4), (2, positions, 3), (2, positions, 5))
    )

    def loss(weights, keys, values):
        inputs, valid = jnp.zeros((words, 2, 16)), jnp.ones((2, positions), bool)
        values = values.astype(dtype)
        outputs = recurrence(
            weights, inputs, (h, h), keys, values, valid, activation=activation, dtype=dtype
        )
        return jnp.sum(outputs.states) + jnp.sum(jnp.square(outputs.contexts))

    return jax.grad(loss, argnums=(0, 1, 2)), (weights, keys, values)


@pytest.mark.parametrize("on", ["cpu", *ELSEWHERE])
def test_attention_in_training_takes_the_forms_of_its_platform(on):
    slopes, arguments = recurrence_slopes(jnp.bfloat16)
    assert ("algorithm" in text(slopes, *arguments, on=on)) == (on == "tpu")


@pytest.mark.parametrize("on", ELSEWHERE)
@pytest.mark.parametrize(
    ("dtype", "positions", "words", "activation"),
    [
        (jnp.float32, 6, 7, "tanh"),
        (jnp.bfloat16, 6, 7, "tanh"),
        (jnp.float32, 32, 3, "relu"),  # parts without a rest
        (jnp.float32, 37, 40, "tanh"),  # more words than are added up at once
        (jnp.float32, 300, 2, "tanh"),  # larger parts
    ],
)
def test_all_platforms_compute_the_same_gradients(
    on, dtype, positions, words, activation, monkeypatch
):
    slopes, arguments = recurrence_slopes(dtype, positions, words, activation)
    expected = slopes(*arguments)
    monkeypatch.setattr(platform, "on_processor", lambda _, plain, *given: plain(*given))
    if on == "tpu":
        monkeypatch.setattr(platform, "on_tpu", lambda fast, _, *given: fast(*given))
    else:
        monkeypatch.setattr(platform, "on_tpu", lambda _, plain, *given: plain(*given))
    tolerance = 1e-5 if dtype == jnp.float32 else 3e-2
    for one, other in zip(
        jax.tree.leaves(slopes(*arguments)), jax.tree.leaves(expected), strict=True
    ):
        np.testing.assert_allclose(one, other, atol=tolerance * np.abs(other).max())


@pytest.mark.parametrize("on", ["cpu", *ELSEWHERE])
def test_encoders_take_the_forms_of_their_platform(on, monkeypatch):
    """Barriers, chunks of a batch, and no convolution of many channels as one, on a CPU only."""
    monkeypatch.setattr(chunks, "chunking_pays", lambda: True)
    net = CaptionNet(ResNet(depth=18, stage=1), LSTM(5, 64), (127.5,) * 3, (127.5,) * 3)
    images = jax.ShapeDtypeStruct((8, 64, 64, 3), jnp.uint8)
    tokens = jax.ShapeDtypeStruct((8, 2), jnp.int32)
    variables = jax.eval_shape(net.init, jax.random.key(0), images, tokens)

    def encode(variables, images):
        return net.apply(variables, images, method="encode").positions

    program = text(encode, variables, images, on=on)
    assert ("optimization_barrier" in program) == (on == "cpu")
    assert ("stablehlo.while" in program) == (on == "cpu")
    # The first layer has three channels and stays; on a CPU Winograd's form replaces the others.
    assert program.count("stablehlo.convolution") == (1 if on == "cpu" else 5)


@pytest.mark.parametrize("on", ["cpu", *ELSEWHERE])
def test_depthwise_convolutions_take_the_form_of_their_platform(on):
    def convolve(x, kernel):
        return depthwise_convolution(x, kernel, stride=1)

    program = text(convolve, jnp.ones((1, 4, 4, 8)), jnp.ones((3, 3, 1, 8)), on=on)
    assert ("stablehlo.convolution" in program) == (on != "cpu")
