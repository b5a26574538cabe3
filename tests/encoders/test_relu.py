"""A ReLU that a method replaces: every one of an encoder, and its backward pass alone."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from capjax.captioner import CaptionNet
from capjax.decoders import LSTM
from capjax.encoders import (
    VGG,
    ConvNet,
    EfficientNetV2,
    InceptionV3,
    MobileNet,
    ResNet,
    ViT,
)
from tests import shapes
from tests.reference import guided_vgg


def guided(relu):
    """A gradient passes where the input was positive and the gradient is."""

    @jax.custom_vjp
    def rule(x):
        return relu(x)

    def backward(pull, gradient):
        return pull(jnp.maximum(gradient, 0))

    rule.defvjp(functools.partial(jax.vjp, relu), backward)
    return rule


def captioner(encoder):
    return CaptionNet(encoder, LSTM(5, 8), (127.5,) * 3, (127.5,) * 3)


def drawn(encoder, side):
    _, own = shapes.traced(encoder, (1, side, side, 3))
    random = np.random.default_rng(0)

    def draw(leaf):
        if leaf.ndim < 2:
            return random.uniform(0.1, 1.0, leaf.shape).astype(np.float32)
        scale = np.sqrt(2 / np.prod(leaf.shape[:-1]))
        return (scale * random.standard_normal(leaf.shape)).astype(np.float32)

    return jax.tree.map(draw, dict(own))


def slope(encoder, variables, images, weights):
    """The gradient of sum(weights * map) by the images, and the map."""

    @jax.jit
    def run(variables, images):
        def score(images):
            features = encoder.apply(variables, images)
            maps = features.positions.reshape(len(images), *features.grid, -1)
            return jnp.sum(weights * maps), maps

        return jax.grad(score, has_aux=True)(images)

    return run(variables, images)


@pytest.mark.parametrize(
    ("encoder", "count"),
    [
        (ConvNet(residuals=(1, 0, 2)), 3 + 3),
        (VGG(depth=16, output="conv5_3"), 13),
        (ResNet(depth=18), 1 + 2 * 8),
        (ResNet(depth=50, stage=2), 1 + 3 * 7),
        (MobileNet(), 1 + 2 * 11),
        (InceptionV3(), 94),
    ],
)
@pytest.mark.parametrize("remat", [False, True])
def test_every_relu_is_the_one_that_was_given(encoder, count, remat):
    """None is left: the numbers of the encoder's convolutions that end in one."""
    seen = []

    def counting(relu):
        def counted(x):
            seen.append(x.shape)
            return relu(x)

        return counted

    images = jax.ShapeDtypeStruct((1, 96, 96, 3), jnp.float32)
    _, variables = shapes.traced(encoder, images.shape)
    net = captioner(encoder).with_relu(counting)
    jax.eval_shape(functools.partial(net.encoder.apply, remat=remat), variables, images)
    assert len(seen) == count


@pytest.mark.parametrize("encoder", [EfficientNetV2(), ViT()])
def test_an_encoder_without_relu_refuses(encoder):
    with pytest.raises(ValueError, match=f"{type(encoder).__name__} has no ReLU"):
        captioner(encoder).with_relu(guided)


def test_a_vgg_is_guided_as_in_numpy():
    encoder = VGG(depth=16, output="conv2_1")
    variables = drawn(encoder, 8)
    random = np.random.default_rng(1)
    image, weights = random.normal(size=(8, 8, 3)), random.normal(size=(4, 4, 128))
    given = (variables, jnp.asarray(image[None], jnp.float32), jnp.asarray(weights[None]))
    found, maps = slope(encoder.with_relu(guided), *given)
    double = jax.tree.map(np.float64, variables["params"])
    expected, forward = guided_vgg.guided_gradient(double, image, weights)
    np.testing.assert_allclose(maps[0], forward, atol=1e-5 * forward.max())
    np.testing.assert_allclose(found[0], expected, atol=1e-5 * np.abs(expected).max())
    plain, _ = slope(encoder, *given)
    assert np.abs(plain[0] - expected).max() > 0.1 * np.abs(expected).max()


