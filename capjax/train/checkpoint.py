"""Checkpoints of a run: asynchronous, atomic, complete, so that resuming is exact.

A checkpoint holds parameters, batch statistics, optimiser moments, step and key, and beside them
`Progress`. Frozen parameters are not repeated in every checkpoint: their digest is, and a resumed
run must bring the same ones.
"""

import dataclasses
import hashlib
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from capjax.train.records import Record
from capjax.train.state import TrainState


@dataclasses.dataclass
class Progress:
    """What the loop knows besides the state.

    Attributes:
      best_score: largest validation score so far, None before the first.
      best_step: where it was reached.
      evaluations_since_best: for early stopping.
      record: metrics of the checkpoint's step where they are not written yet, because the step's
        evaluation is still to come.
    """

    best_score: float | None = None
    best_step: int = 0
    evaluations_since_best: int = 0
    record: Record | None = None


class Checkpoints:
    """The checkpoints of one workdir."""

    def __init__(self, folder: pathlib.Path, *, keep: int, frozen: Any) -> None:
        """Opens `folder` (created where missing), removing what an earlier process left unfinished.

        Args:
          folder: holds one folder a step.
          keep: how many of the latest checkpoints stay.
          frozen: the run's frozen parameters.
        """
        self.folder = folder.absolute()
        self._frozen = digest(frozen)
        options = ocp.CheckpointManagerOptions(
            max_to_keep=keep, enable_async_checkpointing=True, cleanup_tmp_directories=True
        )
        self._manager = ocp.CheckpointManager(
            self.folder, options=options, item_names=("state", "progress")
        )

    @property
    def latest(self) -> int | None:
        """Step of the last complete checkpoint."""
        return self._manager.latest_step()

    def save(self, state: TrainState, progress: Progress) -> None:
        """Starts writing a checkpoint and returns; it counts once it is complete.

        The state is copied first: the next update may reuse its buffers while they are written.
        """
        content = jax.tree.map(jnp.copy, _saved_part(state))
        description = {**dataclasses.asdict(progress), "frozen": self._frozen}
        self._manager.save(
            int(state.step),
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(content), progress=ocp.args.JsonSave(description)
            ),
            force=True,
        )

    def restore(self, state: TrainState) -> tuple[TrainState, Progress] | None:
        """The last complete checkpoint, placed like `state`; None where there is none.

        Raises:
          ValueError: the run was trained on other frozen parameters.
        """
        step = self.latest
        if step is None:
            return None
        template = jax.tree.map(
            lambda array: jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=array.sharding),
            _saved_part(state),
        )
        restored = self._manager.restore(
            step,
            args=ocp.args.Composite(
                state=ocp.args.StandardRestore(template), progress=ocp.args.JsonRestore()
            ),
        )
        description = dict(restored["progress"])
        if description.pop("frozen") != self._frozen:
            raise ValueError(
                f"the checkpoints in {self.folder} were trained on other encoder weights than "
                "those given now; restore the weights file or choose another --workdir"
            )
        content = dict(restored["state"])
        content["key"] = jax.random.wrap_key_data(content["key"])
        return dataclasses.replace(state, **content), Progress(**description)

    def wait(self) -> None:
        """Returns when every checkpoint that was started is complete; raises if one failed."""
        self._manager.wait_until_finished()

    def close(self) -> None:
        """Waits, then releases the writer's threads."""
        self._manager.close()


def _saved_part(state: TrainState) -> dict[str, Any]:
    content = {
        field.name: getattr(state, field.name)
        for field in dataclasses.fields(state)
        if field.name != "frozen"
    }
    content["key"] = jax.random.key_data(state.key)
    return content


def digest(tree: Any) -> str:
    """SHA-256 of the names and values of a tree of arrays."""
    result = hashlib.sha256()
    for path, array in jax.tree_util.tree_leaves_with_path(tree):
        result.update(jax.tree_util.keystr(path).encode())
        result.update(np.ascontiguousarray(jax.device_get(array)).tobytes())
    return result.hexdigest()
