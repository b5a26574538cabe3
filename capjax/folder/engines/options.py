"""The options of explain.py that say where the work is done: --engine, and what is of one alone."""

import argparse
import dataclasses

from capjax.runtime.command_line import at_least_one, from_zero, not_negative, refuse_idle
from capjax.runtime.distributed import Place
from capjax.runtime.memory import AUTO

ENGINE = "--engine"
LOCAL, RAY, HOSTS = "local", "ray", "hosts"
INSTALL = "pip install 'capjax[ray]'"
_OF_RAY = ("ray_address", "workers", "gpus_per_worker", "cpus_per_worker")
_OF_HOSTS = ("coordinator", "processes", "process")
_REFUSED = {
    "estimate": "it is of this machine: leave {engine} out",
    "warm_up": "each process compiles for itself, or reads $JAX_COMPILATION_CACHE_DIR",
    "profile": "its stages are those of one process: leave {engine} out",
    "studies": "run the same command without {engine} afterwards: it goes on with this --out",
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
    """Adds --engine, and the options of Ray and of hosts."""
    add = parser.add_argument
    add(
        ENGINE,
        choices=(LOCAL, RAY, HOSTS),
        default=LOCAL,
        help="local: this process does the work (default); ray (extra `ray`): the machines of a "
        "Ray cluster read and explain, and this process alone writes --out; hosts: this command "
        "is started once a host, as Slurm and TPU slices do, and each explains its part into an "
        "--out that all see; results are the same, and each goes on with what another left",
    )
    add(
        "--coordinator",
        metavar="HOST:PORT",
        help="with --engine=hosts: of process 0 (default of these three: detected, by Slurm, "
        "Open MPI, Kubernetes or a TPU pod)",
    )
    add("--processes", type=at_least_one, metavar="N", help="with it: how many there are")
    add("--process", type=from_zero, metavar="I", help="with it: number of this one, from 0")
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


def chosen_engine(options: argparse.Namespace) -> RayOptions | Place | None:
    """What is asked of Ray, or the place among the hosts; None for the local engine.

    Raises:
      ValueError: options of the other engine, or what Ray's cannot do.
      ImportError: Ray is missing.
    """
    engine = f"{ENGINE}={options.engine}"
    if options.engine != RAY:
        refuse_idle(options, _OF_RAY, f"it is of {ENGINE}={RAY}; add that")
    if options.engine != HOSTS:
        refuse_idle(options, _OF_HOSTS, f"it is of {ENGINE}={HOSTS}; add that")
    if options.engine == LOCAL:
        return None
    for name, remedy in _REFUSED.items():
        if getattr(options, name) not in (None, False, ()):
            remedy = remedy.format(engine=engine)
            raise ValueError(f"{engine} does not take --{name.replace('_', '-')}: {remedy}")
    if options.batch_size == AUTO:
        raise ValueError(
            f"{engine} does not take --batch-size=auto: the parts of the work are cut before the "
            "memory of all who do it is known; give a number, which each of them checks"
        )
    if options.engine == HOSTS:
        process = -1 if options.process is None else options.process
        return Place(options.coordinator or "", options.processes or 0, process)
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
