"""Checkpoints of a run: asynchronous, atomic, complete, so that resuming is exact.

A checkpoint holds parameters, batch statistics, optimiser moments, step and key, and beside them
`Progress`. Frozen parameters are not repeated in every checkpoint: their digest is, and a resumed
run must bring the same ones. A part of the state that a run does not use is an empty dict and not
saved, so that a checkpoint from before the part existed looks the same. With several processes all
call every method, and the folder is one that all of them see.
"""

import contextlib
import dataclasses
import hashlib
import pathlib
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from absl import logging

from capjax.runtime.distributed import gather_text
from capjax.runtime.files import fullness, listed, space
from capjax.train.checksums import damage, write_sums
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


class SaveError(RuntimeError):
    """Something of a run could not be written; what was saved before it is whole."""


class OtherSettingsError(ValueError):
    """A checkpoint holds other arrays than the run that would go on from it."""


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
        self._writing: int | None = None
        options = ocp.CheckpointManagerOptions(
            max_to_keep=keep,
            enable_async_checkpointing=True,
            cleanup_tmp_directories=True,
            async_options=ocp.AsyncOptions(post_finalization_callback=self._add_sums),
        )
        handlers = {
            "state": ocp.StandardCheckpointHandler(),
            "progress": ocp.JsonCheckpointHandler(),
        }
        self._manager = ocp.CheckpointManager(self.folder, options=options, item_handlers=handlers)

    @property
    def latest(self) -> int | None:
        """Step of the last complete checkpoint."""
        return max(self._steps(), default=None)

    def save(self, state: TrainState, progress: Progress) -> None:
        """Starts writing a checkpoint and returns; it counts once it is complete.

        The state is copied first: the next update may reuse its buffers while they are written.

        Raises:
          SaveError: this one or the one before could not be written.
        """
        content = _copied(_saved_part(state))
        description = {**dataclasses.asdict(progress), "frozen": self._frozen}
        step = int(state.step)
        with self._explaining():
            self._manager.wait_until_finished()
            self._writing = step
            self._manager.save(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardSave(content), progress=ocp.args.JsonSave(description)
                ),
                force=True,
            )

    def restore(self, state: TrainState) -> tuple[TrainState, Progress] | None:
        """The last checkpoint that can be read, placed like `state`; None where there is none.

        Damaged ones after it are named in the log and moved to `checkpoints_damaged`.

        Raises:
          ValueError: the run was trained with other settings or frozen parameters, or there are
            checkpoints and none can be read.
        """
        damaged: dict[int, str] = {}
        for step in sorted(self._steps(), reverse=True):
            found = self._read(step, state, damaged)
            if found is not None:
                self._set_aside(damaged, step)
                return found
        if damaged:
            listed = "".join(f"\n  step {step}: {why}" for step, why in damaged.items())
            raise ValueError(
                f"none of the checkpoints in {self.folder} can be read:{listed}\n"
                "restore them from a copy; or choose another --workdir, or remove this one, to "
                "start anew"
            )
        return None

    def _read(
        self, step: int, state: TrainState, damaged: dict[int, str]
    ) -> tuple[TrainState, Progress] | None:
        """The checkpoint of `step`; where it is damaged, None, and the reason in `damaged`."""
        own = damage(self.folder / str(step)) if jax.process_index() == 0 else ""
        why, *_ = gather_text("unknown" if own is None else own)
        if why not in ("", "unknown"):
            damaged[step] = why
            return None
        saved = _saved_part(state)
        try:
            there = self._manager.item_metadata(step).state.tree
            self._check_structure(there, saved)
            # Older versions saved empty parts too.
            empty: dict[str, Any] = {name: {} for name, part in there.items() if part == {}}
            template = jax.tree.map(
                lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding),
                {**saved, **empty},
            )
            restored = self._manager.restore(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardRestore(template), progress=ocp.args.JsonRestore()
                ),
            )
        except OtherSettingsError:
            raise
        except Exception as error:  # Orbax and TensorStore raise nearly anything on damaged files
            if why != "unknown":  # its files are as they were written
                raise
            damaged[step] = f"{type(error).__name__}: {_first_line(error)}"
            return None
        description = dict(restored["progress"])
        if description.pop("frozen") != self._frozen:
            raise ValueError(
                f"the checkpoints in {self.folder} were trained with other frozen weights (of the "
                "encoder, or of CLIP) than those given now; restore their file or choose another "
                "--workdir"
            )
        content = {name: restored["state"][name] for name in saved}
        content["key"] = jax.random.wrap_key_data(content["key"])
        return dataclasses.replace(state, **content), Progress(**description)

    def _check_structure(self, there: Any, saved: Any) -> None:
        """Raises OtherSettingsError unless a checkpoint holds the arrays that the run has."""
        theirs, ours = _shapes(there), _shapes(saved)
        differing = [
            f"{name} is {theirs.get(name, 'missing')} there, {ours.get(name, 'missing')} here"
            for name in sorted({*theirs, *ours})
            if theirs.get(name) != ours.get(name)
        ]
        if differing:
            raise OtherSettingsError(
                f"the checkpoints in {self.folder} are whole, but of a run with other settings:\n  "
                + listed(differing, between="\n  ")
                + "\nrepeat its settings, or choose another --workdir to start anew"
            )

    def _set_aside(self, damaged: dict[int, str], whole: int) -> None:
        """Moves damaged checkpoints out of the way of those that will take their place."""
        if not damaged:
            return
        place = self.folder.with_name(f"{self.folder.name}_damaged")
        for step, why in damaged.items():
            logging.warning(
                "the checkpoint of step %d is damaged (%s); it is moved to %s, and the run goes "
                "on from step %d, the last one that is whole",
                *(step, why, place, whole),
            )
            if jax.process_index() == 0:
                place.mkdir(exist_ok=True)
                number = len(list(place.glob(f"{step}*")))
                name = f"{step}-{number}" if number else str(step)
                (self.folder / str(step)).rename(place / name)
        gather_text("")  # nobody looks before they are moved
        self._manager.reload()

    def wait(self) -> None:
        """Returns when every checkpoint that was started is complete.

        Raises:
          SaveError: one could not be written.
        """
        with self._explaining():
            self._manager.wait_until_finished()

    def close(self) -> None:
        """Waits, then releases the writer's threads; raises as `wait` does."""
        with self._explaining():
            self._manager.close()

    def cannot_write(self, error: Exception, what: str) -> SaveError:
        """What to tell the user when `what` could not be written."""
        full = fullness(error)
        reason = full or _first_line(error)
        latest = self.latest
        saved = (
            "no checkpoint is complete yet"
            if latest is None
            else (f"the checkpoint of step {latest} and the best model are whole")
        )
        remedy = "make room" if full else "mend that"
        return SaveError(
            f"{what} could not be written to {self.folder.parent}: {reason} "
            f"({space(self.folder)}). {saved[0].upper()}{saved[1:]}: {remedy}, then run the same "
            "command to go on from there"
        )

    @contextlib.contextmanager
    def _explaining(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            what = f"the checkpoint of step {self._writing}"
            raise self.cannot_write(error, what) from error

    def _steps(self) -> list[int]:
        """Steps of the complete checkpoints on disk."""
        return [int(path.name) for path in self.folder.iterdir() if path.name.isdigit()]

    def _add_sums(self) -> None:
        """Called by the writer in the first process when all files are there."""
        if jax.process_index() == 0:
            # Orbax renames the folder to its step when this returns.
            for path in self.folder.iterdir():
                if path.name.partition(".")[0] == str(self._writing):
                    write_sums(path)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:300]


@jax.jit
def _copied(tree: Any) -> Any:
    return jax.tree.map(jnp.copy, tree)


def _saved_part(state: TrainState) -> dict[str, Any]:
    content = {
        field.name: getattr(state, field.name)
        for field in dataclasses.fields(state)
        if field.name != "frozen" and jax.tree.leaves(getattr(state, field.name))
    }
    content["key"] = jax.random.key_data(state.key)
    return content


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    """The shape of each array, or what is stored of it, by its place."""
    leaves = jax.tree_util.tree_leaves_with_path(tree, is_leaf=lambda leaf: hasattr(leaf, "shape"))
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): tuple(leaf.shape)
        for path, leaf in leaves
    }


def digest(tree: Any) -> str:
    """SHA-256 of the names and values of a tree of arrays."""
    result = hashlib.sha256()
    for path, array in jax.tree_util.tree_leaves_with_path(tree):
        result.update(jax.tree_util.keystr(path).encode())
        result.update(np.ascontiguousarray(jax.device_get(array)).tobytes())
    return result.hexdigest()
