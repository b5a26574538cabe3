"""Whether a run's updates fit into memory, and the parts of a batch with which they do.

The batch size is a setting on which the result depends. The number of parts in which its gradient
is computed (`train.accumulate`) is none: the update is the same, in less memory.
"""

import dataclasses
import json
import math
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from capjax.config import CONFIG_FILE, ExperimentConfig
from capjax.data.batches.order import SampleOrder
from capjax.data.batches.pipeline import LENGTH_MULTIPLE
from capjax.data.pictures.images import UnreadableFileError
from capjax.experiment.building import Experiment
from capjax.runtime.distributed import from_first
from capjax.runtime.memory import (
    Memory,
    NoAccountError,
    TooLargeError,
    account,
    device_memory,
    gigabytes,
    largest_fitting,
    longest_needed,
    needed,
)
from capjax.train import sharding
from capjax.train.self_critical import SelfCriticalStep

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


def begun_parts(config: ExperimentConfig, workdir: pathlib.Path) -> ExperimentConfig:
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
    return config if parts is None else _with_parts(config, parts)


def fit_update(
    experiment: Experiment,
    fitting: Fitting,
    *,
    position: int,
    tell: Callable[[str], None],
) -> Experiment:
    """The experiment whose updates fit, compiled but not run; its step is the one that runs.

    Args:
      experiment: as its settings say.
      fitting: how it shall fit.
      position: updates done; after the first, the number of parts stays what it is.
      tell: takes a sentence on what was chosen and why.

    Raises:
      TooLargeError: an update does not fit; the text says what it needs and what to do.
    """
    if position >= experiment.plan.steps:
        return experiment
    memory, train = fitting.memory(), experiment.config.train
    tried: dict[int, Experiment] = {train.batch_size // train.accumulate: experiment}
    one, widths = _one_image(experiment), _widths(experiment, position)

    def need(rows: int) -> float:
        config = _with_parts(experiment.config, train.batch_size // rows)
        own = tried.setdefault(rows, dataclasses.replace(experiment, config=config))
        return _update_memory(own, one, *widths, memory.usable)

    given = train.batch_size // train.accumulate
    if not fitting.auto:
        try:
            wanted = need(given)
        except NoAccountError:
            return experiment
        if wanted > memory.size:
            raise TooLargeError(
                f"an update of {_parts(train.batch_size, given)} needs {account(wanted, memory)}; "
                f"{_remedies(experiment, automatic=True)}"
            )
        return experiment
    sizes = [given] if position or _normalises(experiment) else _rows(experiment)
    found = largest_fitting(sizes, need, memory.usable)
    if found.size is None:
        raise TooLargeError(
            f"an update of {_parts(train.batch_size, sizes[0])} would need "
            f"{account(found.bytes, memory)}; {_remedies(experiment, automatic=False)}"
        )
    why = ""
    if found.over is not None and math.isfinite(found.over[1]):
        over, size = found.over
        why = f"; {_parts(train.batch_size, over)} would need {gigabytes(size)}"
    kept = ", as this run began" if position else ""
    parts = train.batch_size // found.size
    tell(
        f"an update of {_parts(train.batch_size, found.size)}{kept}: "
        f"{account(found.bytes, memory)}{why} (train.accumulate={parts})"
    )
    return tried[found.size]


def _with_parts(config: ExperimentConfig, parts: int) -> ExperimentConfig:
    return dataclasses.replace(config, train=dataclasses.replace(config.train, accumulate=parts))


def _parts(batch: int, rows: int) -> str:
    """Such as "64 captions in 4 parts of 16"."""
    return f"{batch} captions" + ("" if rows == batch else f" in {batch // rows} parts of {rows}")


def _normalises(experiment: Experiment) -> bool:
    """Whether an update takes statistics of its batch, so that parts would be another update."""
    trained = bool(experiment.config.optimizer.encoder_learning_rate)
    return trained and bool(experiment.model.variables.get("batch_stats"))


def _remedies(experiment: Experiment, *, automatic: bool) -> str:
    """What to do where an update does not fit."""
    config = experiment.config
    found = []
    if _normalises(experiment):
        found.append(
            "a smaller --config.train.batch_size (batch norm in training takes each part for the "
            "batch, so that parts would be another update)"
        )
    elif automatic:
        found.append(
            "--batch-size=auto, which computes the same update in as many parts as it takes"
        )
    else:
        found.append("a smaller --config.train.batch_size")
    if config.optimizer.encoder_learning_rate and not config.train.remat:
        found.append("--config.train.remat=True (the same update)")
    return f"take {' or '.join(found)}; or say with --memory=GB that there is more"


def _rows(experiment: Experiment) -> list[int]:
    """Captions of a part, ascending: no more than the settings say, whole ones on every device."""
    train = experiment.config.train
    return [
        train.batch_size // parts
        for parts in range(train.batch_size, train.accumulate - 1, -1)
        if train.batch_size % parts == 0
        and (train.batch_size // parts % experiment.mesh.size == 0 or parts == train.accumulate)
    ]


def _one_image(experiment: Experiment) -> Mapping[str, np.ndarray]:
    """What a batch holds of the first image that can be read; the shapes are those of all."""
    images = experiment.samples.image[:TRIED]
    for number, image in enumerate(images, start=1):
        try:
            return experiment.inputs(np.array([image]))
        except UnreadableFileError:
            if number == len(images):
                raise
    raise AssertionError("there are samples, or they could not have been built")


def _widths(experiment: Experiment, position: int) -> tuple[int, int]:
    """Tokens of the captions, padded, of the update at `position` and of the longest update."""
    config, samples = experiment.config, experiment.samples
    every = samples.lengths_of(np.arange(len(samples)))
    grouped = every if config.data.group_by_length else None
    order = SampleOrder(len(samples), config.train.batch_size, config.seed, grouped)
    return _width(samples.lengths_of(order.batch(position)).max()), _width(every.max())


def _update_memory(
    experiment: Experiment,
    one: Mapping[str, np.ndarray],
    usual: int,
    longest: int,
    usable: float,
) -> float:
    """Bytes of each device that an update takes, whatever the length of its captions."""

    def of(tokens: int) -> float:
        return _step_memory(experiment, one, tokens)

    if usual == longest or isinstance(experiment.train_step(), SelfCriticalStep):
        return of(longest)
    # What grows with the captions does so in proportion; weights do not grow.
    return longest_needed(of(usual), longest / usual, lambda: of(longest), usable)


def _width(longest: int) -> int:
    return -(-int(longest) // LENGTH_MULTIPLE) * LENGTH_MULTIPLE


def _step_memory(experiment: Experiment, one: Mapping[str, np.ndarray], tokens: int) -> float:
    step: Any = experiment.train_step()
    rows, place = experiment.config.train.batch_size, sharding.split(experiment.mesh)
    first = np.zeros(1, np.int32)
    whole = {
        **one,
        **({} if experiment.cells is None else experiment.cells(first, tokens)),
        "tokens": np.zeros((1, tokens), np.int32),
        "lengths": first,
        "id": first,
    }
    batch = {
        name: jax.ShapeDtypeStruct((rows, *array.shape[1:]), array.dtype, sharding=place)
        for name, array in whole.items()
    }
    lowered = step.lower(experiment.state_shapes(), batch)
    return max(map(needed, lowered if isinstance(lowered, list) else [lowered]))
