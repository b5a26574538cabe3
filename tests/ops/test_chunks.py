"""A batch computed a few members at a time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from capjax.ops.chunks import chunking_pays, map_chunks


@pytest.mark.parametrize(("batch", "size"), [(1, 1), (4, 4), (6, 3), (7, 1), (16, 4), (10, 2)])
def test_equals_the_whole(batch, size):
    x = jnp.asarray(np.random.RandomState(0).standard_normal((batch, 3)), jnp.float32)
    seen = []

    def function(part):
        seen.append(part.shape[0])
        return {"sum": part.sum(axis=1), "twice": 2 * part}

    parts = map_chunks(function, x, 4)
    assert set(seen) == {size}
    np.testing.assert_allclose(parts["sum"], x.sum(axis=1), rtol=1e-6)
    np.testing.assert_array_equal(parts["twice"], 2 * x)


def test_several_devices_take_the_batch_whole(monkeypatch):
    assert chunking_pays() == (jax.device_count() == 1)
    monkeypatch.setattr(jax, "device_count", lambda: 8)
    assert not chunking_pays()
