"""Attacks on a captioner whose least perturbation is known: margin / ||w||_1 levels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from capjax.studies.adversarial import FGSM, PGD, Goal, ShowAndFool, attack
from capjax.studies.adversarial.gradient_steps import descend
from capjax.studies.adversarial.show_and_fool import Weights
from tests.studies.adversarial.toys import NET, WRITING, own_caption, two_words

LEAST = 5.5
VARIABLES, IMAGES = two_words(LEAST)
KEYS = jax.vmap(jax.random.key)(np.arange(3))
EPSILONS = np.array([0, 5, 6], np.float32) / 255
FOOLING = ShowAndFool(steps=60, tries=4, look=5, rate=0.05)
METHODS = (FGSM(), PGD(steps=4), FOOLING)


def attacked(method, images=IMAGES, goal=None, epsilons=EPSILONS, keys=KEYS):
    goal = own_caption() if goal is None else goal
    found = attack(NET, method, WRITING, VARIABLES, images, goal, epsilons, keys)
    return jax.tree.map(np.asarray, found)


@pytest.mark.parametrize("method", METHODS, ids=lambda one: one.NAME)
def test_succeeds_from_the_least_perturbation_on_and_never_below(method):
    found = attacked(method)
    assert found.success.tolist() == [False, False, True]
    np.testing.assert_array_equal(found.pictures[0], IMAGES[0])
    change = found.pictures.astype(int) - IMAGES
    np.testing.assert_array_equal(np.abs(change).max(axis=(1, 2, 3)), found.linf)
    np.testing.assert_allclose(np.sqrt((change**2).mean(axis=(1, 2, 3))), found.l2, rtol=1e-6)
    assert found.linf[1] <= 5 and found.linf[2] == 6
    assert found.tokens[:, 0].tolist() == [1, 1, 2] and found.lengths.tolist() == [2, 2, 2]
    # Alone, and in another order: the same.
    goal = own_caption(pictures=3)
    turned = attacked(method, IMAGES[::-1], goal, EPSILONS[::-1], KEYS[::-1])
    np.testing.assert_array_equal(turned.pictures[::-1], found.pictures)


def test_l2_needs_the_distance_of_the_plane():
    weights = np.asarray(VARIABLES["params"]["decoder"]["weights"])[0]
    difference = weights[:, 1] - weights[:, 2]
    # margin / ||w||_2 as a root mean square, in levels; rounding costs up to half a level.
    least = LEAST * np.abs(difference).sum() / np.linalg.norm(difference)
    least /= np.sqrt(len(difference))
    epsilons = np.array([0, least - 0.05, least + 0.6], np.float32) / 255
    found = attacked(PGD(norm="l2", steps=4), epsilons=epsilons)
    assert found.success.tolist() == [False, False, True]
    assert np.all(found.l2 <= epsilons * 255 + 1e-4)


def test_show_and_fool_keeps_the_least_change_and_reaches_targets():
    target = np.array([[2, 0]] * 3, np.int32)  # narrower than what the captioner may write
    goal = Goal.of("caption", target, np.full(3, 2, np.int32))
    fool = ShowAndFool(steps=60, tries=4, look=1, rate=0.002)
    found = attacked(fool, goal=goal, epsilons=np.ones(3, np.float32))
    assert found.success.all() and (found.tokens[:, :2] == target[:, :2]).all()
    # The nearest 8-bit picture of the other caption is hardly nearer than the plane.
    weights = np.asarray(VARIABLES["params"]["decoder"]["weights"])[0]
    difference = weights[:, 1] - weights[:, 2]
    least = LEAST * np.abs(difference).sum() / np.linalg.norm(difference)
    distance = found.l2 * np.sqrt(len(difference))
    assert np.all(distance >= least) and np.all(distance < 1.25 * least)
    assert np.all(found.weight > 0)


def test_the_search_for_c():
    weights, tried = Weights.first(3), []
    outcomes = np.array([[0, 1, 0], [0, 1, 1], [1, 0, 1], [0, 1, 0]], bool)
    for outcome in outcomes:
        tried.append(weights.now.tolist())
        weights = weights.after(jnp.asarray(outcome))
    tried.append(weights.now.tolist())
    expected = [[1, 10, 100, 55, 77.5], [1, 0.5, 0.25, 0.375, 0.3125], [1, 10, 5.5, 3.25, 4.375]]
    assert np.transpose(tried).tolist() == expected


def test_small_steps_of_pgd_never_raise_a_convex_loss():
    draw = np.random.default_rng(3)
    matrix = draw.normal(size=(12, 12)).astype(np.float32)
    curve = matrix @ matrix.T / 12
    pictures = draw.uniform(0.3, 0.7, (2, 12)).astype(np.float32)
    aim = draw.uniform(0, 1, 12).astype(np.float32)

    def losses(moved):
        away = moved - aim[None]
        return jnp.einsum("bi,ij,bj->b", away, curve, away, precision="highest")

    def slope(moved):
        return losses(moved), jax.grad(lambda own: losses(own).sum())(moved)

    epsilons = np.array([0.0, 0.2], np.float32)
    for norm in ("linf", "l2"):
        step = jax.jit(
            lambda moved, norm=norm: descend(
                slope, pictures, moved, epsilons, norm=norm, steps=1, share=0.005
            )
        )
        path = [pictures]
        for _ in range(12):
            path.append(step(path[-1]))
        values = np.stack([losses(moved) for moved in path])
        assert np.all(np.diff(values[:, 1]) < 0) and np.all(values[:, 0] == values[0, 0])


def test_options_that_make_no_sense_are_refused():
    for make, text in (
        (lambda: PGD(norm="l1"), "got norm='l1'; choose one of: linf, l2"),
        (lambda: PGD(steps=0), "got steps=0"),
        (lambda: FGSM(loss="kl"), "got loss='kl'"),
        (lambda: ShowAndFool(steps=7), "multiple of look"),
        (lambda: ShowAndFool(least="l1"), "choose l2 or linf"),
    ):
        with pytest.raises(ValueError, match=text):
            make()
