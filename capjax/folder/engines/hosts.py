"""Explains on hosts that JAX joins (TPU slices, Slurm): --engine=hosts.

    the first process ─► hosts/<run>/work.json ─► process i: parts i, i + n, i + 2 n, …
    process i ─► hosts/<run>/<part>.zip ─► the first process ─► the folder of results

All processes run the same command, see one `--out`, and explain with their own devices: no program
is of several hosts. The parts are cut before the work, as any engine cuts them. The first process,
which alone holds the folder's lock, takes what was made in the order of the parts, as a run of one
process records it; so the folder is the same, file by file, and any engine goes on with it. What
was handed in and not taken yet when a process died is done again.

The others wait for the first one by looking for files: operations between processes give up.
"""

import itertools
import json
import pathlib
import shutil
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import tqdm

from capjax.folder.engines.handed import read_parcels, read_work, write_parcels, write_work
from capjax.folder.engines.options import ClusterError
from capjax.folder.engines.parts import Parcel, Part, cut, record
from capjax.folder.engines.worker import Sent, Worker, versions
from capjax.folder.maps.behind import Behind
from capjax.folder.outcome import tell
from capjax.folder.pipeline.folder_run import THREADS, FolderRun, Group
from capjax.folder.reading import Queue, ahead
from capjax.folder.results import State
from capjax.folder.writing import Loaded
from capjax.runtime.distributed import agree, from_first, together
from capjax.runtime.files import counted

FOLDER = "hosts"
"""Below the folder of results, while processes work."""
SEEN, POLL = 30.0, 0.1
"""Seconds until a shared file system shows what another host wrote; and between two looks."""
UNDER_WAY = 2
"""Parts that a process works on: one is explained, and one is written."""
_WORK = "work.json"
_OWN = ("process", "memory", "break_lock")
"""Options that may differ between the processes."""


def sweep(out: pathlib.Path) -> None:
    """Removes what processes handed in and nobody takes, which tells them that the run has ended.

    Args:
      out: the folder of results, whose lock is held here.
    """
    shutil.rmtree(out / FOLDER, ignore_errors=True)


def explain_by_hosts(
    run: FolderRun,
    files: Sequence[str],
    out: pathlib.Path,
    options: Mapping[str, Any],
    memory: float | None,
) -> dict[str, State] | None:
    """Does what is missing, as `FolderRun.explain` does it; called by every process.

    Args:
      run: whose folder is open here: in the first process `out`, in others one of their own.
      files: of the run.
      out: the folder of results, which all processes see.
      options: of the command line, by name.
      memory: bytes of each device, of --memory.

    Returns:
      what each file was before. In the other processes None, once the first one is done with
      everything and has called `sweep`.

    Raises:
      TooLargeError: a batch does not fit into memory here.
      ClusterError: the processes differ, or do not see one folder; or the first one ended the run.
    """
    try:
        _agree(run, files, options)
        folder = out / FOLDER / _meet(out)
    except ValueError as error:
        raise ClusterError(f"{error}") from error
    if jax.process_index():
        groups, parts = read_work(_awaited(folder / _WORK, folder), run.methods)
        _make(run, groups, parts, folder, memory, lambda: None)
        while folder.is_dir():
            time.sleep(POLL)
        return None
    found, states = run.missing(files)
    parts = cut(run, found)
    groups = tuple(found)
    write_work(folder / _WORK, run.methods, groups, parts)
    total = sum(map(len, found.values()))
    noun = run.captioner.noun
    if parts:
        hosts = counted(jax.process_count(), "host")
        tell(f"{hosts} explain {counted(total, noun)}, in {counted(len(parts), 'part')}")
    behind = Behind()
    try:
        behind.start(lambda: _make(run, groups, parts, folder, memory, behind.check_wanted))
        with tqdm.tqdm(total=total, unit=noun, disable=not total) as progress:
            for number, _ in enumerate(parts):
                path = _awaited(folder / _name(number), folder, behind.raise_failure)
                for parcel in read_parcels(path):
                    record(run, parcel, keep=states[parcel.file] == "done")
                    progress.update()
                path.unlink()
        behind.wait()
    finally:
        behind.stop()
    return states


def _agree(run: FolderRun, files: Sequence[str], options: Mapping[str, Any]) -> None:
    """Raises ValueError, in all processes, where they are of different runs."""
    same = {
        name: own for name, own in sorted(options.items()) if name not in _OWN and name[0] != "_"
    }
    fitted = "" if run.kept is None else run.kept.digest
    agree(
        {
            "versions": [versions()],
            "options": [f"{name} is {own!r}" for name, own in same.items()],
            "models": [run.captioner.hash, fitted],
            "images": [json.dumps([file, *run.queries.about(file)]) for file in files],
        }
    )


def _meet(out: pathlib.Path) -> str:
    """The name of a new folder of this run below `FOLDER`, which all processes see.

    Raises:
      ValueError: in all processes, where one does not see it.
    """

    def make() -> str:
        folder = out / FOLDER / uuid.uuid4().hex
        folder.mkdir(parents=True)
        return folder.name

    name: str = from_first(make, what=f"write to --out={out}")
    with together(f"use --out={out}"):
        until = time.monotonic() + SEEN
        while not (out / FOLDER / name).is_dir():
            if time.monotonic() > until:
                raise ValueError(
                    f"what the first process wrote there is not here after {SEEN:g} seconds; all "
                    "processes need one folder, on a file system that their machines share"
                )
            time.sleep(POLL)
    return name


def _awaited(
    path: pathlib.Path, folder: pathlib.Path, check: Callable[[], None] = lambda: None
) -> pathlib.Path:
    """The path of a file below `folder`, once it is there; `check` may raise until then."""
    while not path.exists():
        check()
        _check_goes_on(folder)
        time.sleep(POLL)
    return path


def _check_goes_on(folder: pathlib.Path) -> None:
    if not folder.is_dir():
        raise ClusterError(
            f"{folder} is gone: the first process ended this run, or another run began; its own "
            "log says why"
        )


def _name(number: int) -> str:
    return f"{number:06d}.zip"


def _make(
    run: FolderRun,
    groups: Sequence[Group],
    parts: Sequence[Part],
    folder: pathlib.Path,
    memory: float | None,
    check: Callable[[], None],
) -> None:
    """Hands in the parts that are this process's.

    Args:
      run, groups, parts, memory: as elsewhere.
      folder: to hand them in at.
      check: called before each; raises where they are not wanted any more.
    """
    own = [*enumerate(parts)][jax.process_index() :: jax.process_count()]
    if not own:
        return
    worker = Worker(Sent.of(run, groups), gpu=False, memory=memory)

    def make(number: int, part: Part, images: Sequence[Loaded | str]) -> None:
        made: list[Parcel] = worker.explain(part, images)
        _check_goes_on(folder)
        write_parcels(folder / _name(number), made)

    files = [file for _, part in own for file in part.files]
    read_ahead = Queue(2 * max(len(part.files) for _, part in own))
    under_way = Queue(UNDER_WAY)
    with ThreadPoolExecutor(THREADS) as readers, ThreadPoolExecutor(UNDER_WAY) as makers:
        images = ahead(readers, run.read, files, read_ahead)
        for number, part in own:
            check()
            loaded = [*itertools.islice(images, len(part.files))]
            for _ in under_way.room_for(0):
                check()
            under_way.append(makers.submit(make, number, part, loaded), 0)
        for _ in under_way.rest():
            check()
