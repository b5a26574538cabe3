"""The training loop: host code around the pure update, resumable at every step.

Order of resuming: the state and `Progress` of the last complete checkpoint; `metrics.jsonl` cut
after its step; the evaluation of that step where it was still to come; batches from its position.
"""

import dataclasses
import pathlib
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from capjax.runtime.files import fullness
from capjax.train import sharding
from capjax.train.checkpoint import Checkpoints, Progress
from capjax.train.interruption import Interrupted, StopRequest
from capjax.train.plan import LoopConfig, Plan
from capjax.train.profiling import FOLDER, Profiler
from capjax.train.progress import Recorder
from capjax.train.records import Events, MetricsFile, Record
from capjax.train.state import TrainState
from capjax.train.step import StepFunction
from capjax.train.throughput import Meter

ScoreFunction = Callable[[Mapping[str, Any]], Mapping[str, float]]
Pictures = Callable[[Mapping[str, Any], int], Mapping[str, np.ndarray]]
"""What variables make of a few examples after so many updates: [H W 3] uint8, by name."""
Batches = Callable[[int], Iterator[Mapping[str, np.ndarray]]]
"""The endless stream of batches from a position: its first element feeds update position + 1."""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
      state: after the last update.
      progress: best score and counters.
      reason: "finished", "stopped early" or "interrupted".
    """

    state: TrainState
    progress: Progress
    reason: str


@dataclasses.dataclass(frozen=True)
class Loop:
    """A training run in one workdir.

    Attributes:
      step: the compiled update.
      batches: where the data comes from.
      score: decoded validation scores of variables; injected, so that nothing here decodes.
      at_start: called with the scores before the first update, which may refuse them; None where
        the first weights are random and need no score.
      keep_best: called with (variables, step, scores) whenever the metric improves.
      plan, config: when things happen.
      mesh: devices.
      workdir: takes `checkpoints/`, `metrics.jsonl` and TensorBoard events.
      pictures: drawn at each evaluation, for TensorBoard; None: none.
      examples: what updates learn from, in the plural.
      profile: "start:count", updates of this process to leave out and then to trace into
        `profile/`; empty: none.
    """

    step: StepFunction
    batches: Batches
    score: ScoreFunction
    keep_best: Callable[[Mapping[str, Any], int, Mapping[str, float]], None]
    plan: Plan
    config: LoopConfig
    mesh: Mesh
    workdir: pathlib.Path
    at_start: Callable[[Mapping[str, float]], None] | None = None
    pictures: Pictures | None = None
    examples: str = "captions"
    profile: str = ""

    def run(self, state: TrainState) -> Outcome:
        """Trains from the last checkpoint, or from `state` where there is none, to the end.

        SIGTERM or SIGINT saves a checkpoint and returns with reason "interrupted".

        Raises:
          NonFiniteError: the loss, the gradient or the update became infinite or not a number.
          SaveError: the disk is full, or a checkpoint could not be written for another reason.
          ValueError: the checkpoints do not belong to this run, or none of them can be read.
        """
        self.workdir.mkdir(parents=True, exist_ok=True)
        checkpoints = Checkpoints(
            self.workdir / "checkpoints", keep=self.config.keep, frozen=state.frozen
        )
        try:
            state, progress = checkpoints.restore(state) or (state, Progress())
            with StopRequest().listening() as stop:
                outcome = self._run(state, progress, checkpoints, stop)
                checkpoints.wait()
                return outcome
        except OSError as error:
            if fullness(error) is None:
                raise
            raise checkpoints.cannot_write(error, "metrics or the best model") from error
        finally:
            checkpoints.close()

    def _run(
        self, state: TrainState, progress: Progress, checkpoints: Checkpoints, stop: StopRequest
    ) -> Outcome:
        first = int(state.step)
        own = self._own_folder()
        # Of several processes one may have written the line of an evaluation and another not: then
        # all of them evaluate and write it again.
        again = progress.record is not None and jax.process_count() > 1
        metrics = MetricsFile(own / "metrics.jsonl", resume_at=first - again)
        events = Events(own, resume_at=first - again)
        recorder = Recorder(
            metrics,
            events,
            plan=self.plan,
            config=self.config,
            folder=checkpoints.folder,
            devices=list(self.mesh.devices.flat),
            examples=self.examples,
        )
        recorder.start(first)
        meter = Meter(self.step, examples=self.config.batch_size)
        profiler = Profiler(self.profile, self.workdir / FOLDER, say=recorder.say)
        try:
            if progress.record is not None:
                progress = self._evaluate(
                    state, progress, recorder, stop, recorded=_line_of(first, metrics)
                )
            elif first == 0 and self.at_start is not None:
                progress = self._begin(state, recorder, metrics, stop)
            stream = self.batches(first)
            for number in range(first + 1, self.plan.steps + 1):
                if self._stops_early(progress):
                    return Outcome(state, progress, "stopped early")
                asked = time.perf_counter()
                batch = sharding.place_batch(next(stream), self.mesh)
                cost = meter.cost(state, batch, since=asked)
                with profiler.update(number, state):
                    state, values = self.step(state, batch)
                meter.watch(values)
                profiler.done(values)
                recorder.add(number, values, cost)
                evaluates = self.plan.evaluates(number)
                stopping = stop.agreed(number, every=self.config.log_every)
                if evaluates or stopping or number % self.config.checkpoint_every == 0:
                    record = recorder.flush(hold_last=evaluates)
                    progress = dataclasses.replace(progress, record=record)
                    checkpoints.save(state, progress)
                if stopping:
                    return Outcome(state, progress, "interrupted")
                if evaluates:
                    progress = self._evaluate(state, progress, recorder, stop)
            return Outcome(state, progress, "finished")
        except Interrupted:
            return Outcome(state, progress, "interrupted")
        finally:
            profiler.close()
            meter.close()
            recorder.close()

    def _begin(
        self, state: TrainState, recorder: Recorder, metrics: MetricsFile, stop: StopRequest
    ) -> Progress:
        """Scores and keeps the model that the run starts from, as the best so far."""
        assert self.at_start is not None  # asked by the caller
        with stop.interruptible():
            scores = {name: float(value) for name, value in self.score(state.variables).items()}
        self.at_start(scores)
        if jax.process_index() == 0:
            self.keep_best(state.variables, 0, scores)
        if metrics.last is None:
            recorder.write_evaluated({"step": 0, "epoch": 0.0, "validation": scores})
        return Progress(best_score=scores[self.plan.metric])

    def _own_folder(self) -> pathlib.Path:
        """Where this process writes its records: the first one in the workdir itself."""
        index = jax.process_index()
        folder = self.workdir / "processes" / str(index) if index else self.workdir
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _stops_early(self, progress: Progress) -> bool:
        return 0 < self.plan.patience <= progress.evaluations_since_best

    def _evaluate(
        self,
        state: TrainState,
        progress: Progress,
        recorder: Recorder,
        stop: StopRequest,
        *,
        recorded: Record | None = None,
    ) -> Progress:
        """Scores `state`, writes its step's line and keeps the best model.

        Args:
          state: after the step.
          progress: before its evaluation.
          recorder: takes the line.
          stop: a signal leaves the scoring at once; it is done again on resuming.
          recorded: the line, where an earlier process got as far as writing it.
        """
        if recorded is not None:
            scores = recorded["validation"]
        else:
            with stop.interruptible():
                scores = {name: float(value) for name, value in self.score(state.variables).items()}
        if self.plan.metric not in scores:
            raise ValueError(
                f"evaluation.metric is {self.plan.metric!r}, which was not measured; "
                f"choose one of: {', '.join(scores)}"
            )
        score, step = scores[self.plan.metric], int(state.step)
        improved = progress.best_score is None or score > progress.best_score
        if recorded is None:
            if improved and jax.process_index() == 0:
                self.keep_best(state.variables, step, scores)
            if self.pictures is not None:
                recorder.show(step, self.pictures(state.variables, step))
            recorder.write_evaluated({**(progress.record or {}), "validation": scores})
        if improved:
            return Progress(best_score=score, best_step=step)
        return dataclasses.replace(
            progress, evaluations_since_best=progress.evaluations_since_best + 1, record=None
        )


def _line_of(step: int, metrics: MetricsFile) -> Record | None:
    """The line of `step` where an earlier process wrote it, which it does after evaluating."""
    if metrics.last is None or metrics.last["step"] != step:
        return None
    return metrics.last
