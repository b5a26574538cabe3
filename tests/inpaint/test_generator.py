import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from capjax.inpaint.gated import gate, twice_as_large
from capjax.inpaint.generator import Generator, composite, matching_holes
from tests.compiled import apply, init
from tests.reference import inpainter as reference

NET = Generator(cnum=4)
SIZE = 32


def random_weights(cnum, seed=0):
    """NumPy weights of every layer; kernels keep the size of what they are given."""
    rng = np.random.default_rng(seed)
    return {
        name: {
            "kernel": rng.normal(size=shape) / np.sqrt(np.prod(shape[:3])) * 1.5,
            "bias": rng.normal(size=shape[-1]) * 0.1,
        }
        for name, shape in reference.kernel_shapes(cnum).items()
    }


WEIGHTS = random_weights(NET.cnum)
VARIABLES = {"params": jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), WEIGHTS)}


@functools.cache
def pictures():
    rng = np.random.default_rng(1)
    images = rng.uniform(-1, 1, (2, SIZE, SIZE, 3))
    masks = np.zeros((2, SIZE, SIZE, 1))
    masks[0, 5:15, 8:17] = masks[1, 20:, :9] = 1
    return images, masks


def run(images, masks):
    arrays = (jnp.asarray(each, jnp.float32) for each in (images, masks))
    return apply(NET, VARIABLES, *arrays)


def test_every_layer_has_the_shapes_of_the_released_one():
    images, masks = (jax.ShapeDtypeStruct((1, 16, 16, depth), jnp.float32) for depth in (3, 1))
    params = jax.eval_shape(Generator().init, jax.random.key(0), images, masks)["params"]
    kernels = {name: layer["kernel"].shape for name, layer in params.items()}
    assert len(kernels) == 42 and kernels == reference.kernel_shapes()
    assert all(layer["bias"].shape == (kernels[name][-1],) for name, layer in params.items())
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 4_052_478


def test_numpy_computes_the_same():
    images, masks = pictures()
    found = run(images, masks)
    for index in range(2):
        coarse, refined = reference.generate(WEIGHTS, images[index], masks[index, ..., 0])
        assert refined.std() > 0.1  # no saturated tanh, no vanished signal
        np.testing.assert_allclose(found.coarse[index], coarse, atol=1e-4)
        np.testing.assert_allclose(found.refined[index], refined, atol=1e-4)


def test_pictures_are_independent_and_holes_unseen():
    images, masks = pictures()
    found = run(images, masks)
    other = np.where(masks > 0, 7.0, images)
    swapped = run(other[::-1], masks[::-1])
    # Another place in the batch may be summed in another order: a few units in the last place.
    np.testing.assert_allclose(swapped.refined, found.refined[::-1], rtol=0, atol=5e-7)


def test_composite_keeps_known_pixels_to_the_bit():
    images, masks = (jnp.asarray(each, jnp.float32) for each in pictures())
    images = images.at[0, 0, 0].set(-0.0)
    filled = composite(jnp.full_like(images, jnp.nan), images, masks)
    kept = np.broadcast_to(masks == 0, images.shape)
    assert np.asarray(filled)[kept].tobytes() == np.asarray(images)[kept].tobytes()
    assert np.isnan(filled).sum() == (~kept).sum() > 0


def test_the_first_half_of_the_channels_are_features():
    values = jnp.asarray([-1.0, 0.5]).reshape(1, 1, 1, 2)
    np.testing.assert_allclose(gate(values, "elu").item(), -0.393469, atol=1e-6)  # G-06
    np.testing.assert_allclose(gate(values[..., ::-1], "elu").item(), 0.5 / (1 + np.e), atol=1e-6)
    assert gate(values, "relu").item() == 0


def test_upsampling_repeats():
    x = np.arange(12.0).reshape(1, 2, 3, 2)
    np.testing.assert_array_equal(twice_as_large(x), x.repeat(2, axis=1).repeat(2, axis=2))


def test_two_steps_of_a_mask_differ_from_one():
    lone = np.broadcast_to(np.eye(256, dtype=bool)[:, :, None, None], (256, 256, 8, 1))
    seen = {
        how: np.flatnonzero(np.asarray(matching_holes(jnp.asarray(lone), how)).any(axis=(1, 2)))
        for how in ("two_step", "one_step")
    }
    assert len(seen["two_step"]) == len(seen["one_step"]) == 32
    assert (seen["two_step"] != seen["one_step"]).sum() == 24


def test_pictures_that_are_nearly_alike_are_added_to_alike_at_first():
    """What is learnt from one hole holds for the next only if features change little with it."""
    net = NET.clone(cnum=8, start="plate")
    images, masks = (jnp.asarray(each, jnp.float32) for each in pictures())
    noise = np.random.default_rng(2).normal(0, 0.02, images.shape)
    both = jnp.concatenate([images, images + noise]), jnp.concatenate([masks, masks])
    apart = []
    for seed in range(3):
        found = apply(net, init(net, jax.random.key(seed), *both), *both)
        added = np.asarray(found.refined - jnp.where(both[1] > 0.5, found.coarse, found.refined))
        ours, theirs = added[:2], added[2:]
        assert ours.std() > 0
        apart.append(np.std(ours - theirs) / np.std(ours))
    assert np.mean(apart) < 0.2, apart


def test_what_does_not_fit_is_refused():
    def trace(net, *shapes):
        inputs = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
        jax.eval_shape(net.init, jax.random.key(0), *inputs)

    with pytest.raises(ValueError, match="got pictures of 36x32; both sides .* multiples of 8"):
        trace(NET, (1, 36, 32, 3), (1, 36, 32, 1))
    with pytest.raises(ValueError, match=r"masks \(1, 32, 32, 3\); expected"):
        trace(NET, (1, 32, 32, 3), (1, 32, 32, 3))
    with pytest.raises(ValueError, match="cnum=6; expected a multiple of 4"):
        trace(Generator(cnum=6), (1, 8, 8, 3), (1, 8, 8, 1))
    with pytest.raises(ValueError, match="three_step.*two_step or one_step"):
        trace(Generator(cnum=4, mask_resize="three_step"), (1, 8, 8, 3), (1, 8, 8, 1))
