"""What holes are shown at first: the least bending, blind to what was there; and the generator."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from capjax.inpaint.generator import Generator, cut_off
from capjax.inpaint.thin_plate import thin_plate

SIDE = 32
spanned = jax.jit(thin_plate, static_argnames="tension")
hole = np.zeros((1, SIDE, SIDE, 1), bool)
hole[:, 8:22, 6:25] = True


def test_a_plane_goes_on_and_nothing_of_the_hole_is_seen():
    rows, columns = np.mgrid[:SIDE, :SIDE] / SIDE
    plane = np.stack([rows, columns, rows - 2 * columns], axis=-1)[None].astype(np.float32)
    noise = np.random.default_rng(0).normal(size=plane.shape)
    found = np.asarray(spanned(np.where(hole, noise, plane).astype(np.float32), hole))
    np.testing.assert_allclose(found, plane, atol=0.05)  # of a range of up to 3
    np.testing.assert_array_equal(found, spanned(plane, hole))
    np.testing.assert_array_equal(found[~hole[..., 0]], plane[~hole[..., 0]])


@pytest.mark.parametrize("tension", [0.0, 0.03, 0.5, 1.0])
def test_it_bends_and_stretches_nearly_as_little_as_can_be(tension):
    """Against the normal equations of the same energy, solved by NumPy."""
    random = np.random.default_rng(1)
    smooth = np.cumsum(np.cumsum(random.normal(size=(SIDE, SIDE)), axis=0), axis=1)
    picture = np.repeat((smooth / np.abs(smooth).max())[None, ..., None], 3, axis=-1)
    laplacian = np.zeros((SIDE * SIDE, SIDE * SIDE))
    for place in range(SIDE * SIDE):
        row, column = divmod(place, SIDE)
        for down, right in ((-1, 0), (1, 0), (0, -1), (0, 1)):
            near = np.clip(row + down, 0, SIDE - 1) * SIDE + np.clip(column + right, 0, SIDE - 1)
            laplacian[place, near] += 0.25
        laplacian[place, place] -= 1
    free, known = hole.ravel(), picture[0, ..., 0].ravel() * ~hole.ravel()
    bent = (1 - tension) * laplacian.T @ laplacian - tension * laplacian
    best = known.copy()
    best[free] = np.linalg.solve(bent[np.ix_(free, free)], -(bent @ known)[free])
    found = np.asarray(spanned(picture.astype(np.float32), hole, tension=tension))
    found = found[0, ..., 0].ravel()

    def energy(x):
        steps = [np.diff(x.reshape(SIDE, SIDE), axis=axis) for axis in (0, 1)]
        stretched = sum(np.sum(step**2) for step in steps) / 4
        return (1 - tension) * np.sum((laplacian @ x) ** 2) + tension * stretched

    assert energy(found) < 1.02 * energy(best)


@pytest.mark.parametrize("tension", [0.0, 0.3])
def test_a_generator_that_adds_begins_with_the_plate(tension):
    """With weights of zero both stages are what is known, and the plate in the hole."""
    net = Generator(cnum=4, start="plate", tension=tension)
    picture = jnp.asarray(np.random.default_rng(1).uniform(-1, 1, (1, SIDE, SIDE, 3)), jnp.float32)
    mask = hole.astype(np.float32)
    shapes = jax.eval_shape(net.init, jax.random.key(0), picture, mask)
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), shapes)
    found = jax.jit(net.apply)(zeros, picture, mask)
    plate = jnp.clip(spanned(picture, hole, tension=tension), -1, 1)
    for stage in (found.coarse, found.refined):
        np.testing.assert_allclose(stage, plate, atol=1e-5)


def test_what_overshoots_is_cut_off_and_still_learns():
    """The value is the cut one, to the bit; the slope is as if nothing had been cut."""
    picture = jnp.asarray([-1.5, -1.0, 0.3, 1.0, 1.7])
    values, pull = jax.vjp(cut_off, picture)
    np.testing.assert_array_equal(values, np.clip(picture, -1, 1))
    np.testing.assert_array_equal(pull(jnp.arange(5.0))[0], np.arange(5.0))
