"""Runs of several processes: joining them, and failing together instead of waiting for ever.

Every function does nothing in a run of one process.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NoReturn

import jax
import numpy as np
from jax.experimental import multihost_utils

from capjax.runtime.lost_process import explained_loss

WRONG_USAGE = 2
SECONDS = 300
"""How long a process waits for the others to start; nodes of a cluster start minutes apart."""
SILENCE = 60
"""Seconds after which a process that gives no sign of life counts as dead, and the run ends."""
LONGEST = 2**16
"""Most bytes of a text that is sent to other processes."""
SHOWN = 200
"""Most characters that are shown of an entry in which processes differ."""


@dataclasses.dataclass(frozen=True)
class Place:
    """Which process of how many this is, and where the first one is met.

    Attributes:
      coordinator: "host:port" of process 0, where the others can reach it; empty: detected.
      processes: how many there are; 0: detected.
      process: the number of this one, from 0; -1: detected.
    """

    coordinator: str = ""
    processes: int = 0
    process: int = -1

    def filled(self) -> "Place":
        """The place with its gaps filled from the environment.

        Reads $JAX_COORDINATOR_ADDRESS, $JAX_NUM_PROCESSES and $JAX_PROCESS_ID.
        """
        values = os.environ
        return Place(
            self.coordinator or values.get("JAX_COORDINATOR_ADDRESS", ""),
            self.processes or _number("JAX_NUM_PROCESSES", 0),
            self.process if self.process >= 0 else _number("JAX_PROCESS_ID", -1),
        )

    def check(self) -> None:
        """Raises ValueError unless all or nothing is given, and it makes sense."""
        given = (bool(self.coordinator), self.processes > 0, self.process >= 0)
        if any(given) and not all(given):
            raise ValueError(
                f"got coordinator {self.coordinator or 'none'}, {self.processes or 'no'} processes "
                f"and number {self.process if self.process >= 0 else 'none'}; give all of "
                "--coordinator=HOST:PORT --processes=N --process=I, or none of them where "
                "Slurm, Open MPI, Kubernetes or a TPU pod knows"
            )
        if all(given) and not self.process < self.processes:
            raise ValueError(
                f"process {self.process} of {self.processes} does not exist; "
                f"count from 0 to {self.processes - 1}"
            )
        port = self.coordinator.rpartition(":")[2]
        if self.coordinator and not port.isdigit():
            raise ValueError(f"got coordinator {self.coordinator!r}; expected HOST:PORT")


def join(
    place: Place | None = None, *, seconds: int = SECONDS, option: str = "--distributed"
) -> None:
    """Joins the other processes of this run; call it before the first array.

    With nothing given JAX finds its place from what Slurm, Open MPI, Kubernetes or a TPU pod says.

    Args:
      place: this process's.
      seconds: after so long without the others the program ends with exit code 2: JAX itself
        would abort it with a stack trace.
      option: of the command, that asks for it.

    Raises:
      ValueError: half a place is given, or nothing is and there is no cluster to ask.
    """
    place = (place or Place()).filled()
    place.check()
    # Its handler would swallow a SIGTERM that arrives before the training loop listens.
    jax.config.update("jax_enable_preemption_service", False)
    arguments: dict[str, Any] = {}
    if place.coordinator:
        arguments = {
            "coordinator_address": place.coordinator,
            "num_processes": place.processes,
            "process_id": place.process,
            "cluster_detection_method": "deactivate",
        }
    watch = threading.Timer(seconds, _give_up, args=(place, seconds))
    watch.daemon = True
    watch.start()
    try:
        with explained_loss():
            jax.distributed.initialize(
                **arguments,
                initialization_timeout=seconds + 30,
                heartbeat_timeout_seconds=SILENCE,
                shutdown_timeout_seconds=SILENCE,
            )
    except (ValueError, RuntimeError) as error:
        raise ValueError(_cannot_join(place, str(error), option)) from error
    finally:
        watch.cancel()


def _number(name: str, default: int) -> int:
    value = os.environ.get(name, "")
    if value and not value.isdigit():
        raise ValueError(f"${name} is {value!r}; expected a number")
    return int(value) if value else default


def _cannot_join(place: Place, reason: str, option: str) -> str:
    if place.coordinator:
        return (
            f"process {place.process} of {place.processes} cannot join at {place.coordinator}: "
            f"{reason}; the address is that of the machine of process 0, with a free port"
        )
    return (
        f"{option} found no other processes ({reason}): this is no Slurm, Open MPI or "
        f"Kubernetes job and no TPU pod. Start every process with {option} "
        f"--coordinator=HOST:PORT --processes=N --process=I, or leave {option} out: one "
        "process uses all devices of its machine"
    )


def _give_up(place: Place, seconds: int) -> None:
    who = f"process {place.process} of {place.processes}" if place.processes else "this process"
    where = f" at {place.coordinator}" if place.coordinator else ""
    sys.stderr.write(
        f"error: {who} met not all the others{where} within {seconds} seconds. Were all started, "
        "with the same address and number of processes? Is the port open between the machines? "
        "Proxy settings (http_proxy …) can keep them apart too\n"
    )
    sys.stderr.flush()
    os._exit(WRONG_USAGE)


def leave(code: int) -> NoReturn:
    """Ends a failed process at once; the others, which may wait for it, end soon after.

    A usual exit would first wait for the others to exit too.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


