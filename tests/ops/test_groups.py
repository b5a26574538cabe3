"""Groups along an axis: the same numbers as all at once, whatever the size."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from capjax.ops.groups import in_groups


@pytest.mark.parametrize("size", [1, 2, 3, 4, 6, 7, 9])
def test_groups_of_any_size_give_what_all_at_once_gives(size):
    rows = jnp.arange(14.0).reshape(7, 2)
    columns = jnp.arange(21.0).reshape(3, 7)

    def function(rows, columns):
        assert rows.shape[0] == columns["a"].shape[1] <= max(size, 1)
        return {"sum": rows.sum(1) + columns["a"].sum(0), "rows": rows[:, ::-1]}

    found = jax.jit(lambda *v: in_groups(function, size, *v, axes=(0, 1)))(rows, {"a": columns})
    np.testing.assert_array_equal(found["sum"], rows.sum(1) + columns.sum(0))
    np.testing.assert_array_equal(found["rows"], rows[:, ::-1])


def test_groups_are_as_equal_as_can_be():
    sizes = []

    def function(rows):
        sizes.append(rows.shape[0])
        return rows

    in_groups(function, 9, jnp.arange(10))
    assert sizes == [5]
