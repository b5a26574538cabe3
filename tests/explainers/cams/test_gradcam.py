"""Grad-CAM against a toy golden, a closed form and one gradient at a time."""

import jax
import jax.numpy as jnp
import numpy as np

from capjax.captioner import SHIPPED, load_captioner, token_log_probs
from capjax.decoding import Greedy
from capjax.explainers.batch import check_methods, explain_batch
from capjax.explainers.cams.gradcam import GradCAM, weighted_activations
from capjax.explainers.wording import Wording
from capjax.types import Features
from tests.explainers.toys import asking, attentive, linear_net

gradcam = asking(GradCAM())


def test_toy_golden():
    activations = jnp.array([[1.0, 0.0], [0.0, 0.0], [0.0, 0.0], [0.0, 2.0]])[None]  # [F P D]
    gradients = jnp.broadcast_to(jnp.array([0.4, -0.1]), (1, 4, 2))
    maps = weighted_activations(activations, gradients, jnp.ones((1, 4), bool))
    np.testing.assert_allclose(maps, [[0.4, 0, 0, -0.2]], rtol=1e-6)
    np.testing.assert_allclose(jax.nn.relu(maps), [[0.4, 0, 0, 0]], rtol=1e-6)


def test_linear_decoder_has_the_closed_form_of_cam():
    # Logit k is the mean of channel k, so d log p(w) / d A^k_ij = ([k = w] - p_k) / P everywhere.
    grid = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(np.float32)
    tokens, lengths = np.array([[1, 4], [3, 0]], np.int32), np.array([2, 1], np.int32)
    weights = np.broadcast_to(np.eye(2, dtype=np.float32), (2, 2, 2))
    maps = gradcam(
        linear_net(), {}, Features.from_grid(jnp.asarray(grid)), tokens, lengths, weights
    )
    for row in range(2):
        logits = grid[row].mean((0, 1))
        p = np.exp(logits) / np.exp(logits).sum()
        for word in range(lengths[row]):
            alpha = (np.eye(5)[tokens[row, word]] - p) / 12
            expected = (grid[row] @ alpha).reshape(-1)
            np.testing.assert_allclose(maps[row, word, 0], expected, atol=1e-6)
    assert not np.any(maps[1, 1])  # beyond the sentence


def test_all_words_at_once_are_one_gradient_each():
    captioner = attentive()
    net, variables = captioner.net, captioner.variables
    grid = np.random.default_rng(1).normal(size=(2, 8, 8, 24)).astype(np.float32)
    features = Features.from_grid(jnp.asarray(grid))
    tokens, lengths = np.array([[5, 4, 2], [7, 2, 0]], np.int32), np.array([3, 2], np.int32)
    weights = np.broadcast_to(np.eye(3, dtype=np.float32), (2, 3, 3))
    maps = gradcam(net, variables, features, tokens, lengths, weights)

    @jax.jit
    @jax.grad
    def gradient(image, sentence, word):
        alone = Features.from_grid(image[None])
        return token_log_probs(net, variables, alone, sentence[None])[0, word]

    for row in range(2):
        for word in range(lengths[row]):
            alpha = gradient(jnp.asarray(grid[row]), tokens[row], word).mean((0, 1))
            expected = (grid[row] @ np.asarray(alpha)).reshape(-1)
            np.testing.assert_allclose(maps[row, word, 0], expected, atol=1e-6)


def test_weights_add_up():
    captioner = attentive()
    grid = np.random.default_rng(2).normal(size=(1, 8, 8, 24)).astype(np.float32)
    features = Features.from_grid(jnp.asarray(grid))
    tokens, lengths = np.array([[5, 4, 2]], np.int32), np.array([3], np.int32)
    weights = np.array([[[1, 0, 0], [0, 1, 0], [1, 1, 0], [1, -1, 0]]], np.float32)
    maps = np.asarray(
        gradcam(captioner.net, captioner.variables, features, tokens, lengths, weights)
    )[0]
    np.testing.assert_allclose(maps[2], maps[0] + maps[1], atol=1e-6)
    np.testing.assert_allclose(maps[3], maps[0] - maps[1], atol=1e-6)


def test_positions_that_are_not_valid_get_nothing_and_give_nothing():
    captioner, padding = attentive(), 3
    positions = jnp.asarray(np.random.default_rng(3).normal(size=(1, 1, 6, 24)), jnp.float32)
    padded = jnp.pad(positions, ((0, 0), (0, 0), (0, padding), (0, 0)), constant_values=50.0)
    valid = jnp.arange(6 + padding)[None, None] < 6
    features = Features(padded, jnp.zeros((1, 0, 24)), valid, (1, 6 + padding))
    tokens, lengths = np.array([[5, 2]], np.int32), np.array([2], np.int32)
    weights = np.eye(2, dtype=np.float32)[None]
    maps = gradcam(captioner.net, captioner.variables, features, tokens, lengths, weights)
    plain = Features(positions, jnp.zeros((1, 0, 24)), jnp.ones((1, 1, 6), bool), (1, 6))
    expected = gradcam(captioner.net, captioner.variables, plain, tokens, lengths, weights)
    np.testing.assert_allclose(maps[..., :6], expected, atol=1e-6)
    assert not np.any(maps[..., 6:])


def test_a_full_batch_is_explained_as_one_image_alone():
    """As many images and words as the compiler computes in parallel parts."""
    captioner = load_captioner(SHIPPED / "scenes-soft")
    image = np.random.default_rng(0).integers(0, 256, (1, 80, 80, 3), np.uint8)
    query = Wording.of_query(captioner, "a large red ring above a small orange circle " * 2)
    chosen = check_methods(captioner, ("gradcam",))

    def maps(count):
        (found, *_), *_ = explain_batch(
            captioner,
            np.repeat(image, count, axis=0),
            [(80, 80)] * count,
            methods=chosen,
            decoding=Greedy(),
            max_len=8,
            queries=[[query]] * count,
        )
        return found.explanations["gradcam"].maps

    alone = maps(1)
    np.testing.assert_allclose(maps(32), alone, rtol=0, atol=1e-4 * np.abs(alone).max())
