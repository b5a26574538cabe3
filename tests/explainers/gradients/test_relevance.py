"""Layer-wise relevance propagation by hand, against Captum, and through whole captioners."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from capjax.captioner import build_net
from capjax.decoders import GPT2, LSTM, S2VT, AttentionLSTM, TwoLayerS2VT
from capjax.encoders import ConvNet, EfficientNetV2, ResNet
from capjax.encoders.encoder import Encoder, for_one_call
from capjax.explainers.gradients.relevance import Relevance
from capjax.explainers.gradients.relevance_rules import (
    EncoderRule,
    Units,
    decoder_rules,
    secant,
    with_biases,
)
from capjax.explainers.programs import make_request
from capjax.types import Features
from tests.explainers.toys import PREPROCESSING, attentive, attentive_net, randomised
from tests.golden import captum_methods as golden


class TwoLayers(Encoder):
    """Two layers of a picture of one pixel, with the channels as units; no ReLU after the last."""

    relu: object = for_one_call(nn.relu)

    def stages(self):
        return ()

    @nn.compact
    def __call__(self, images, train=False, remat=False):
        x = self.relu(nn.Conv(4, (1, 1), name="first")(images))
        return Features.from_grid(nn.Conv(2, (1, 1), name="second")(x))


def explained(encoder, variables, images, weights, rule):
    """Relevance [B H W 3] of sum(features * weights), what else absorbs, and that sum.

    Args:
      rule: of the units, an interceptor.
    """

    @jax.jit
    def explain(images):
        def total(images, units):
            scaled = with_biases(variables, units.biases)
            with nn.intercept_methods(rule(units)):
                features = encoder.with_relu(secant).apply(scaled, images)
            return jnp.sum(features.positions.reshape(weights.shape) * weights)

        found, slopes = jax.value_and_grad(total, argnums=(0, 1))(images, Units.ones())
        return slopes[0] * images, slopes[1], found

    return explain(jnp.asarray(images))


def by_loops(x, layers, weights, epsilon, *, composite, biased):
    """Bach et al. 2015, equations 58 and 60, unit by unit; relevance of x, of biases and of e."""
    sums, active = [], [x]
    for kernel, bias in layers:
        sums.append(active[-1] @ kernel + bias)
        active.append(np.maximum(sums[-1], 0))
    relevance, others = sums[-1] * weights, [0.0, 0.0]
    for layer in (1, 0):
        kernel, bias = layers[layer]
        below = np.zeros(len(kernel))
        for unit, z in enumerate(sums[layer]):
            given = relevance[unit]
            sign = -1.0 if z < 0 else 1.0
            parts = [*(active[layer] * kernel[:, unit]), bias[unit], sign * epsilon]
            if composite:
                parts = [part if part * sign > 0 else 0.0 for part in [*parts[:-1], 0.0]]
                parts[-2] *= biased or not any(parts[:-2])
            shares = np.array(parts) / sum(parts) * given
            below += shares[:-2]
            others[0] += shares[-2]
            others[1] += shares[-1]
        relevance = below
    return relevance, others


@pytest.mark.parametrize(("composite", "biased"), [(False, False), (True, False), (True, True)])
def test_two_layers_by_hand(composite, biased):
    draw = np.random.default_rng(0)
    layers = [(draw.normal(size=shape), draw.normal(size=shape[1])) for shape in ((3, 4), (4, 2))]
    x, weights = np.array([0.7, -1.2, 2.0]), np.array([1.5, -0.5])
    params = {
        name: {"kernel": jnp.asarray(kernel[None, None], jnp.float32), "bias": jnp.float32(bias)}
        for name, (kernel, bias) in zip(("first", "second"), layers, strict=True)
    }
    images = x.reshape(1, 1, 1, 3).astype(np.float32)
    values, absorbed, total = explained(
        *(TwoLayers(), {"params": params}, images, weights),
        lambda units: EncoderRule(units, None if composite else 0.1, biased),
    )
    expected, others = by_loops(x, layers, weights, 0.1, composite=composite, biased=biased)
    np.testing.assert_allclose(values[0, 0, 0], expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose([absorbed.biases, absorbed.epsilon], others, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(np.sum(values) + sum(others), total, rtol=1e-4)


def test_of_a_linear_score_relevance_is_input_times_weight():
    """Every unit is active: with a vanishing epsilon, x (W1 W2) w exactly."""
    draw = np.random.default_rng(0)
    kernels = [draw.uniform(0.1, 1, shape).astype(np.float32) for shape in ((3, 4), (4, 2))]
    params = {
        name: {"kernel": jnp.asarray(kernel[None, None]), "bias": jnp.zeros(kernel.shape[1])}
        for name, kernel in zip(("first", "second"), kernels, strict=True)
    }
    images = draw.uniform(1, 2, (1, 1, 1, 3)).astype(np.float32)
    weights = np.array([2.0, -3.0], np.float32)
    values, absorbed, _ = explained(
        *(TwoLayers(), {"params": params}, images, weights),
        lambda units: EncoderRule(units, 1e-12),
    )
    np.testing.assert_allclose(values, images * (kernels[0] @ kernels[1] @ weights), rtol=1e-6)
    assert absorbed.biases == 0 and abs(absorbed.epsilon) < 1e-9


@pytest.mark.parametrize("name", ["epsilon", "alpha1beta0", "composite"])
def test_equals_captum_on_the_convolutional_part(name):
    """Captum's alpha1-beta0 has no epsilon, and conv1_1 has the epsilon rule throughout."""
    positive = {"epsilon": (), "alpha1beta0": ("conv1_2", "conv2_1"), "composite": ("conv1_2",)}
    net, variables = golden.relevance_net(), golden.relevance_variables()
    images = (golden.pixels() - np.float32(net.mean)) / np.float32(net.std)
    weights = np.broadcast_to(golden.relevance_weights(), (2, *golden.RELEVANCE_GRID, 128))

    def rule(units):
        plain = EncoderRule(units, golden.EPSILON)
        signed = EncoderRule(units, None, biased=True)

        def choose(following, arguments, keywords, context):
            own = signed if context.module.name in positive[name] else plain
            return own(following, arguments, keywords, context)

        return choose

    own = {"params": variables["params"]["encoder"]}
    values, absorbed, total = explained(net.encoder, own, images, weights, rule)
    golden.close(values, golden.expected()[f"lrp_{name}"])
    np.testing.assert_allclose(jnp.sum(values) + sum(vars(absorbed).values()), total, rtol=1e-3)


