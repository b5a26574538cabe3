"""Class activation maps against the papers' formulas, and at stages of encoders."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from capjax.captioner import CaptionNet, token_log_probs
from capjax.encoders import ENCODERS, ConvNet
from capjax.encoders.encoder import perturbed
from capjax.explainers import GradCAM, GradCAMPlusPlus, HiResCAM, LayerCAM
from capjax.explainers.batch import check_methods
from capjax.explainers.programs import make_request
from capjax.types import Features
from tests.encoders.test_stages import SMALL, captioner, drawn, encode, photographs
from tests.explainers.toys import (
    PREPROCESSING,
    Linear,
    asking,
    attentive,
    attentive_net,
    randomised,
)

ALL = (GradCAM, GradCAMPlusPlus, HiResCAM, LayerCAM)
TOKENS = np.array([[5, 4, 2], [7, 2, 0]], np.int32)
LENGTHS = np.array([3, 2])
WORDS = np.broadcast_to(np.eye(3, dtype=np.float32), (2, 3, 3))
gradcam = asking(GradCAM())


def relu(x):
    return max(float(x), 0.0)


def literal(kind, activations, gradients):
    """One frame's map [P], cell by cell and channel by channel, before the papers' last ReLU."""
    cells, channels = activations.shape
    found = np.zeros(cells)
    for k in range(channels):
        a, g = activations[:, k], gradients[:, k]
        if kind is GradCAM:
            weight = [sum(g) / cells] * cells
        elif kind is GradCAMPlusPlus:
            total = sum(relu(value) for value in a)
            alphas = [0.0 if x == 0 else x**2 / (2 * x**2 + total * x**3) for x in g]
            weight = [sum(al * relu(x) for al, x in zip(alphas, g, strict=True))] * cells
        elif kind is HiResCAM:
            weight = list(g)
        else:
            weight = [relu(x) for x in g]
        found += [weight[cell] * a[cell] for cell in range(cells)]
    return found


@functools.partial(jax.jit, static_argnames=("net", "methods"))
def answers(net, variables, features, images=None, *, methods):
    one = (TOKENS[:, None], LENGTHS[:, None], WORDS[:, None])
    request = make_request(net, variables, features, *one, images=images)
    return {own.NAME: own(net, variables, request)[own.NAME].values[:, 0] for own in methods}


def test_maps_are_those_of_the_papers_on_clips_with_padding():
    toy = attentive()
    net, variables = toy.net, toy.variables
    grid = np.random.default_rng(1).normal(size=(2, 2, 2, 3, 24)).astype(np.float32)
    features = Features.from_grid(jnp.asarray(grid))
    features = features.replace(valid=features.valid.at[1, 1].set(False))
    found = answers(net, variables, features, methods=tuple(kind() for kind in ALL))

    @jax.jit
    @jax.grad
    def gradient(positions, row, word):
        own = jax.tree.map(lambda leaf: leaf[row][None], features).replace(positions=positions)
        return token_log_probs(net, variables, own, jnp.asarray(TOKENS)[row][None])[0, word]

    for row in range(2):
        for word in range(LENGTHS[row]):
            slopes = gradient(features.positions[row][None], row, word)[0]
            for frame in range(2):
                for kind in ALL:
                    own = np.asarray(found[kind.NAME][row, word, frame]).reshape(-1)
                    if row == frame == 1:
                        assert not own.any()
                        continue
                    seen = np.asarray(features.positions[row, frame])
                    expected = literal(kind, seen, np.asarray(slopes[frame]))
                    assert np.ptp(expected) > 1e-3
                    np.testing.assert_allclose(own, expected, atol=1e-5)
    assert not any(np.any(maps[1, 2]) for maps in found.values())  # beyond the sentence


def test_a_captioner_of_the_pooled_vector_has_one_gradient_everywhere():
    """Then HiResCAM is Grad-CAM is CAM, whose weights are the derivatives by the mean feature."""
    net = attentive_net(attention=False)
    variables = randomised(net, PREPROCESSING)
    grid = np.random.default_rng(2).normal(size=(2, 2, 3, 24)).astype(np.float32)
    features = Features.from_grid(jnp.asarray(grid))
    found = answers(net, variables, features, methods=tuple(kind() for kind in ALL))

    @jax.jit
    @jax.grad
    def by_mean(mean, tokens, word):
        alone = Features.from_grid(mean[None, None, None])
        return token_log_probs(net, variables, alone, tokens[None])[0, word]

    for row in range(2):
        for word in range(LENGTHS[row]):
            weights = np.asarray(by_mean(jnp.asarray(grid[row].mean((0, 1))), TOKENS[row], word))
            expected = grid[row] @ weights / 6
            for kind in (GradCAM, HiResCAM):
                np.testing.assert_allclose(found[kind.NAME][row, word, 0], expected, atol=1e-5)
            kept = grid[row] @ np.maximum(weights, 0) / 6
            np.testing.assert_allclose(found[LayerCAM.NAME][row, word, 0], kept, atol=1e-5)


def linear(encoder):
    """The encoder with a decoder whose logit k is the mean of channel k."""
    return CaptionNet(encoder, Linear(), (127.5,) * 3, (127.5,) * 3)


def test_an_early_stage_has_its_own_grid_and_the_gradient_of_all_behind_it():
    plain = linear(ConvNet((8, 8), (0, 1), coordinates=False))
    variables, images = drawn(plain, 16), photographs(2, side=16)
    net = HiResCAM(stage="stage0").prepare(GradCAM(stage="stage1").prepare(plain))
    features = encode(net, variables, images)
    methods = (GradCAM(), HiResCAM(stage="stage0"), LayerCAM(stage="stage1"))
    found = answers(net, variables, features, images, methods=methods)
    # The last stage is the map that the decoder reads.
    last = answers(net, variables, features, images, methods=(GradCAM(stage="stage1"), LayerCAM()))
    np.testing.assert_allclose(last[GradCAM.NAME], found[GradCAM.NAME], atol=1e-6)
    np.testing.assert_allclose(found[LayerCAM.NAME], last[LayerCAM.NAME], atol=1e-6)
    assert found[HiResCAM.NAME].shape == (2, 3, 1, 8, 8)

    @jax.jit
    @jax.grad
    def gradient(delta, row, word):
        own = net.apply(perturbed(variables, {"stage0": delta}), images, method="encode")
        return token_log_probs(net, variables, own, jnp.asarray(TOKENS))[row, word]

    for row in range(2):
        for word in range(LENGTHS[row]):
            stage = features.stages["stage0"]
            slope = gradient(jnp.zeros_like(stage), row, word)
            expected = np.sum(np.asarray(stage * slope)[row, 0], axis=-1)
            assert np.ptp(expected) > 1e-3
            np.testing.assert_allclose(found[HiResCAM.NAME][row, word, 0], expected, atol=1e-5)


@pytest.mark.parametrize("name", ENCODERS)
def test_the_default_map_of_every_encoder_is_what_its_decoder_reads(name):
    """And not zero: of a logit that is the mean of a channel it is that channel, over P."""
    net, images = captioner(SMALL[name][0]), photographs(2)
    features = encode(net, drawn(net), images)
    positions = np.asarray(features.positions)[:, 0]  # [B P D]
    channel = int(np.argmax(np.abs(positions[0]).max(axis=0)))
    tokens, one = np.full((2, 1), channel), np.ones((2, 1, 1), np.float32)
    maps = gradcam(linear(net.encoder), {}, features, tokens, np.ones(2, int), one, measure="logit")
    expected = positions[..., channel] / positions.shape[1]
    assert np.abs(expected[0]).max() > 1e-3
    np.testing.assert_allclose(maps[:, 0, 0], expected, rtol=1e-4, atol=1e-5)


def test_stages_that_do_not_exist_and_what_is_missing_are_named():
    toy = attentive()
    with pytest.raises(ValueError, match="no stage 'layer3' .* stage0, stage1, stage2"):
        check_methods(toy, "gradcam@stage=layer3")
    features = Features.from_grid(jnp.ones((2, 2, 3, 24)))
    call = functools.partial(answers, toy.net, toy.variables)
    methods = (GradCAM(stage="stage0"),)
    with pytest.raises(ValueError, match="do not hold the stage 'stage0'; .*GradCAM.prepare"):
        call(features, methods=methods)
    with pytest.raises(ValueError, match="was given features alone; leave the stage out"):
        call(features.replace(stages={"stage0": jnp.ones((2, 1, 4, 4, 8))}), methods=methods)
