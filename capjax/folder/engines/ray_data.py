"""Explains on the machines of a Ray cluster, by Ray Data: --engine=ray.

    parts ─► read, tasks on any core ─► explain, actors that hold the model ─► this process

A part is the names of one batch. What is read of it is one block of Ray's object store, and what
is made of it another: results, and files as bytes. Blocks in flight are bounded by Ray Data's
budget for the store, which holds reading back while explaining lags, and both while this process
does. It alone writes the folder of results, as it would have without Ray, so nothing on another
machine outlives a run, and any later run goes on.

A part whose worker, or whose machine, dies is done again elsewhere. The one result of a part comes
back whole or not at all.
"""

import contextlib
import dataclasses
import logging
import os
import pickle
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import ray
import ray.data
import tqdm

from capjax.folder.engines.options import ClusterError, RayOptions
from capjax.folder.engines.parts import Parcel, Part, cut, record
from capjax.folder.engines.worker import Images, Sent, Worker
from capjax.folder.outcome import tell
from capjax.folder.pipeline.folder_run import FolderRun, Group
from capjax.folder.results import State
from capjax.runtime.files import counted
from capjax.runtime.memory import TooLargeError
from capjax.runtime.process import cores, keep_programs

STORE = 2**31
"""Most bytes of the object store of a cluster that is started for one run."""
READING = 0.25
"""Of a core that a task which reads takes where processors explain too: a worker leaves it that."""
IN_FLIGHT = 3
"""Parts that wait at a worker, those included that it works on: two, of which one is written."""
SHARE = 0.9
"""Of its part of a GPU that a worker's process takes, where it shares one."""


@dataclasses.dataclass(frozen=True)
class _Needs:
    """What each worker takes of the cluster.

    Attributes:
      workers: how many there are.
      cpus, gpus: of each.
    """

    workers: int
    cpus: int
    gpus: float

    @property
    def explaining(self) -> dict[str, Any]:
        """Arguments of the actors that explain."""
        if self.gpus:
            return {"num_cpus": self.cpus, "num_gpus": self.gpus}
        return {"num_cpus": self.cpus - READING}

    @property
    def reading(self) -> dict[str, Any]:
        """Arguments of the tasks that read."""
        return {"num_cpus": 1 if self.gpus else READING}

    def environment(self, *, explains: bool) -> dict[str, Any]:
        """What JAX finds set when it starts in a process of this kind."""
        threads = str(self.cpus)
        own = {"NPROC": threads, "OMP_NUM_THREADS": threads, "JAX_PLATFORMS": "cpu"}
        if explains and self.gpus:
            own["JAX_PLATFORMS"] = ""  # this process has set its own to "cpu"
            if self.gpus < 1:
                own["XLA_PYTHON_CLIENT_MEM_FRACTION"] = f"{SHARE * self.gpus:.3f}"
        if kept := os.environ.get("JAX_COMPILATION_CACHE_DIR"):
            own["JAX_COMPILATION_CACHE_DIR"] = kept
        return {"env_vars": own}


def explain_by_ray(run: FolderRun, files: Sequence[str], asked: RayOptions) -> dict[str, State]:
    """Does what is missing, as `FolderRun.explain` does it.

    Args:
      run: whose folder is open here.
      files: of the run.
      asked: of the cluster.

    Returns:
      what each file was before.

    Raises:
      TooLargeError: a batch does not fit into a worker's memory.
      ClusterError: there is no such cluster, it has no room for a worker, or see `Worker`.
    """
    groups, states = run.missing(files)
    parts = cut(run, groups)
    total = sum(len(part.files) for part in parts)
    if not parts:
        return states
    with (
        _cluster(asked) as needs,
        tqdm.tqdm(total=total, unit=run.captioner.noun) as progress,
    ):
        noun = f"{run.captioner.noun}s"
        tell(
            f"{counted(needs.workers, 'worker')} explain {total:,} {noun} on Ray, in "
            f"{counted(len(parts), 'part')}"
        )
        recorded: set[str] = set()
        for parcel in _parcels(run, parts, tuple(groups), needs, asked.memory):
            if parcel.file in recorded:
                continue  # of a part that Ray did again though its result was here
            record(run, parcel, keep=states[parcel.file] == "done")
            recorded.add(parcel.file)
            progress.update()
    lacking = total - len(recorded)
    if lacking:
        raise RuntimeError(f"Ray ended without the results of {lacking} of {total} {noun}")
    return states