def test_of_a_residual_net_relevance_biases_and_epsilon_are_the_score():
    """With batch norms of both signs and negative sums, which no ReLU follows."""
    draw = np.random.default_rng(0)
    encoder = ResNet(depth=18, stage=1)
    images = draw.normal(size=(2, 16, 16, 3)).astype(np.float32)
    shapes = jax.eval_shape(encoder.init, jax.random.key(0), images)
    variables = jax.tree.map(
        lambda leaf: jnp.asarray(draw.normal(0, 0.3, leaf.shape), jnp.float32), dict(shapes)
    )
    variables["batch_stats"] = jax.tree.map(lambda leaf: 1 + leaf**2, variables["batch_stats"])
    weights = draw.normal(size=(2, 4, 4, 64)).astype(np.float32)
    values, absorbed, total = explained(
        encoder, variables, images, weights, lambda units: EncoderRule(units, None)
    )
    parts = [float(jnp.sum(values)), *map(float, vars(absorbed).values())]
    np.testing.assert_allclose(sum(parts), total, rtol=1e-3)
    assert abs(parts[0]) > 0.1 * abs(total)


def by_loops_lstm(inputs, kernels, bias, given, epsilon):
    """Arras et al. 2017: relevance of the inputs of an LSTM of two steps, step by step."""

    def share(parts, total, relevance):
        edge = epsilon * np.where(total < 0, -1.0, 1.0)
        return [part / (total + edge) * relevance for part in parts]

    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    size = len(given)
    h, c, steps = np.zeros(size), np.zeros(size), []
    for x in inputs:
        i, f, o, g = np.split(x @ kernels[0] + h @ kernels[1] + bias, 4)
        i, f, o = sigmoid(i), sigmoid(f), sigmoid(o)
        steps.append((x, h, c, i, f, g))
        c = f * c + i * np.tanh(g)
        h = o * np.tanh(c)
    of_h, of_c, found = given * h, np.zeros(size), []
    for x, h, c, i, f, g in reversed(steps):
        of_c = of_c + of_h  # the gate takes none of it
        of_c, of_g = share([f * c, i * np.tanh(g)], f * c + i * np.tanh(g), of_c)
        w, r = (kernel[:, -size:] for kernel in kernels)
        found.append(np.sum(share(x[:, None] * w, g, of_g), axis=1))
        of_h = np.sum(share(h[:, None] * r, g, of_g), axis=1)
    return np.array(found[::-1])


