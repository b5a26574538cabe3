"""Whether updates of a captioner fit into memory, whatever the length of its captions."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from capjax.data.batches.order import SampleOrder
from capjax.data.batches.pipeline import LENGTH_MULTIPLE
from capjax.data.pictures.images import UnreadableFileError
from capjax.experiment.building import Experiment
from capjax.experiment.memory.updates import Fitting, fit, with_parts
from capjax.runtime.memory import longest_needed, needed
from capjax.train import sharding
from capjax.train.plan import LoopConfig
from capjax.train.self_critical import SelfCriticalStep

TRIED = 100
"""Images of which the first one that can be read says what a batch holds."""


def fit_update(
    experiment: Experiment,
    fitting: Fitting,
    *,
    position: int,
    tell: Callable[[str], None],
) -> Experiment:
    """The experiment whose updates fit; its step is the one that runs.

    Arguments and errors are those of `capjax.experiment.memory.updates.fit`.
    """
    updates = _CaptionUpdates(experiment, position)
    return fit(updates, fitting, position=position, tell=tell).experiment


@dataclasses.dataclass(frozen=True)
class _CaptionUpdates:
    """What `fit` asks of updates.

    Attributes:
      experiment: as its settings say.
      position: updates done.
    """

    experiment: Experiment
    position: int
    examples: str = "captions"

    @property
    def train(self) -> LoopConfig:
        return self.experiment.config.train

    @property
    def steps(self) -> int:
        return self.experiment.plan.steps

    @property
    def devices(self) -> int:
        return self.experiment.mesh.size

    @property
    def divisible(self) -> bool:
        """False where an update takes statistics of its batch."""
        trained = bool(self.experiment.config.optimizer.encoder_learning_rate)
        return not (trained and bool(self.experiment.model.variables.get("batch_stats")))

    def in_parts(self, parts: int) -> "_CaptionUpdates":
        config = with_parts(self.experiment.config, parts)
        return dataclasses.replace(
            self, experiment=dataclasses.replace(self.experiment, config=config)
        )

    def memory(self, usable: float) -> float:
        usual, longest = _widths(self.experiment, self.position)
        one = _one_image(self.experiment)
        return _update_memory(self.experiment, one, usual, longest, usable)

    def remedies(self, *, automatic: bool) -> list[str]:
        config = self.experiment.config
        found = []
        if not self.divisible:
            found.append(
                "a smaller --config.train.batch_size (batch norm in training takes each part for "
                "the batch, so that parts would be another update)"
            )
        elif automatic:
            found.append(
                "--batch-size=auto, which computes the same update in as many parts as it takes"
            )
        else:
            found.append("a smaller --config.train.batch_size")
        if config.optimizer.encoder_learning_rate and not config.train.remat:
            found.append("--config.train.remat=True (the same update)")
        return found


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