def test_a_resnet_is_guided_as_by_hand():
    """The stem and layer1 of a ResNet-18, whose linear parts are differentiated one by one."""
    encoder = ResNet(depth=18, stage=1)
    variables = drawn(encoder, 32)
    images = jax.random.normal(jax.random.key(2), (2, 32, 32, 3))
    weights = jax.random.normal(jax.random.key(3), (2, 8, 8, 64))
    params, statistics = variables["params"], variables["batch_stats"]

    def linear(kernel, norm, statistics, stride, x):
        side = kernel.shape[0] // 2
        x = jax.lax.conv_general_dilated(
            x,
            kernel,
            (stride, stride),
            ((side, side), (side, side)),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        scale = norm["scale"] / np.sqrt(statistics["var"] + 1e-5)
        return x * scale[None, None, None] + (norm["bias"] - statistics["mean"] * scale).reshape(
            1, 1, 1, -1
        )

    def pool(x):
        x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-jnp.inf)
        return jax.lax.reduce_window(
            x, -jnp.inf, jax.lax.max, (1, 3, 3, 1), (1, 2, 2, 1), ((0, 0),) * 4
        )

    def part(tree, statistics, number, stride=1):
        kernel = tree[f"conv{number}"]["kernel"]
        names = f"bn{number}"
        return functools.partial(linear, kernel, tree[names], statistics[names], stride)

    def passed(before, gradient):
        return gradient * (before > 0) * (gradient > 0)

    stem, pull_stem = jax.vjp(part(params, statistics, 1, stride=2), images)
    x, pull_pool = jax.vjp(pool, np.maximum(stem, 0))
    blocks = []
    for name in ("layer1_0", "layer1_1"):
        inner, pull_first = jax.vjp(part(params[name], statistics[name], 1), x)
        y, pull_second = jax.vjp(part(params[name], statistics[name], 2), np.maximum(inner, 0))
        blocks.append((inner, pull_first, x + y, pull_second))
        x = np.maximum(x + y, 0)
    gradient = weights
    for inner, pull_first, total, pull_second in reversed(blocks):
        gradient = passed(total, gradient)
        through = passed(inner, pull_second(gradient)[0])
        gradient = gradient + pull_first(through)[0]
    expected = pull_stem(passed(stem, pull_pool(gradient)[0]))[0]

    found, maps = slope(encoder.with_relu(guided), variables, images, weights)
    np.testing.assert_allclose(maps, x, atol=1e-4 * x.max())
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())
    plain, _ = slope(encoder, variables, images, weights)
    assert np.abs(plain - expected).max() > 0.1 * np.abs(expected).max()


def test_relu6_keeps_its_ceiling():
    """The rule is given ReLU6: the map of MobileNet is the same, and nothing passes beyond 6."""
    encoder = MobileNet()
    variables = drawn(encoder, 32)
    images = jax.random.normal(jax.random.key(2), (1, 32, 32, 3))
    weights = jnp.ones((1, 2, 2, 512))
    plain, before = slope(encoder, variables, images, weights)
    found, after = slope(encoder.with_relu(guided), variables, images, weights)
    np.testing.assert_allclose(after, before, rtol=1e-5, atol=1e-5)
    assert float(jnp.max(after)) == 6.0
    assert not np.allclose(found, plain, atol=1e-3 * float(jnp.abs(plain).max()))
    inputs = jnp.array([-1.0, 1.0, 5.0, 7.0])
    rule = encoder.with_relu(guided).relu
    (gradient,) = jax.vjp(rule, inputs)[1](jnp.array([1.0, -1.0, 1.0, 1.0]))
    np.testing.assert_array_equal(gradient, [0, 0, 1, 0])


def test_one_rule_is_traced_once():
    net = captioner(ConvNet((8,), (0,)))
    traces = []

    @functools.partial(jax.jit, static_argnames="net")
    def encode(net, variables, images):
        traces.append(net)
        return net.apply(variables, images, method="encode").positions

    variables = {k: {"encoder": v} for k, v in drawn(net.encoder, 8).items()}
    for _ in range(2):
        encode(net.with_relu(guided), variables, jnp.zeros((1, 8, 8, 3)))
    assert net.with_relu(guided) == net.with_relu(guided) != net
    assert len(traces) == 1
