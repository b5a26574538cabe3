import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from capjax.inpaint.contextual_attention import contextual_attention
from tests.reference import inpainter as reference

attention = jax.jit(contextual_attention, static_argnames=("scale", "fuse", "offsets", "budget"))
TINY = 1
"""Bytes: one row of places at a time."""


def golden_field():
    """methods §3.3: f[h, w, c] and its mask, at feature resolution."""
    h, w, c = np.meshgrid(np.arange(16), np.arange(16), np.arange(2), indexing="ij")
    field = np.sin(0.7 * h + 1.3 * w + 2.1 * c) + 0.5 * np.cos(0.3 * h * w + c)
    mask = np.zeros((16, 16, 1))
    mask[4:10, 6:12] = 1
    return field, reference.nearest(mask, 8, 8)[..., 0]


def attend(field, hole, *, fuse, other=None):
    given, theirs = (
        jnp.asarray(each, jnp.float32)[None] for each in (field, field if other is None else other)
    )
    return attention(given, theirs, jnp.asarray(hole)[None] > 0, fuse=fuse, offsets=True)


GOLDEN = {
    False: (
        (0.812165, 143.581256),
        ((0.099994, 0.288284), (-0.491171, 0.410417), (-0.252253, 0.259976)),
    ),
    True: (
        (-5.244957, 161.475667),
        ((0.125, 0.28334), (0.096627, 0.145059), (-0.252536, 0.260083)),
    ),
}


@pytest.mark.parametrize("fuse", GOLDEN)
def test_golden(fuse):
    field, hole = golden_field()
    found = attend(field, hole, fuse=fuse)
    values = np.asarray(found.values[0], np.float64)
    totals, places = GOLDEN[fuse]
    # Sums of 512 float32 values of size 1.
    np.testing.assert_allclose([values.sum(), (values**2).sum()], totals, atol=2e-4)
    np.testing.assert_allclose(values[[0, 5, 15], [0, 7, 15]], places, atol=2e-6)
    if not fuse:
        own = np.array([27 // 8, 27 % 8])
        np.testing.assert_array_equal(own + found.offsets[0, 3, 3], [25 // 8, 25 % 8])


def test_golden_without_mask_and_of_a_constant():
    field, hole = golden_field()
    values = np.asarray(attend(field, 0 * hole, fuse=False).values, np.float64)
    np.testing.assert_allclose(
        [values.sum(), (values**2).sum()], [-0.116052, 251.147472], atol=2e-4
    )
    constant = attend(np.ones_like(field), hole, fuse=False).values[0]
    np.testing.assert_allclose(constant[0, 0], 0.25, atol=1e-6)
    np.testing.assert_allclose(constant[1, 1], 0.999738, atol=1e-6)


@pytest.mark.parametrize(("fuse", "budget"), [(False, 2**28), (False, TINY), (True, TINY)])
def test_naive_loops_of_any_shape(fuse, budget):
    rng = np.random.default_rng(0)
    fields, others = rng.normal(size=(2, 2, 6, 10, 3))
    holes = np.zeros((2, 3, 5))
    holes[0, 1, 3] = holes[1, 0, 0] = 1  # every picture its own
    given = [jnp.asarray(each, jnp.float32) for each in (fields, others)]
    found = attention(
        *given, jnp.asarray(holes) > 0, scale=2.0, fuse=fuse, offsets=True, budget=budget
    )
    for index in range(2):
        values, _, offsets = reference.contextual_attention(
            fields[index], others[index], holes[index], scale=2.0, fuse=fuse
        )
        np.testing.assert_allclose(found.values[index], values, atol=2e-6)
        np.testing.assert_array_equal(found.offsets[index], offsets)


def test_masked_patches_lend_no_values():
    field, hole = golden_field()
    inside = field.copy()
    inside[6:8, 8:10] += 100.0  # no valid window of 3x3 or 4x4 reaches as far
    first = attend(field, hole, fuse=False)
    other = attend(field, hole, fuse=False, other=inside)
    np.testing.assert_array_equal(first.values, other.values)
    nothing = attend(field, np.ones_like(hole), fuse=False)
    assert not np.any(nothing.values)
    np.testing.assert_array_equal(nothing.offsets[0, 3, 2], [-3, -2])


def test_derivatives_do_not_depend_on_the_budget():
    given = jnp.asarray(golden_field()[0][:8, :8], jnp.float32)[None]
    holes = jnp.zeros((1, 4, 4), bool).at[0, 0, 0].set(True)

    @functools.partial(jax.jit, static_argnums=1)
    def slope(x, budget):
        def total(x):
            return jnp.sum(jnp.sin(contextual_attention(x, x, holes, budget=budget).values))

        return jax.grad(total)(x)

    whole, parts = slope(given, 2**28), slope(given, TINY)
    assert np.isfinite(whole).all() and np.any(whole)
    np.testing.assert_allclose(parts, whole, atol=1e-5)


def test_other_shapes_are_refused():
    x = jnp.zeros((1, 4, 6, 2))
    with pytest.raises(ValueError, match=r"\(1, 2, 2\); expected \(1, 2, 3\)"):
        contextual_attention(x, x, jnp.zeros((1, 2, 2), bool))
    with pytest.raises(ValueError, match="even sides"):
        contextual_attention(x[:, :3], x[:, :3], jnp.zeros((1, 1, 3), bool))


@pytest.mark.slow
def test_memory_of_a_large_picture_and_no_difference_for_a_small_one():
    def compiled(side, **settings):
        maps = jax.ShapeDtypeStruct((1, side // 4, side // 4, 96), jnp.float32)
        holes = jax.ShapeDtypeStruct((1, side // 8, side // 8), jnp.bool_)
        return attention.lower(maps, maps, holes, **settings).compile()

    assert compiled(1024).memory_analysis().temp_size_in_bytes < 512e6
    maps = jax.random.normal(jax.random.key(0), (1, 64, 64, 96))
    holes = jnp.zeros((1, 32, 32), bool).at[0, 8:20, 10:22].set(True)
    whole, parts = compiled(256), compiled(256, budget=2**21)
    np.testing.assert_array_equal(whole(maps, maps, holes).values, parts(maps, maps, holes).values)
