"""Random streams: by name, example and position; never by batch shape."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from capjax import rng

KEY = jax.random.key(3)


def data(key):
    return np.asarray(jax.random.key_data(key))


def test_streams_differ_by_name_and_repeat():
    assert (data(rng.stream(KEY, "dropout")) != data(rng.stream(KEY, "sample"))).any()
    np.testing.assert_array_equal(data(rng.stream(KEY, "a")), data(rng.stream(KEY, "a")))


def test_masks_follow_the_example_whatever_the_batch_and_padding():
    keys = rng.per_example(KEY, jnp.array([4, 9, 11]))
    mask = rng.keep_mask(keys, 0.5, length=6, width=10)
    alone = rng.keep_mask(rng.per_example(KEY, jnp.array([9])), 0.5, length=9, width=10)
    np.testing.assert_array_equal(alone[0, :6], mask[1])
    assert (mask[0] != mask[1]).any()


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.5, 0.9])
def test_rate_and_expectation(rate):
    keys = rng.per_example(KEY, jnp.arange(64))
    values = jnp.ones((64, 20, 101))
    dropped = np.asarray(rng.dropout(values, rate, keys=keys))
    count = dropped.size
    kept = 1 - round(256 * rate) / 256
    sigma = np.sqrt(kept * (1 - kept) / count)
    assert abs((dropped > 0).mean() - kept) < 4 * sigma
    np.testing.assert_allclose(dropped[dropped > 0], 1 / kept, rtol=1e-6)
    assert abs(kept - (1 - rate)) <= 1 / 512


def test_units_are_independent():
    keys = rng.per_example(KEY, jnp.arange(256))
    mask = np.asarray(rng.keep_mask(keys, 0.5, length=16, width=16)).reshape(-1, 16)
    correlation = np.corrcoef(mask.T.astype(float)) - np.eye(16)
    assert np.abs(correlation).max() < 5 / np.sqrt(len(mask))


def test_no_keys_or_no_rate_is_the_identity():
    values = jnp.ones((2, 3, 4))
    assert rng.dropout(values, 0.5, keys=None) is values
    assert rng.dropout(values, 0.0, keys=rng.per_example(KEY, jnp.arange(2))) is values


def test_an_impossible_rate_is_named():
    with pytest.raises(ValueError, match=r"dropout rate 1.5 is outside \[0, 1\)"):
        rng.dropout(jnp.ones((1, 1, 1)), 1.5, keys=rng.per_example(KEY, jnp.arange(1)))
