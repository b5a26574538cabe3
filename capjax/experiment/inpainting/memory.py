"""Whether updates of an inpainter fit into memory."""

import dataclasses

import numpy as np

from capjax.experiment.inpainting.building import InpaintingExperiment
from capjax.experiment.memory.updates import ExperimentUpdates, first_readable, update_memory


@dataclasses.dataclass(frozen=True)
class InpaintingUpdates(ExperimentUpdates):
    """What `capjax.experiment.memory.updates.fit` asks of updates.

    Attributes:
      experiment: as its settings say.
      examples: what a batch is made of.
      divisible: parts of a batch are the same update: nothing is normalised over a batch.
    """

    experiment: InpaintingExperiment
    examples: str = "pictures"
    divisible: bool = True

    def memory(self, usable: float) -> float:
        """Bytes of each device that an update takes."""
        del usable  # every update is as large
        own = self.experiment
        one = first_readable(own.splits.train.parts, np.arange(len(own.splits.train)))
        whole = {**one, "position": np.zeros(1, np.int32)}
        rows = self.train.batch_size
        return update_memory(own.train_step(), own.state_shapes(), whole, rows, own.mesh)

    def remedies(self, *, automatic: bool) -> list[str]:
        """What to do where an update does not fit."""
        parts = "--batch-size=auto, which computes the same update in as many parts as it takes"
        return [parts if automatic else "a smaller --config.train.batch_size or --config.data.side"]