def test_an_lstm_of_two_steps_by_hand():
    draw = np.random.default_rng(0)
    kernels = [draw.normal(size=shape) for shape in ((2, 12), (3, 12))]
    inputs, bias, given = draw.normal(size=(2, 2)), draw.normal(size=12), draw.normal(size=3)

    def score(inputs, units):
        rules = decoder_rules(0.05, units)
        h = c = jnp.zeros((1, 3))
        for x in inputs:
            gates = x[None] @ kernels[0] + h @ kernels[1] + bias[None]
            h, c = rules.lstm(gates, c)
        return jnp.sum(h[0] * given)

    values = jax.grad(score)(jnp.asarray(inputs), Units.ones()) * inputs
    expected = by_loops_lstm(inputs, kernels, bias, given, 0.05)
    np.testing.assert_allclose(values, expected, rtol=1e-4, atol=1e-6)


TOKENS = np.array([[[3, 5, 4, 2], [6, 7, 2, 0]], [[8, 2, 0, 0], [4, 9, 5, 2]]], np.int32)
LENGTHS = np.array([[4, 3], [2, 4]], np.int32)


def asking(method, net):
    """A jitted function of images, or of their features, and of two sentences each.

    It gives maps and the scores of what was explained.
    """
    weights = np.broadcast_to(np.eye(4, dtype=np.float32)[1:3], (2, 2, 2, 4))

    @jax.jit
    def call(variables, tokens, lengths, features=None, images=None):
        if features is None:
            features = net.apply(variables, images, method="encode")
        request = make_request(
            *(net, variables, features, tokens, lengths, weights), images=images, measure="logit"
        )
        maps = method(net, variables, request)[method.NAME]
        return maps, request.score(net, variables, features=features)

    return call


def assert_conserved(maps, scores):
    total, largest = np.sum(maps.values, axis=(-1, -2, -3)), np.abs(scores).max()
    absorbed = [flag for name, flag in maps.flags.items() if name.startswith("absorbed_by_")]
    assert len(absorbed) == 4 and np.abs(total).max() > 1e-3 * largest
    np.testing.assert_allclose(total + sum(absorbed), scores, atol=5e-5 * largest)
    np.testing.assert_allclose(maps.flags["relevance_of_image"], total, atol=1e-5 * largest)
    assert np.max(maps.flags["conservation_gap"]) < 0.01


