"""Whether updates of an inpainter fit into memory."""

import dataclasses
from typing import Any

import jax
import numpy as np

from capjax.data.pictures.images import UnreadableFileError
from capjax.experiment.inpainting.building import InpaintingExperiment
from capjax.experiment.memory.updates import with_parts
from capjax.runtime.memory import needed
from capjax.train import sharding
from capjax.train.plan import LoopConfig

TRIED = 100
"""Pictures of which the first one that can be read says what a batch holds."""


@dataclasses.dataclass(frozen=True)
class InpaintingUpdates:
    """What `capjax.experiment.memory.updates.fit` asks of updates.

    Attributes:
      experiment: as its settings say.
      examples: what a batch is made of.
      divisible: parts of a batch are the same update: nothing is normalised over a batch.
    """

    experiment: InpaintingExperiment
    examples: str = "pictures"
    divisible: bool = True

    @property
    def train(self) -> LoopConfig:
        """Settings."""
        return self.experiment.config.train

    @property
    def steps(self) -> int:
        """How many updates there are."""
        return self.experiment.plan.steps

    @property
    def devices(self) -> int:
        """How many share a batch."""
        return self.experiment.mesh.size

    def in_parts(self, parts: int) -> "InpaintingUpdates":
        """The same updates in so many parts."""
        config = with_parts(self.experiment.config, parts)
        return dataclasses.replace(
            self, experiment=dataclasses.replace(self.experiment, config=config)
        )

    def memory(self, usable: float) -> float:
        """Bytes of each device that an update takes."""
        del usable  # every update is as large
        step: Any = self.experiment.train_step()
        rows, place = self.train.batch_size, sharding.split(self.experiment.mesh)
        whole = {**self._one(), "position": np.zeros(1, np.int32)}
        batch = {
            name: jax.ShapeDtypeStruct((rows, *array.shape[1:]), array.dtype, sharding=place)
            for name, array in whole.items()
        }
        return needed(step.lower(self.experiment.state_shapes(), batch))

    def remedies(self, *, automatic: bool) -> list[str]:
        """What to do where an update does not fit."""
        parts = "--batch-size=auto, which computes the same update in as many parts as it takes"
        return [parts if automatic else "a smaller --config.train.batch_size or --config.data.side"]

    def _one(self) -> Any:
        """What a batch holds of the first picture that can be read; all have its shape."""
        train = self.experiment.splits.train
        for number in range(min(TRIED, len(train))):
            try:
                return train.parts(np.array([number]))
            except UnreadableFileError as error:
                problem = error
        raise problem
