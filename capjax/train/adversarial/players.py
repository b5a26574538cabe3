"""What two players are: a generator, and perhaps a discriminator that it has to deceive."""

from collections.abc import Mapping
from typing import Any, Protocol

from jaxtyping import Array, Float, Key

from capjax.train.objectives.objective import Batch, Metrics

GENERATOR = "generator"
DISCRIMINATOR = "discriminator"
"""Parts of `TrainState.params` and of its optimisers' moments. Without a discriminator there is one
player, and its update is any net's."""

Judged = tuple[Float[Array, ""], tuple[Metrics, Any]]
"""A loss, its metrics, and the discriminator's statistics after it."""


class Players(Protocol):
    """The two losses of a game, as pure functions; every loss is a mean over examples.

    `made` is a pytree of arrays with a leading axis of examples: what the generator made of a
    batch. `statistics` is what the discriminator keeps beside its weights (the vectors of spectral
    norm); of the same weights and statistics it becomes the same whatever the examples are.
    """

    def prepare(self, batch: Batch, key: Key[Array, ""]) -> Batch:
        """The batch with all that is drawn for it, each example's by its own place in the stream.

        Args:
          batch: as it is loaded.
          key: of the run.
        """
        ...

    def generate(self, params: Mapping[str, Any], batch: Batch) -> Any:
        """What the generator makes of a batch."""
        ...

    def judge(self, params: Mapping[str, Any], statistics: Any, made: Any, batch: Batch) -> Judged:
        """The discriminator's loss, of its own `params`."""
        ...

    def persuade(self, made: Any, params: Any, statistics: Any, batch: Batch) -> Judged:
        """The generator's loss, of what it `made`; its metrics hold it as `loss`.

        `params` are the discriminator's, None where there is none.
        """
        ...
