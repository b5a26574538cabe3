"""What all processes of a run hold alike: its first state, and the best model's weights."""

from typing import Any

import jax
from jax.experimental import multihost_utils

from capjax.runtime.distributed import gather_text
from capjax.train import sharding
from capjax.train.checkpoint import digest
from capjax.train.state import TrainState


def place_first_state(state: TrainState, weights: Any, mesh: jax.sharding.Mesh) -> TrainState:
    """The state before the first update, on all devices.

    Args:
      state: of this process.
      weights: what is compared between processes.
      mesh: devices.

    Raises:
      ValueError: the processes have different weights.
    """
    if jax.process_count() > 1 and len(set(gather_text(digest(weights)))) > 1:
        raise ValueError(
            "the processes start from different weights; give all of them the same files, "
            "kind of device and versions"
        )
    return sharding.place_whole(state, sharding.replicated(mesh))


def place_of_first(variables: Any, mesh: jax.sharding.Mesh) -> Any:
    """The variables of the first process, on all devices of all processes.

    Args:
      variables: of this process; those of others than the first say shapes only.
      mesh: devices.
    """
    if jax.process_count() > 1:
        variables = multihost_utils.broadcast_one_to_all(variables)
    return sharding.place_whole(variables, sharding.replicated(mesh))