def test_the_pixels_of_a_captioner():
    draw = np.random.default_rng(0)
    captioner = attentive()
    images = draw.integers(0, 256, (2, 24, 32, 3)).astype(np.uint8)
    call = asking(Relevance(), captioner.net)
    maps, scores = call(captioner.variables, TOKENS, LENGTHS, images=images)
    assert maps.values.shape == (2, 2, 2, 1, 24, 32)
    assert_conserved(maps, scores)
    assert not np.asarray(maps.values)[1, 0, 1].any(), "beyond the end of a sentence"
    # Neither other images nor other sentences change a map.
    turned, _ = call(
        captioner.variables, TOKENS[::-1, ::-1], LENGTHS[::-1, ::-1], images=images[::-1]
    )
    values = np.asarray(maps.values)
    np.testing.assert_allclose(
        np.asarray(turned.values)[::-1, ::-1], values, rtol=0, atol=1e-5 * np.abs(values).max()
    )


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (
            AttentionLSTM,
            {"projection": 8, "gate": "vector", "init_layers": 2, "start_input": "token"},
        ),
        (AttentionLSTM, {"attend": "frames", "output": "deep", "hard": True}),
        (
            AttentionLSTM,
            {"output": "linear", "init_activation": "linear", "gate": "none", "reading": "argmax"},
        ),
        *((LSTM, {"inject": way}) for way in ("input", "state", "every", "merge")),
        (S2VT, {"scan": "snake"}),
        (TwoLayerS2VT, {"projection": 3, "scan": "raster"}),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else next(iter(value.values())),
)
def test_every_lstm_decoder_at_its_features(kind, fields):
    draw = np.random.default_rng(0)
    own = {"attention": 6} if kind is AttentionLSTM else {}
    decoder = kind(vocab_size=11, features=5, hidden=6, embedding=4, **own, **fields)
    net = build_net(ConvNet(widths=(5,), residuals=(0,)), decoder, PREPROCESSING)
    variables = randomised(net, PREPROCESSING)
    positions = draw.normal(size=(2, 2, 6, 5)).astype(np.float32)
    positions[:, :, 4:] = 30.0
    valid = np.broadcast_to(np.arange(6) < 4, (2, 2, 6))
    features = Features(jnp.asarray(positions), jnp.zeros((2, 0, 5)), jnp.asarray(valid), (2, 3))
    maps, scores = asking(Relevance(at="features"), net)(variables, TOKENS, LENGTHS, features)
    assert_conserved(maps, scores)
    assert not np.asarray(maps.values).reshape(-1, 6)[:, 4:].any(), "padding"


def test_readers_are_told_what_a_map_lacks():
    flags = {
        "conservation_gap": [0.0, 0.02, 0.0],
        "absorbed_by_encoder": [3.0, -0.1, 0.5],
        "relevance_of_image": [0.1, -0.4, 1.0],
    }
    words = ["red", "dog", "runs"]
    gap, lost = Relevance().notes(flags, words)
    assert "miss part of the logit of dog (2%)" in gap
    assert "comes to the pixels for red; lrp.at=features" in lost
    assert not Relevance().notes({name: [] for name in flags}, [])
    nowhere = {"conservation_gap": [0, 0, 0], "absorbed_by_encoder": [3, 1, 2]}
    (lost,) = Relevance().notes(flags | nowhere, words)
    assert "comes to the pixels for every word; lrp.at=features" in lost


def test_what_it_cannot_explain_is_refused():
    sizes = {"vocab_size": 11, "features": 24}
    net = build_net(ConvNet(), GPT2(**sizes), PREPROCESSING)
    with pytest.raises(ValueError, match="no rule for GPT2, only for LSTMs"):
        Relevance().prepare(net)
    net = build_net(EfficientNetV2(size="s"), LSTM(**sizes), PREPROCESSING)
    with pytest.raises(ValueError, match="no rule for EfficientNetV2"):
        Relevance().prepare(net)
    assert Relevance(at="features").prepare(net) is net
    features = Features.from_grid(jnp.ones((1, 2, 2, 24)))
    one = np.array([[[3]]]), np.array([[1]]), np.ones((1, 1, 1, 1), np.float32)
    net, variables = attentive_net(), attentive().variables
    request = make_request(net, variables, features, *one)
    with pytest.raises(
        ValueError, match="'logit', not 'log_prob'; leave --measure out, or ask for"
    ):
        Relevance()(net, variables, request)
    with pytest.raises(ValueError, match="lrp reads the images"):
        Relevance()(net, variables, request.replace(measure="logit"))
    for options in ({"rule": "gamma"}, {"epsilon": 0.0}, {"at": "words"}):
        with pytest.raises(ValueError, match=f"got {next(iter(options))}="):
            Relevance(**options)
