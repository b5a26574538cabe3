"""Convolutions and pooling in their fast forms against XLA's own operations."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from capjax.ops import convolution as convolutions
from capjax.ops.convolution import convolution, depthwise_convolution, max_pool, windows

NHWC = ("NHWC", "HWIO", "NHWC")


def random(seed, *shape):
    return jnp.asarray(np.random.RandomState(seed).standard_normal(shape), jnp.float32)


def value_and_gradients(function, *arguments):
    return jax.jit(jax.value_and_grad(lambda *a: jnp.sum(jnp.sin(function(*a))), (0, 1)))(
        *arguments
    )


@pytest.mark.parametrize(
    ("side", "channels", "strides", "padding", "dilation"),
    [
        ((1, 1), 5, (1, 1), "VALID", 1),
        ((1, 1), 5, (2, 2), "SAME", 1),
        ((1, 1), 5, (2, 1), [(0, 0), (0, 0)], 1),
        ((1, 1), 5, (1, 1), [(1, 0), (0, 2)], 1),
        ((3, 3), 3, (2, 2), "SAME", 1),
        ((3, 3), 3, (2, 2), [(1, 1), (1, 1)], 1),
        ((3, 3), 3, (1, 1), "SAME", 2),
        ((2, 3), 3, (1, 2), "VALID", 1),
        ((3, 3), 5, (2, 2), "SAME", 1),
        ((5, 5), 3, (2, 2), "SAME", 1),
    ],
)
def test_equals_xla(side, channels, strides, padding, dilation):
    x, kernel = random(0, 2, 7, 8, channels), random(1, *side, channels, 4)
    arguments = {
        "dimension_numbers": NHWC,
        "lhs_dilation": (1, 1),
        "rhs_dilation": (dilation, dilation),
    }
    ours = convolution(x, kernel, strides, padding, **arguments)
    theirs = jax.lax.conv_general_dilated(x, kernel, strides, padding, **arguments)
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, atol=2e-5)


@pytest.mark.parametrize(
    ("shape", "out", "padding", "strides"),
    [
        ((2, 7, 8, 64), 64, "SAME", (1, 1)),
        ((1, 4, 5, 64), 96, "VALID", (1, 1)),
        ((2, 6, 6, 80), 64, [(0, 2), (1, 0)], (1, 1)),
        ((1, 3, 3, 64), 64, "VALID", (1, 1)),
        ((1, 1, 1, 64), 64, "SAME", (1, 1)),
        ((2, 7, 8, 64), 4, "SAME", (2, 2)),
        ((2, 40, 40, 64), 4, "SAME", (1, 1)),
    ],
)
def test_many_channels_and_their_gradients_equal_xla(shape, out, padding, strides):
    """Winograd's form where it pays, XLA's own for the last two."""
    x, kernel = random(0, *shape), random(1, 3, 3, shape[-1], out) / 24.0

    def ours(x, kernel):
        return convolution(x, kernel, strides, padding, dimension_numbers=NHWC)

    def theirs(x, kernel):
        return jax.lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=NHWC)

    np.testing.assert_allclose(jax.jit(ours)(x, kernel), theirs(x, kernel), atol=5e-6)
    jax.tree.map(
        lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4),
        value_and_gradients(ours, x, kernel),
        value_and_gradients(theirs, x, kernel),
    )


@pytest.mark.parametrize(
    ("shape", "out", "loops"),
    [
        ((4, 8, 8, 48), 192, True),  # two at a time
        ((3, 8, 8, 64), 64, False),  # whole
        ((2, 8, 8, 48), 193, False),  # too uneven
        ((2, 8, 8, 47), 64, False),  # too few channels
        ((2, 16, 16, 64), 64, False),  # too large
    ],
)
def test_maps_in_groups_and_their_gradients_equal_xla(shape, out, loops, monkeypatch):
    """On one device, with caches as small as these maps."""
    monkeypatch.setattr(convolutions, "chunking_pays", lambda: True)
    monkeypatch.setattr(convolutions, "CACHED_TILES", 2 * 4 * 8 * 8 * 240)
    monkeypatch.setattr(convolutions, "MOST_TILES", 4 * 8 * 8 * 240)
    x, kernel = random(0, *shape), random(1, 3, 3, shape[-1], out) / 24.0
    ours, theirs = (
        functools.partial(function, window_strides=(1, 1), padding="SAME", dimension_numbers=NHWC)
        for function in (convolution, jax.lax.conv_general_dilated)
    )
    assert (" scan[" in str(jax.make_jaxpr(ours)(x, kernel))) is loops
    np.testing.assert_allclose(jax.jit(ours)(x, kernel), theirs(x, kernel), atol=5e-6)
    jax.tree.map(
        lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4),
        value_and_gradients(ours, x, kernel),
        value_and_gradients(theirs, x, kernel),
    )


@pytest.mark.parametrize(("scale", "shift"), [(1.0, 0.0), (100.0, 50.0), (1.0, 5.0)])
def test_fewer_multiplications_are_as_exact(scale, shift):
    x, kernel = scale * random(0, 2, 14, 14, 128) + shift, random(1, 3, 3, 128, 128)
    patches = np.concatenate(list(windows(x, (3, 3), (1, 1), ((1, 1), (1, 1)))), axis=-1)
    exact = patches.astype(np.float64) @ np.asarray(kernel, np.float64).reshape(-1, 128)
    ours, xla = (
        np.abs(each(x, kernel, (1, 1), "SAME", dimension_numbers=NHWC) - exact).mean()
        for each in (convolution, jax.lax.conv_general_dilated)
    )
    assert 0.0 < ours <= 1.5 * xla


@pytest.mark.parametrize("side", [6, 40])
def test_half_precision(side):
    x, kernel = (random(0, 1, side, side, 64), random(1, 3, 3, 64, 64))
    x, kernel = x.astype(jnp.bfloat16), kernel.astype(jnp.bfloat16)
    ours, theirs = (
        function(x, kernel, (1, 1), "SAME", dimension_numbers=NHWC)
        for function in (convolution, jax.lax.conv_general_dilated)
    )
    assert ours.dtype == jnp.bfloat16
    np.testing.assert_allclose(
        ours.astype(jnp.float32), theirs.astype(jnp.float32), rtol=1e-2, atol=0.2
    )


def test_groups_are_left_to_xla():
    x, kernel = random(0, 2, 5, 5, 6), random(1, 1, 1, 3, 4)
    arguments = {"dimension_numbers": NHWC, "feature_group_count": 2}
    ours = convolution(x, kernel, (1, 1), "SAME", **arguments)
    theirs = jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", **arguments)
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


@pytest.mark.parametrize(("side", "strides"), [(1, 1), (1, 2), (3, 2)])
def test_a_layer_takes_it(side, strides):
    layer = nn.Conv(4, (side, side), strides=strides, conv_general_dilated=convolution)
    plain = nn.Conv(4, (side, side), strides=strides)
    x = random(0, 2, 9, 8, 3)
    variables = plain.init(jax.random.key(0), x)
    np.testing.assert_allclose(layer.apply(variables, x), plain.apply(variables, x), atol=1e-5)


@pytest.mark.parametrize("padding", ["same", "symmetric"])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("side", [3, 5])
def test_depthwise_and_its_gradient_equal_xla(side, stride, padding):
    x, kernel = random(0, 2, 8, 7, 3), random(1, side, side, 1, 3)
    pads = "SAME" if padding == "same" else [(side // 2, side // 2)] * 2

    def ours(x, kernel):
        return depthwise_convolution(x, kernel, stride=stride, padding=padding)

    def theirs(x, kernel):
        return jax.lax.conv_general_dilated(
            x, kernel, (stride, stride), pads, dimension_numbers=NHWC, feature_group_count=3
        )

    one, other = (
        jax.jit(jax.value_and_grad(lambda x, k, f=f: jnp.sum(jnp.sin(f(x, k))), argnums=(0, 1)))(
            x, kernel
        )
        for f in (ours, theirs)
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), one, other)
    np.testing.assert_allclose(ours(x, kernel), theirs(x, kernel), atol=1e-5)


def test_paddings_differ_on_even_sides():
    x, kernel = random(0, 1, 8, 8, 2), random(1, 3, 3, 1, 2)
    one, other = (
        depthwise_convolution(x, kernel, stride=2, padding=padding)
        for padding in ("same", "symmetric")
    )
    assert float(jnp.abs(one - other).max()) > 0.1


@pytest.mark.parametrize(("side", "stride", "pad"), [(3, 2, 1), (2, 2, 0), (3, 1, 0)])
def test_max_pool_equals_linen(side, stride, pad):
    x = random(0, 2, 9, 8, 3) - 5.0  # below zero: padding with zeros would win
    ours = max_pool(x, side, stride=stride, pad=pad)
    theirs = nn.max_pool(x, (side, side), strides=(stride, stride), padding=[(pad, pad)] * 2)
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("platform", ["cuda", "tpu", "cpu"])
def test_a_strided_one_by_one_kernel_stays_a_convolution(platform):
    # XLA's GPU compiler of JAX 0.10.2 aborts where a product reads every other row of a map.
    def net(x, kernel):
        return convolution(x, kernel, (2, 2), "VALID", dimension_numbers=NHWC)

    traced = jax.jit(net).trace(random(0, 2, 8, 8, 5), random(1, 1, 1, 5, 4))
    text = traced.lower(lowering_platforms=(platform,)).as_text()
    assert "stablehlo.convolution" in text and "stablehlo.dot_general" not in text
