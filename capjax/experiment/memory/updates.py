"""Whether a run's updates fit into memory, and the parts of a batch with which they do.

The batch size is a setting on which the result depends. The number of parts in which its gradient
is computed (`train.accumulate`) is none: the update is the same, in less memory.
"""

import dataclasses
import json
import math
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, Self, TypeVar

import jax
import numpy as np

from capjax.config import CONFIG_FILE
from capjax.data.pictures.images import UnreadableFileError
from capjax.runtime.distributed import from_first
from capjax.runtime.memory import (
    Memory,
    NoAccountError,
    TooLargeError,
    account,
    device_memory,
    gigabytes,
    largest_fitting,
    needed,
)
from capjax.train import sharding
from capjax.train.plan import LoopConfig

TRIED = 100
"""Images of which the first one that can be read says what a batch holds."""


@dataclasses.dataclass(frozen=True)
class Fitting:
    """How an update shall fit into memory.

    Attributes:
      auto: in as many parts as it takes; False: in `train.accumulate` parts, or not at all.
      limit: bytes of each device; None: what there is.
    """

    auto: bool = False
    limit: float | None = None

    def memory(self) -> Memory:
        """Of each device, the same in all processes."""
        found = from_first(
            lambda: dataclasses.asdict(device_memory(self.limit)),
            what="read how much memory is free",
        )
        return Memory(**found)


def begun_at(workdir: pathlib.Path) -> int:
    """Updates that the newest checkpoint of a run in the workdir has; 0 where there is none."""
    there = (workdir / "checkpoints").glob("[0-9]*")
    steps = [int(path.name) for path in there if path.name.isdecimal()]
    return int(from_first(lambda: max(steps, default=0), what="find checkpoints"))


def begun_parts(config: Any, workdir: pathlib.Path) -> Any:
    """The settings with the parts of a batch that the run in the workdir began with.

    So it resumes exactly, whatever is free today.
    """

    def stored() -> int | None:
        path = workdir / CONFIG_FILE
        if not path.is_file():
            return None  # which is refused later
        parts: int | None = json.loads(path.read_text()).get("train", {}).get("accumulate")
        return parts

    parts = from_first(stored, what=f"read {CONFIG_FILE}")
    return config if parts is None else with_parts(config, parts)


def with_parts(config: Any, parts: int) -> Any:
    """Settings of a run with another number of parts of a batch."""
    return dataclasses.replace(config, train=dataclasses.replace(config.train, accumulate=parts))


def first_readable(inputs: Callable[[np.ndarray], Any], numbers: np.ndarray) -> Any:
    """What a batch holds of the first image that can be read; the shapes are those of all.

    Args:
      inputs: arrays of images by number; raises UnreadableFileError.
      numbers: of images, of which `TRIED` are tried.

    Raises:
      UnreadableFileError: none of these can be read.
    """
    for number in numbers[:TRIED]:
        try:
            return inputs(np.array([number]))
        except UnreadableFileError as error:
            problem = error
    raise problem


def update_memory(
    step: Any, state: Any, one: Mapping[str, np.ndarray], rows: int, mesh: jax.sharding.Mesh
) -> float:
    """Bytes of each device that an update takes, the most of its programs.

    Args:
      step: the update, jitted.
      state: shapes of its state.
      one: a batch of one example.
      rows: examples of a batch.
      mesh: devices.
    """
    place = sharding.split(mesh)
    batch = {
        name: jax.ShapeDtypeStruct((rows, *array.shape[1:]), array.dtype, sharding=place)
        for name, array in one.items()
    }
    lowered = step.lower(state, batch)
    return max(map(needed, lowered if isinstance(lowered, list) else [lowered]))