@contextlib.contextmanager
def together(what: str) -> Iterator[None]:
    """Runs a block of work on the host; if it fails in one process, it fails in all.

    The block must not talk to other processes.

    Raises:
      ValueError: another process failed; the text has its number and its words.
    """
    if jax.process_count() == 1:
        yield
        return
    problem: Exception | None = None
    try:
        yield
    except Exception as error:  # raised again below, once the others know
        problem = error
    texts = gather_text("" if problem is None else f"{type(problem).__name__}: {problem}")
    if problem is not None:
        raise problem
    for process, text in enumerate(texts):
        if text:
            raise ValueError(f"process {process} of {len(texts)} could not {what}: {text}")


def from_first(work: Callable[[], Any], *, what: str) -> Any:
    """Runs `work` in the first process and returns its plain JSON value in all of them.

    Raises:
      ValueError: in the others, where the first one failed.
    """
    if jax.process_count() == 1:
        return work()
    value = None
    with together(what):
        if jax.process_index() == 0:
            value = work()
    if jax.process_index():
        return json.loads(gather_text("")[0])
    gather_text(json.dumps(value))
    return value


def agree(parts: Mapping[str, Sequence[str]]) -> None:
    """Compares lists of texts among the processes.

    Args:
      parts: what a list holds, "words" say → its entries; the same names in all processes.

    Raises:
      ValueError: in all processes, where they differ; the text says in what, and which process has
        what.
    """
    if jax.process_count() == 1:
        return
    for what, items in parts.items():
        if len(set(gather_text(_digest(items)))) > 1:
            number = _first_difference(items)
            held = gather_text(items[number][:SHOWN] if number < len(items) else "no more")
            groups: dict[str, list[str]] = {}
            for process, text in enumerate(held):
                groups.setdefault(text, []).append(str(process))
            listed = "; ".join(f"process {', '.join(own)}: {text}" for text, own in groups.items())
            raise ValueError(
                f"the processes of this run have different {what}, first at number {number}: "
                f"{listed}. Start all of them with the same command, files and versions"
            )


def _first_difference(items: Sequence[str]) -> int:
    """The number of the first entry in which the processes differ; they do in one at least."""
    same, longest = 0, max(int(text) for text in gather_text(str(len(items))))
    while same < longest - 1:
        middle = (same + longest) // 2
        if len(set(gather_text(_digest(items[:middle])))) == 1:
            same = middle
        else:
            longest = middle
    return same


def _digest(items: Sequence[str]) -> str:
    return hashlib.sha256(json.dumps(list(items)).encode()).hexdigest()


def gather_text(text: str) -> list[str]:
    """The texts of all processes, cut to `LONGEST` bytes each, in their order."""
    if jax.process_count() == 1:
        return [text]
    row = np.zeros(LONGEST, np.uint8)
    data = text.encode()[:LONGEST]
    row[: len(data)] = np.frombuffer(data, np.uint8)
    rows = np.asarray(multihost_utils.process_allgather(row)).reshape(-1, LONGEST)
    return [bytes(each).rstrip(b"\0").decode(errors="replace") for each in rows]
