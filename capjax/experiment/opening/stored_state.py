"""A checkpoint read on its own, without the run that wrote it."""

import dataclasses
import pathlib
from typing import Any

import jax
import orbax.checkpoint as ocp
from jax.sharding import SingleDeviceSharding

from capjax.train.checksums import damage
from capjax.train.state import AVERAGE


@dataclasses.dataclass(frozen=True)
class StoredState:
    """What an evaluation reads of a checkpoint.

    Attributes:
      params: what the optimiser updates, averaged where the run keeps an average.
      batch_stats: statistics of batch norm; empty where there are none.
      frozen: digest of the parameters that the run never updates; these are not in the checkpoint.
    """

    params: dict[str, Any]
    batch_stats: dict[str, Any]
    frozen: str


def read_state(folder: pathlib.Path, step: int) -> StoredState:
    """The state of one step; nothing in the folder is changed, so that a run may go on in it.

    Args:
      folder: of the checkpoints.
      step: of one of them.

    Raises:
      ValueError: it is damaged; the text says how.
    """
    why = damage(folder / str(step))
    if why:
        raise ValueError(f"the checkpoint of step {step} in {folder} is damaged: {why}")
    place = folder.absolute() / str(step)
    # Without a manager, which would create folders, clean up and warn that it may not write.
    states, records = ocp.StandardCheckpointHandler(), ocp.JsonCheckpointHandler()
    here = SingleDeviceSharding(jax.local_devices()[0])
    try:
        template = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=here),
            states.metadata(place / "state").tree,
        )
        state = states.restore(place / "state", args=ocp.args.StandardRestore(template))
        progress = records.restore(place / "progress", args=ocp.args.JsonRestore())
    except Exception as error:  # Orbax and TensorStore raise nearly anything on damaged files
        first = str(error).strip().partition("\n")[0][:300]
        raise ValueError(
            f"the checkpoint of step {step} in {folder} cannot be read: "
            f"{type(error).__name__}: {first}"
        ) from error
    return StoredState(
        params=state.get("moving", {}).get(AVERAGE, state["params"]),
        batch_stats=state.get("batch_stats", {}),
        frozen=progress["frozen"],
    )
