"""One mesh axis, `data`: parameters are replicated, batches are split over all devices.

The same code serves one CPU, eight GPUs and many hosts.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

AXIS = "data"


def data_mesh(devices: Sequence[jax.Device] | None = None) -> Mesh:
    """A mesh of all devices of all processes (or of `devices`) along `data`.

    Those of one process stand side by side, so that its share of a batch is one slice; a TPU pod
    numbers its devices otherwise.
    """
    chosen = jax.devices() if devices is None else devices
    ordered = sorted(chosen, key=lambda device: (device.process_index, device.id))
    return Mesh(np.asarray(ordered), (AXIS,))


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


def place_whole(tree: Any, sharding: NamedSharding) -> Any:
    """Arrays that every process holds whole, placed over all devices of all processes.

    `jax.device_put` does so in a run of one process.
    """
    if jax.process_count() == 1:
        return jax.device_put(tree, sharding)

    def place(leaf: Any) -> jax.Array:
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            data = place(jax.random.key_data(leaf))
            return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
        host = np.asarray(leaf)
        return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])

    return jax.tree.map(place, tree)