def _parcels(
    run: FolderRun,
    parts: Sequence[Part],
    groups: Sequence[Group],
    needs: _Needs,
    memory: float | None,
) -> Iterator[Parcel]:
    """What workers make, in any order."""
    images, sent = ray.put(Images.of(run)), ray.put(Sent.of(run, groups))
    rows = [{"part": pickle.dumps(part)} for part in parts]
    parcels = (
        ray.data.from_items(rows, override_num_blocks=len(rows))
        .map(
            _read,
            fn_kwargs={"images": [images]},
            runtime_env=needs.environment(explains=False),
            **needs.reading,
        )
        .map(
            _Explain,
            fn_constructor_kwargs={"sent": [sent], "gpu": needs.gpus > 0, "memory": memory},
            compute=ray.data.ActorPoolStrategy(
                size=needs.workers,
                max_tasks_in_flight_per_actor=IN_FLIGHT,
                max_concurrent_calls_per_actor=2,
                enable_true_multi_threading=True,
            ),
            runtime_env=needs.environment(explains=True),
            **needs.explaining,
        )
    )
    for row in parcels.iter_rows():
        made = pickle.loads(row["made"])
        if isinstance(made, Exception):
            raise made
        yield from made


_images: dict[Any, Images] = {}
"""Of the run that this process reads for; one, or none yet."""


def _read(row: Mapping[str, bytes], images: list[Any]) -> dict[str, bytes]:
    """A part with its images. What a process has opened stays open for its next part."""
    (reference,) = images
    if reference not in _images:
        _images.clear()
        _images[reference] = ray.get(reference)
    part = pickle.loads(row["part"])
    return {"images": pickle.dumps((part, _images[reference].read(part)), protocol=5)}


class _Explain:
    """An actor of Ray Data: a worker that is made once, and asked for part after part.

    What is wrong with its machine is its answer. Ray would make a trace of an error.
    """

    def __init__(self, sent: list[Any], gpu: bool, memory: float | None) -> None:
        keep_programs()
        self._worker: Worker | ClusterError
        try:
            self._worker = Worker(ray.get(sent[0]), gpu=gpu, memory=memory)
        except ClusterError as error:
            self._worker = error

    def __call__(self, row: Mapping[str, bytes]) -> dict[str, bytes]:
        return {"made": pickle.dumps(self._made(row["images"]), protocol=5)}

    def _made(self, sent: bytes) -> list[Parcel] | Exception:
        if isinstance(self._worker, ClusterError):
            return self._worker
        try:
            return self._worker.explain(*pickle.loads(sent))
        except TooLargeError as error:
            return error


@contextlib.contextmanager
def _cluster(asked: RayOptions) -> Iterator[_Needs]:
    """Joins or starts a cluster; leaves it as it was."""
    own = not ray.is_initialized()
    if own:
        _join(asked)
    context = ray.data.DataContext.get_current()
    before = context.enable_progress_bars
    context.enable_progress_bars = False
    try:
        yield _needs(asked)
    finally:
        context.enable_progress_bars = before
        if own:
            ray.shutdown()


def _join(asked: RayOptions) -> None:
    address = asked.address or os.environ.get("RAY_ADDRESS")
    own: dict[str, Any] = {"address": address}
    if not address:
        own = {"address": "local", "num_cpus": cores(), "object_store_memory": STORE}
        own["include_dashboard"] = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)  # its progress is told here
    try:
        with warnings.catch_warnings():
            # What Ray forks to start is executed at once.
            warnings.filterwarnings("ignore", r"os\.fork\(\)", RuntimeWarning)
            ray.init(**own, logging_level=logging.ERROR)
    except ConnectionError as error:
        raise ClusterError(
            f"no Ray cluster answers at {address} ({error}); start one there with ray start --head "
            "(one that asks for a token takes it from ~/.ray/auth_token with RAY_AUTH_MODE=token), "
            "or leave the address out to use this machine alone"
        ) from error


def _needs(asked: RayOptions) -> _Needs:
    """What workers take of the cluster as it is now.

    Raises:
      ClusterError: it has no room for one, and nobody said how many to wait for.
    """
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    has_gpus = any(own.get("GPU") for own in machines)
    gpus = float(has_gpus) if asked.gpus is None else asked.gpus
    room = sum(
        int(min(own.get("CPU", 0) / asked.cpus, own.get("GPU", 0) / gpus if gpus else 1e9))
        for own in machines
    )
    workers = asked.workers or room
    if not workers:
        what = f"{counted(asked.cpus, 'core')} and {gpus:g} GPUs"
        raise ClusterError(
            f"no machine of the cluster has {what} for a worker; ask for less, or give --workers "
            "where machines come when they are asked for"
        )
    return _Needs(workers, asked.cpus, int(gpus) if gpus >= 1 else gpus)
