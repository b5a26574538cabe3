"""The contract that all methods share: several sentences at once are each as if asked alone."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from capjax.explainers.choosing import choose
from capjax.explainers.contract import answer
from capjax.explainers.methods import METHODS
from capjax.explainers.programs import make_request
from capjax.explainers.request import Request
from capjax.types import NO_TOKEN, Features
from tests.explainers.toys import attentive
from tests.golden import method_maps as golden

OF_PIXELS = {
    *("lrp", "occlusion", "rise", "scorecam", "shapley", "lime"),
    *("saliency", "gradient_input", "ig_pixels", "smoothgrad", "vargrad"),
    *("guided_backprop", "guided_gradcam"),
}
"""Methods that read images; their own tests ask them several sentences, too."""
ELSEWHERE = {"chefer", "gradcam_plus", "hirescam", "layercam"}
"""Of another captioner, or Grad-CAM but for the weights: tested for themselves."""
ALL = tuple(
    one.method for one in choose([own for own in METHODS if own not in OF_PIXELS | ELSEWHERE])
)


def mixed(features, draw):
    """Features of an encoder of two layers and three heads, with a class token."""
    batch, frames, positions = features.valid.shape
    shape = (batch, frames, 2, 3, 1 + positions, 1 + positions)
    read = jax.nn.softmax(jnp.asarray(draw.normal(size=shape), jnp.float32))
    return dataclasses.replace(features, attentions=read)


def ask(net, variables, features, tokens, lengths, weights, methods=ALL, **others):
    """The answers of some methods in one program."""
    request = make_request(net, variables, features, tokens, lengths, weights, **others)
    answers = {}
    for method in methods:
        answers |= method(net, variables, request)
    return answers


AS_USERS_COMPILE = [pytest.mark.slow, pytest.mark.optimised]


@pytest.mark.parametrize(
    "name",
    [
        *golden.METHODS,
        *(
            pytest.param(name, marks=AS_USERS_COMPILE, id=f"{name}-optimised")
            for name in golden.METHODS
        ),
    ],
)
def test_every_method_answers_as_it_did_before_the_contract(name):
    with np.load(golden.OUTPUTS) as archive:
        expected = {key: archive[key] for key in archive.files if key.startswith(f"{name}/")}
    found = golden.maps(name)
    assert set(found) == set(expected)
    for key, values in found.items():
        span = max(np.ptp(expected[key]), 1e-6)
        np.testing.assert_allclose(values, expected[key], rtol=0, atol=1e-4 * span, err_msg=key)


@pytest.mark.parametrize(
    ("frames", "times"),
    [
        (3, 3),
        pytest.param(3, 1, marks=pytest.mark.slow),
        pytest.param(1, 3, marks=pytest.mark.slow),
    ],
)
def test_several_sentences_are_each_explained_as_alone(frames, times):
    """Asked once; or as often as there were sentences, which is the same program."""
    captioner = attentive()
    draw = np.random.default_rng(0)
    maps = jnp.asarray(draw.normal(size=(2, frames, 2, 3, 24)), jnp.float32)
    features = mixed(Features.from_grid(maps), draw)
    tokens = jnp.asarray(draw.integers(3, captioner.text.size, (2, 3, 4)), jnp.int32)
    lengths = jnp.array([[4, 3, 2], [1, 4, 4]])
    weights = jnp.asarray(draw.integers(0, 2, (2, 3, 5, 4)), jnp.float32)
    call = jax.jit(ask, static_argnums=0)
    arguments = (captioner.net, captioner.variables, features)
    together = call(*arguments, tokens, lengths, weights)
    assert set(together) == set(METHODS) - OF_PIXELS - ELSEWHERE
    for query in range(3):
        own = np.array([query] * times)
        alone = call(*arguments, tokens[:, own], lengths[:, own], weights[:, own])
        for name, whole in together.items():
            one = jax.tree.map(lambda leaf: leaf[:, own], whole)  # noqa: B023  at once
            jax.tree.map(
                lambda left, right: np.testing.assert_allclose(left, right, atol=2e-5),
                one,
                alone[name],
            )
    assert together["caption_guided"].frames is None or frames == 3


def test_words_and_sentences_share_one_trace():
    captioner = attentive()
    features = mixed(Features.from_grid(jnp.ones((1, 2, 3, 24))), np.random.default_rng(0))
    traces = []

    @jax.jit
    def call(tokens, lengths, weights):
        traces.append(tokens.shape)
        return ask(captioner.net, captioner.variables, features, tokens, lengths, weights)

    for seed in range(3):
        draw = np.random.default_rng(seed)
        tokens = draw.integers(3, captioner.text.size, (1, 2, 8))
        weights = draw.random((1, 2, 8, 8), np.float32)
        call.eval_shape(tokens, draw.integers(1, 9, (1, 2)), weights)
    assert len(traces) == 1


@pytest.mark.parametrize("measure", ["log_prob", "logit", "prob"])
def test_score_is_what_its_definition_says(measure):
    """Against a loop over images, sentences and targets in NumPy, contrasts among them."""
    captioner = attentive()
    net, variables = captioner.net, captioner.variables
    draw = np.random.default_rng(3)
    features = Features.from_grid(jnp.asarray(draw.normal(size=(2, 3, 3, 24)), jnp.float32))
    tokens = draw.integers(3, captioner.text.size, (2, 2, 4)).astype(np.int32)
    lengths = np.array([[4, 2], [3, 4]])
    weights = draw.integers(0, 2, (2, 2, 3, 4)).astype(np.float32)
    weights[:, :, 2] = np.eye(4)[1]
    alternatives = np.full(weights.shape, NO_TOKEN, np.int32)
    alternatives[:, :, 2, 1] = 6

    @jax.jit
    def score(features):
        request = make_request(
            *(net, variables, features, tokens, lengths, weights),
            alternatives=alternatives,
            measure=measure,
        )
        return request.score(net, variables, features=features)

    found = score(features)
    for image in range(2):
        own = jax.tree.map(lambda leaf: leaf[image : image + 1], features)  # noqa: B023
        for query in range(2):
            hidden, _ = net.apply(
                variables, own, tokens[image, query][None], method="teacher_force"
            )
            logits = np.asarray(net.apply(variables, hidden, method="readout"), np.float64)[0]
            logs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
            values = logits if measure == "logit" else logs
            for target in range(3):
                said = instead = 0.0
                for step in range(lengths[image, query]):
                    weight = weights[image, query, target, step]
                    said += weight * values[step, tokens[image, query, step]]
                    if target == 2 and step == 1:
                        instead += weight * values[step, 6]
                if measure == "prob":
                    said, instead = np.exp(said), np.exp(instead) if target == 2 else 0.0
                expected = said - instead
                np.testing.assert_allclose(found[image, query, target], expected, atol=1e-4)


def test_a_contrast_is_a_difference_of_targets_or_refused():
    """Why this word rather than that one: for a linear measure the difference of both maps."""
    captioner = attentive()
    draw = np.random.default_rng(4)
    features = Features.from_grid(jnp.asarray(draw.normal(size=(1, 3, 3, 24)), jnp.float32))
    lengths, weights = np.array([[1]]), np.ones((1, 1, 1, 1), np.float32)

    @functools.partial(jax.jit, static_argnums=0)
    def call(names, tokens, alternatives):
        arguments = (captioner.net, captioner.variables, features, tokens, lengths, weights)
        request = make_request(*arguments, alternatives=alternatives)
        answers = [
            answer(METHODS[name], captioner.net, captioner.variables, request) for name in names
        ]
        return {name: answered[name].values for name, answered in zip(names, answers, strict=True)}

    def maps(names, token, alternative=None):
        other = None if alternative is None else np.full((1, 1, 1, 1), alternative)
        return call(names, np.full((1, 1, 1), token, np.int32), other)

    both = ("gradcam", "ig")
    said, instead, contrast = maps(both, 5), maps(both, 7), maps(both, 5, 7)
    for name in both:
        np.testing.assert_allclose(contrast[name], said[name] - instead[name], atol=1e-6)
    for name in ("attention", "attention_choice", "rollout", "caption_guided"):
        with pytest.raises(ValueError, match="explains a word, not the difference of two"):
            maps((name,), 5, 7)


def test_images_and_their_features_have_one_score():
    captioner = attentive()
    net, variables = captioner.net, captioner.variables
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3)).astype(np.uint8)
    features = jax.jit(net.apply, static_argnames="method")(variables, images, method="encode")
    tokens = np.array([[[5, 4, 2]], [[7, 3, 2]]], np.int32)
    weights = np.broadcast_to(np.eye(3, dtype=np.float32), (2, 1, 3, 3))

    @jax.jit
    def scores(features, images):
        request = make_request(net, variables, features, tokens, np.array([[3], [3]]), weights)
        one = request.score(net, variables, features=features)
        return one, request.score(net, variables, images=images), request.forced.log_probs

    of_features, of_images, log_probs = scores(features, images)
    np.testing.assert_allclose(of_features, of_images, atol=1e-5)
    np.testing.assert_allclose(of_features, log_probs, atol=1e-5)
    with pytest.raises(ValueError, match="either images or features"):
        Request.score(
            make_request(net, variables, features, tokens, np.array([[3], [3]]), weights),
            net,
            variables,
        )


def test_a_measure_changes_a_gradient_as_the_chain_rule_says():
    """d p = p d log p, for any method that differentiates the score."""
    captioner = attentive()
    draw = np.random.default_rng(1)
    features = Features.from_grid(jnp.asarray(draw.normal(size=(1, 3, 3, 24)), jnp.float32))
    tokens, weights = np.array([[[5, 4, 2]]], np.int32), np.eye(3, dtype=np.float32)[None, None]
    call = jax.jit(ask, static_argnums=0, static_argnames=("measure", "methods"))
    arguments = (captioner.net, captioner.variables, features, tokens, np.array([[3]]), weights)
    methods = (METHODS["gradcam"],)
    logs = call(*arguments, methods=methods)["gradcam"].values
    probabilities = call(*arguments, methods=methods, measure="prob")["gradcam"].values
    request = make_request(*arguments)
    p = np.exp(np.asarray(request.forced.log_probs))[..., None, None, None]
    np.testing.assert_allclose(probabilities, p * logs, rtol=1e-4, atol=1e-7)
