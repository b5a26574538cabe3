"""Whether updates of a captioner fit into memory, whatever the length of its captions."""

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np

from capjax.data.batches.order import SampleOrder
from capjax.data.batches.pipeline import LENGTH_MULTIPLE
from capjax.experiment.building import Experiment
from capjax.experiment.memory.updates import (
    ExperimentUpdates,
    Fitting,
    first_readable,
    fit,
    update_memory,
)
from capjax.runtime.memory import longest_needed
from capjax.train.self_critical import SelfCriticalStep


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
class _CaptionUpdates(ExperimentUpdates):
    """What `fit` asks of updates.

    Attributes:
      experiment: as its settings say.
      position: updates done.
    """

    experiment: Experiment
    position: int
    examples: str = "captions"

    @property
    def divisible(self) -> bool:
        """False where an update takes statistics of its batch."""
        trained = bool(self.experiment.config.optimizer.encoder_learning_rate)
        return not (trained and bool(self.experiment.model.variables.get("batch_stats")))

    def memory(self, usable: float) -> float:
        usual, longest = _widths(self.experiment, self.position)
        one = first_readable(self.experiment.inputs, self.experiment.samples.image)
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
    first = np.zeros(1, np.int32)
    whole = {
        **one,
        **({} if experiment.cells is None else experiment.cells(first, tokens)),
        "tokens": np.zeros((1, tokens), np.int32),
        "lengths": first,
        "id": first,
    }
    rows, state = experiment.config.train.batch_size, experiment.state_shapes()
    return update_memory(experiment.train_step(), state, whole, rows, experiment.mesh)
