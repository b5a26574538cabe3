"""Attention against a literal loop over queries and heads, and its masks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from capjax.ops.attention import attend

HEADS, SIZE = 3, 4


def drawn(*lengths, lead=(2,), seed=0):
    random = np.random.RandomState(seed)
    return [random.standard_normal((*lead, n, HEADS, SIZE)).astype(np.float32) for n in lengths]


def literal(query, key, value, allowed):
    """One batch entry: for each head and query, exp of scores over the keys it may see."""
    out = np.zeros(query.shape)
    weights = np.zeros((HEADS, len(query), len(key)))
    for head in range(HEADS):
        for row in range(len(query)):
            seen = np.flatnonzero(allowed[head, row])
            scores = [float(query[row, head] @ key[k, head]) / np.sqrt(SIZE) for k in seen]
            share = np.exp(scores) / np.sum(np.exp(scores)) if len(seen) else np.zeros(0)
            weights[head, row, seen] = share
            out[row, head] = sum(w * value[k, head] for w, k in zip(share, seen, strict=True))
    return out, weights


@pytest.mark.parametrize("masked", [False, True])
def test_equals_a_literal_loop(masked):
    query, key, value = drawn(5, 6, 6)
    allowed = np.random.RandomState(1).uniform(size=(2, HEADS, 5, 6)) < (0.5 if masked else 2)
    allowed[0, 0, 0] = not masked  # one query that sees nothing
    out, weights = attend(query, key, value, allowed if masked else None, dtype=jnp.float32)
    for row in range(2):
        expected = literal(query[row], key[row], value[row], allowed[row])
        np.testing.assert_allclose(out[row], expected[0], atol=1e-5)
        np.testing.assert_allclose(weights[row], expected[1], atol=1e-6)


def test_masks_broadcast_and_leading_axes_are_free():
    query, key, value = drawn(5, 5, 5, lead=(2, 3))
    causal = np.tril(np.ones((5, 5), bool))
    out, weights = attend(query, key, value, causal, dtype=jnp.float32)
    full = np.broadcast_to(causal, (2, 3, HEADS, 5, 5))
    again, _ = attend(query, key, value, full, dtype=jnp.float32)
    one, _ = attend(query[1, 2], key[1, 2], value[1, 2], causal, dtype=jnp.float32)
    assert out.shape == (2, 3, 5, HEADS, SIZE)
    np.testing.assert_array_equal(out, again)
    np.testing.assert_allclose(out[1, 2], one, atol=1e-6)
    np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-6)
    assert float(np.abs(weights * ~full).max()) == 0


def test_a_query_that_sees_nothing_has_finite_gradients():
    query, key, value = drawn(3, 4, 4)
    mask = np.ones((1, 1, 3, 4), bool)
    mask[..., 1, :] = False

    def total(*arrays):
        out, _ = attend(*arrays, mask, dtype=jnp.float32)
        return jnp.sum(out**2)

    out, weights = attend(query, key, value, mask, dtype=jnp.float32)
    assert float(np.abs(out[:, 1]).max()) == 0 == float(np.abs(weights[:, :, 1]).max())
    for gradient in jax.grad(total, argnums=(0, 1, 2))(query, key, value):
        assert np.isfinite(gradient).all()


def test_huge_scores_stay_finite():
    query, key, value = drawn(2, 3, 3)
    out, weights = attend(1e18 * query, 1e18 * key, value, dtype=jnp.float32)
    assert np.isfinite(out).all()
    np.testing.assert_allclose(weights.max(-1), 1, atol=1e-6)


def test_bfloat16_rounds_products_only():
    query, key, value = drawn(5, 6, 6)
    out, weights = attend(query, key, value, dtype=jnp.bfloat16)
    exact, _ = attend(query, key, value, dtype=jnp.float32)
    assert out.dtype == jnp.bfloat16
    assert weights.dtype == jnp.float32
    np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-6)
    np.testing.assert_allclose(np.asarray(out, np.float32), exact, atol=0.03)
