"""The options of explain.py that say where the work is done: --engine, and what is Ray's."""

import argparse
import dataclasses

from capjax.runtime.command_line import at_least_one, not_negative, refuse_idle
from capjax.runtime.memory import AUTO

LOCAL, RAY = "local", "ray"
INSTALL = "pip install 'capjax[ray]'"
_REFUSED = {
    "estimate": "it is of this machine: leave --engine=ray out",
    "warm_up": "each worker compiles for itself, or reads $JAX_COMPILATION_CACHE_DIR",
    "profile": "its stages are those of one process: leave --engine=ray out",
    "studies": "run the same command without --engine=ray afterwards: it goes on with this --out",
}
"""Option -> what to do instead."""


class ClusterError(ValueError):
    """A cluster, or one of its machines, is not what a run needs; the text says what to do."""


@dataclasses.dataclass(frozen=True)
class RayOptions:
    """What is asked of a cluster.

    Attributes:
      address: of the cluster, as `ray.init` takes it; None: that of $RAY_ADDRESS, else one of this
        machine, for this run alone.
      workers: that explain; None: as many as the cluster has room for when the run begins.
      gpus: of each worker; a part of one is shared. None: one where the cluster has any.
      cpus: cores of each worker, and on a processor its threads.
      memory: bytes of each device, of --memory; None: what the device gives out.
    """

    address: str | None = None
    workers: int | None = None
    gpus: float | None = None
    cpus: int = 1
    memory: float | None = None


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    """Adds --engine, and the options of Ray."""
    add = parser.add_argument
    add(
        "--engine",
        choices=(LOCAL, RAY),
        default=LOCAL,
        help="local: this process does the work (default); ray (extra `ray`): the machines of a "
        "Ray cluster read and explain, and this process alone writes --out; results are the same, "
        "and either goes on with what the other left",
    )
    add(
        "--ray-address",
        metavar="ADDRESS",
        help="of the cluster, auto or HOST:PORT (default: $RAY_ADDRESS, else one that is started "
        "on this machine and ends with the run)",
    )
    add(
        "--workers",
        type=at_least_one,
        metavar="N",
        help="of a Ray cluster, each with a copy of the model (default: as many as it has room "
        "for when the run begins)",
    )
    add(
        "--gpus-per-worker",
        type=_gpus,
        metavar="N",
        help="1, 2 …, or a part of one such as 0.5, which several workers then share (default: 1 "
        "where the cluster has GPUs, else 0)",
    )
    add(
        "--cpus-per-worker",
        type=at_least_one,
        default=1,
        metavar="N",
        help="cores of each worker and, without GPUs, the threads that it computes with (default "
        "1); results on processors are bit for bit the same for the same number of threads",
    )


def chosen_engine(options: argparse.Namespace) -> RayOptions | None:
    """What is asked of Ray; None for the local engine.

    Raises:
      ValueError: options of the other engine, or what Ray's cannot do.
      ImportError: Ray is missing.
    """
    if options.engine == LOCAL:
        own = ["ray_address", "workers", "gpus_per_worker", "cpus_per_worker"]
        refuse_idle(options, own, "it is of --engine=ray; add that")
        return None
    for name, remedy in _REFUSED.items():
        if getattr(options, name) not in (None, False, ()):
            raise ValueError(f"--engine=ray does not take --{name.replace('_', '-')}: {remedy}")
    if options.batch_size == AUTO:
        raise ValueError(
            "--engine=ray does not take --batch-size=auto: the parts of the work are cut before "
            "any worker's memory is known; give a number, which each worker checks"
        )
    try:
        import ray.data  # noqa: F401
    except ImportError as error:
        raise ImportError(f"--engine=ray needs Ray; install it with: {INSTALL}") from error
    return RayOptions(
        options.ray_address,
        options.workers,
        options.gpus_per_worker,
        options.cpus_per_worker,
        options.memory,
    )


def _gpus(text: str) -> float:
    value = not_negative(text)
    if value > 1 and value != int(value):
        raise argparse.ArgumentTypeError(f"got {text}; expected 0 to 1, or a whole number")
    return value
