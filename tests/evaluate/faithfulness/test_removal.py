"""The copies that the program measures, made one by one in NumPy."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.signal import convolve2d

from capjax.captioner import token_log_probs
from capjax.evaluate.faithfulness.removal import Items, Plan, measure, measured
from capjax.metrics.faithfulness import removal_ranks
from tests.explainers.toys import attentive

CELLS = (3, 5)
PLAN = Plan(CELLS, steps=4, fractions=(0.4,))


@pytest.fixture(scope="module")
def items():
    draw = np.random.default_rng(0)
    tokens = draw.integers(4, 10, (5, 6)).astype(np.int32)
    weights = np.eye(6, dtype=np.float32)[[0, 2, 3, 1, 2]]
    weights[4, 3] = 1  # a word of two tokens
    images = draw.integers(0, 256, (5, 64, 64, 3)).astype(np.uint8)
    seeds = np.arange(5, dtype=np.uint32)
    return Items(images, tokens, weights, seeds, removal_ranks(draw.random((5, 15))))


@pytest.fixture(scope="module")
def found(items):
    ranks = np.stack([items.ranks, 14 - items.ranks])
    return measure(attentive(), items, ranks, PLAN.copies(), CELLS, at_once=4)


def test_the_plan_goes_from_nothing_to_everything():
    assert PLAN.counts() == [0, 4, 8, 11, 15]
    assert Plan((2, 2), steps=14).counts() == [0, 1, 2, 3, 4]
    assert Plan((14, 14)).counts() == [14 * step for step in range(15)]
    copies = PLAN.copies()
    assert copies[:5] == [*(("deletion", n) for n in (4, 8, 11, 15)), ("insertion", 0)]
    assert copies[-2:] == [("road_morf", 6), ("road_lerf", 6)]
    curves = PLAN.curves(np.arange(10.0)[None], np.array([7.0]))
    np.testing.assert_array_equal(curves["deletion"], [[7, 0, 1, 2, 3]])
    np.testing.assert_array_equal(curves["insertion"], [[4, 5, 6, 7, 7]])
    np.testing.assert_array_equal(curves["road_lerf"], [[9]])


def test_cells_are_deleted_and_inserted_in_order(items, found):
    captioner = attentive()
    mean, std = (np.array(own) for own in (captioner.net.mean, captioner.net.std))
    seen = (items.images - mean) / std
    delta = np.zeros((11, 11))
    delta[5, 5] = 1
    kernel = gaussian_filter(delta, 5)  # the released code's gkern(11, 5)
    row = 3
    blurred = np.stack(
        [convolve2d(seen[row, ..., c], kernel, mode="same") for c in range(3)], axis=-1
    )
    at = np.arange(64)
    cell = (at * 3 // 64)[:, None] * 5 + at * 5 // 64
    copies = []
    for kind, count in PLAN.copies()[:8]:
        gone = (items.ranks[row][cell] < count)[..., None]
        copy = (
            np.where(gone, 0, seen[row])
            if kind == "deletion"
            else np.where(gone, seen[row], blurred)
        )
        copies.append(copy * std + mean)

    @jax.jit
    def read(images):
        features = captioner.net.apply(captioner.variables, images, method="encode")
        tokens = jnp.broadcast_to(items.tokens[row], (8, 6))
        return token_log_probs(captioner.net, captioner.variables, features, tokens)

    expected = np.exp(np.asarray(read(np.stack(copies).astype(np.float32))) @ items.weights[row])
    assert np.ptp(expected) > 1e-4
    np.testing.assert_allclose(found[0, row, :8], expected, rtol=2e-3)


def test_least_relevant_first_is_the_order_turned_round(items, found):
    np.testing.assert_allclose(found[0, :, 8], found[1, :, 9], rtol=1e-5)
    assert np.abs(found[0, :, 8] / found[0, :, 9] - 1).max() > 1e-3


def test_neighbours_change_nothing(items, found):
    turned = items.taken(np.array([4, 2, 0]))
    again = measure(attentive(), turned, turned.ranks[None], PLAN.copies(), CELLS, at_once=4)
    np.testing.assert_allclose(again[0], found[0, [4, 2, 0]], rtol=1e-5)


def test_clips_have_cells_in_every_frame():
    plan = dataclasses.replace(PLAN, frames=3)
    assert plan.count == 45
    captioner = attentive()
    shapes = (((2, 3, 64, 64, 3), "uint8"), ((2, 6), "int32"), ((2, 6), "float32"))
    items = Items(
        *(jax.ShapeDtypeStruct(*own) for own in shapes),
        jax.ShapeDtypeStruct((2,), "uint32"),
        jax.ShapeDtypeStruct((2, plan.count), "int32"),
    )
    copies = jax.ShapeDtypeStruct((4,), "int32")
    own = functools.partial(measured.__wrapped__, captioner.net, CELLS, mesh=None)
    assert jax.eval_shape(own, captioner.variables, items, copies, copies).shape == (2, 4)