class Updates(Protocol):
    """The updates of a run, compiled but not run."""

    @property
    def train(self) -> LoopConfig:
        """Settings."""
        ...

    @property
    def steps(self) -> int:
        """How many there are."""
        ...

    @property
    def devices(self) -> int:
        """How many share a batch."""
        ...

    @property
    def examples(self) -> str:
        """What a batch is made of, in the plural."""
        ...

    @property
    def divisible(self) -> bool:
        """Whether the parts of a batch, one after the other, are the same update."""
        ...

    def in_parts(self: "U", parts: int) -> "U":
        """The same updates in so many parts."""
        ...

    def memory(self, usable: float) -> float:
        """Bytes of each device that an update takes, exact where it may be more than `usable`."""
        ...

    def remedies(self, *, automatic: bool) -> Sequence[str]:
        """What to do where an update does not fit, `automatic` or not with --batch-size=auto."""
        ...


U = TypeVar("U", bound=Updates)


@dataclasses.dataclass(frozen=True)
class ExperimentUpdates:
    """The updates of a built experiment, as far as all kinds of run say the same of them.

    Attributes:
      experiment: as its settings say.
    """

    experiment: Any

    @property
    def train(self) -> LoopConfig:
        """Settings."""
        own: LoopConfig = self.experiment.config.train
        return own

    @property
    def steps(self) -> int:
        """How many updates there are."""
        return int(self.experiment.plan.steps)

    @property
    def devices(self) -> int:
        """How many share a batch."""
        return int(self.experiment.mesh.size)

    def in_parts(self, parts: int) -> Self:
        """The same updates in so many parts."""
        config = with_parts(self.experiment.config, parts)
        return dataclasses.replace(
            self, experiment=dataclasses.replace(self.experiment, config=config)
        )


def fit(
    updates: U,
    fitting: Fitting,
    *,
    position: int,
    tell: Callable[[str], None],
) -> U:
    """The updates that fit, compiled but not run.

    Args:
      updates: as settings say.
      fitting: how they shall fit.
      position: updates done; after the first, the number of parts stays what it is.
      tell: takes a sentence on what was chosen and why.

    Raises:
      TooLargeError: an update does not fit; the text says what it needs and what to do.
    """
    if position >= updates.steps:
        return updates
    memory, batch = fitting.memory(), updates.train.batch_size
    given = batch // updates.train.accumulate
    tried = {given: updates}

    def need(rows: int) -> float:
        if rows not in tried:
            tried[rows] = updates.in_parts(batch // rows)
        return tried[rows].memory(memory.usable)

    def parts_of(rows: int) -> str:
        """Such as "64 captions in 4 parts of 16"."""
        more = "" if rows == batch else f" in {batch // rows} parts of {rows}"
        return f"{batch} {updates.examples}{more}"

    def remedies(automatic: bool) -> str:
        found = " or ".join(updates.remedies(automatic=automatic))
        return f"take {found}; or say with --memory=GB that there is more"

    if not fitting.auto:
        try:
            wanted = need(given)
        except NoAccountError:
            return updates
        if wanted > memory.size:
            raise TooLargeError(
                f"an update of {parts_of(given)} needs {account(wanted, memory)}; {remedies(True)}"
            )
        return updates
    sizes = [given] if position or not updates.divisible else _rows(updates)
    found = largest_fitting(sizes, need, memory.usable)
    if found.size is None:
        raise TooLargeError(
            f"an update of {parts_of(sizes[0])} would need "
            f"{account(found.bytes, memory)}; {remedies(False)}"
        )
    why = ""
    if found.over is not None and math.isfinite(found.over[1]):
        over, size = found.over
        why = f"; {parts_of(over)} would need {gigabytes(size)}"
    kept = ", as this run began" if position else ""
    tell(
        f"an update of {parts_of(found.size)}{kept}: "
        f"{account(found.bytes, memory)}{why} (train.accumulate={batch // found.size})"
    )
    return tried[found.size]


def _rows(updates: Updates) -> list[int]:
    """Examples of a part, ascending: no more than settings say, whole ones on every device."""
    train = updates.train
    return [
        train.batch_size // parts
        for parts in range(train.batch_size, train.accumulate - 1, -1)
        if train.batch_size % parts == 0
        and (train.batch_size // parts % updates.devices == 0 or parts == train.accumulate)
    ]
