"""One mesh axis, `data`: parameters are replicated, batches are split over all devices.

The same code serves one CPU, eight GPUs and many hosts.
"""

from collections.abc import Mapping, Sequence

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

AXIS = "data"


def data_mesh(devices: Sequence[jax.Device] | None = None) -> Mesh:
    """A mesh of all devices of all processes (or of `devices`) along `data`."""
    return Mesh(np.asarray(jax.devices() if devices is None else devices), (AXIS,))


def replicated(mesh: Mesh) -> NamedSharding:
    """Every device holds the whole array."""
    return NamedSharding(mesh, PartitionSpec())


def split(mesh: Mesh) -> NamedSharding:
    """The leading axis is cut into equal parts, one a device."""
    return NamedSharding(mesh, PartitionSpec(AXIS))


def check_batch_size(batch_size: int, mesh: Mesh) -> None:
    """Raises ValueError unless a global batch divides evenly over the mesh."""
    if batch_size % mesh.size:
        lower = max(mesh.size, batch_size - batch_size % mesh.size)
        raise ValueError(
            f"a batch of {batch_size} does not divide over {mesh.size} devices; "
            f"set train.batch_size to a multiple of {mesh.size}, e.g. {lower}"
        )


def place_batch(batch: Mapping[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """A process's share of a batch as arrays over the whole mesh."""
    sharding = split(mesh)
    return {
        name: jax.make_array_from_process_local_data(sharding, value)
        for name, value in batch.items()
    }
