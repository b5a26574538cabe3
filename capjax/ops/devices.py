"""A batch over all devices of this process: each computes its own rows and exchanges nothing.

The program of one device runs on every device under `shard_map`, which is what `pmap` was used for.
"""

import functools
from collections.abc import Callable, Generator
from typing import ParamSpec, TypeVar

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

AXIS = "row"

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


@functools.cache
def local_mesh() -> Mesh:
    """All devices of this process along one axis."""
    return Mesh(np.asarray(jax.local_devices()), (AXIS,))


def mesh_of(rows: int) -> Mesh | None:
    """The devices for a batch of so many rows: all of this process.

    None where one device is enough: there is no other, or there is one row.
    """
    mesh = local_mesh()
    return None if mesh.size == 1 or rows < 2 else mesh


def pad_rows(batch: np.ndarray, mesh: Mesh | None, least: int = 0) -> np.ndarray:
    """`batch` with its last row repeated until it has `least` rows that divide over the devices."""
    rows = max(len(batch), least)
    missing = rows - len(batch) + (0 if mesh is None else -rows % mesh.size)
    return np.concatenate([batch, np.repeat(batch[-1:], missing, axis=0)]) if missing else batch


def rows_over(mesh: Mesh | None, shapes: _Result) -> _Result:
    """Shapes of what `by_rows` returns (from `jax.eval_shape`), with where it leaves them."""
    return placed_shapes(shapes, None if mesh is None else NamedSharding(mesh, PartitionSpec(AXIS)))


def placed_shapes(shapes: _Result, place: NamedSharding | None) -> _Result:
    """Shapes (from `jax.eval_shape`) of arrays that are at this place."""
    placed: _Result = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(
            leaf.shape, leaf.dtype, sharding=place, weak_type=leaf.weak_type
        ),
        shapes,
    )
    return placed


def by_rows(function: Callable[..., _Result], mesh: Mesh | None) -> Callable[..., _Result]:
    """`function(whole, divided)` on every device of `mesh`, each with its share of the rows.

    Args:
      function: of two trees of arrays. Rows of the second, and of all that it returns, come first
        in every array; each row's result depends on that row alone.
      mesh: from `mesh_of`; None calls `function` as it is.
    """
    if mesh is None:
        return function
    rows = PartitionSpec(AXIS)
    divided: Callable[..., _Result] = jax.shard_map(
        function,
        mesh=mesh,
        in_specs=(PartitionSpec(), rows),
        out_specs=rows,
        check_vma=False,  # loops start from zeros, which are the same on every device
    )
    return divided


Steps = Generator[None, None, _Result]
"""Work in steps, each of which ends where it has given the devices something to do; returns a
result after the last one. Whoever does a step of several works in turn keeps the devices busy while
the host reads what came back."""


def finished(steps: Steps[_Result]) -> _Result:
    """Does all steps, one after the other."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: _Result = end.value
            return result


def at_one_go(work: Callable[_Arguments, Steps[_Result]]) -> Callable[_Arguments, _Result]:
    """The function that does all steps of `work` and returns its result."""

    @functools.wraps(work)
    def whole(*arguments: _Arguments.args, **named: _Arguments.kwargs) -> _Result:
        return finished(work(*arguments, **named))

    return whole
