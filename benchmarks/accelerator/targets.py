"""Chips that programs are compiled for, none of which needs to be there: their public figures."""

from __future__ import annotations

import dataclasses
import functools
import os

import jax
from jax.experimental import topologies
from jax.sharding import SingleDeviceSharding


def only_compile() -> None:
    """Tells jax and the compilers, before they start, that no chip is there."""
    jax.config.update("jax_platforms", "cpu")
    os.environ["TPU_SKIP_MDS_QUERY"] = "1"  # no metadata server to ask
    os.environ["ALLOW_MULTIPLE_LIBTPU_LOAD"] = "1"  # no chip to lock
    os.environ["XLA_FLAGS"] = "--xla_gpu_autotune_level=0"  # no chip to try kernels on


@dataclasses.dataclass(frozen=True)
class Target:
    """One chip.

    Attributes:
      name: what it is called on the command line.
      platform: "tpu" or "cuda".
      topology: arguments of `get_topology_desc`.
      flops: operations a second of dense bfloat16 products.
      full_flops: the same of float32 products that are not allowed fewer digits.
      bandwidth: bytes a second of its memory.
      memory: bytes of it.
      clock: cycles a second.
      vector: float32 operations of the vector units, a cycle.
      exponentials: float32 exponentials, tangents, logarithms and the like, a cycle.
      kernel_exponentials: the same in kernels written by hand.
      cache: bytes of the cache before its memory; 0 where there is none.
    """

    name: str
    platform: str
    topology: dict[str, str]
    flops: float
    full_flops: float
    bandwidth: float
    memory: float
    clock: float
    vector: float
    exponentials: float
    kernel_exponentials: float
    cache: float = 0.0

    @functools.cached_property
    def device(self) -> jax.Device:
        """The first chip of the topology: it compiles, and runs nothing."""
        return topologies.get_topology_desc(platform=self.platform, **self.topology).devices[0]

    def placed(self, tree: object) -> object:
        """The shapes of a tree, as arrays on this chip."""
        where = SingleDeviceSharding(self.device)

        def place(leaf: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
            return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=where)

        return jax.tree.map(place, tree)


# 132 cores of 128 lanes and 16 special-function units, 1.98 GHz, 141 GB at 4.8 TB/s, 50 MB of L2:
# NVIDIA's data sheet of the H200 (989 TFLOP/s of dense bfloat16), and the figures of OpenXLA's
# target specifications (xla/backends/gpu/target_config/specs).
_H200 = """gpu_device_info { threads_per_block_limit: 1024 threads_per_warp: 32
shared_memory_per_block: 49152 shared_memory_per_core: 233472 threads_per_core_limit: 2048
core_count: 132 fpus_per_core: 128 block_dim_limit_x: 2147483647 block_dim_limit_y: 65535
block_dim_limit_z: 65535 memory_bandwidth: 4800000000000 l2_cache_size: 52428800
clock_rate_ghz: 1.98 device_memory_size: 151397597184 shared_memory_per_block_optin: 232448
cuda_compute_capability { major: 9 } registers_per_core_limit: 65536
registers_per_block_limit: 65536 } platform_name: "CUDA" dnn_version_info { major: 9 minor: 10 }
runtime_version { major: 12 minor: 8 } device_description_str: "NVIDIA H200 141GB HBM3e" """

# Peaks, bandwidths and memory: cloud.google.com/tpu/docs/v5e and /v6e, as in jax's own
# `pallas.tpu.get_tpu_info`. The clock of v5e is its peak over four units of 128 x 128; that of v6e
# its peak over four times 256 x 256, at which its compiler's estimates of plain copies are 0.81 of
# the bandwidth (v5e: 0.78). Vector units have 8 x 128 lanes with four slots; a float32 exponential
# takes about 73 of these slots in the bundles that v5e's compiler makes of XLA's. In the bundles of
# a Pallas kernel (`vocabulary_loss_tpu` on v5e and v6e) it is one multiplication and one
# instruction of the transcendental unit, of which there is one a cycle.
_LANES = 8 * 128
TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        Target(
            name="v5e",
            platform="tpu",
            topology={"topology_name": "v5e:2x2"},
            flops=197e12,
            full_flops=197e12 / 6,
            bandwidth=819e9,
            memory=16e9,
            clock=1.5e9,
            vector=4 * _LANES,
            exponentials=4 * _LANES / 73,
            kernel_exponentials=_LANES,
        ),
        Target(
            name="v6e",
            platform="tpu",
            topology={"topology_name": "v6e:2x2"},
            flops=918e12,
            full_flops=918e12 / 6,
            bandwidth=1640e9,
            memory=32e9,
            clock=1.75e9,
            vector=4 * _LANES,
            exponentials=4 * _LANES / 73,
            kernel_exponentials=_LANES,
        ),
        Target(
            name="h200",
            platform="cuda",
            topology={"topology": "1x1x1", "target_config": _H200},
            flops=989e12,
            full_flops=67e12,
            bandwidth=4.8e12,
            memory=141e9,
            clock=1.98e9,
            vector=132 * 128,
            exponentials=132 * 16,
            kernel_exponentials=132 * 16,
            cache=50e6,
        ),
    )
}
"""Name -> chip."""
