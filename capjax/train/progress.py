"""What a running loop shows and writes: fetched losses, throughput, the progress bar."""

import math
import pathlib
import sys
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np
import tqdm

from capjax.captioner import MODEL_FILE
from capjax.train.plan import LoopConfig, Plan
from capjax.train.records import Events, MetricsFile, Record
from capjax.train.throughput import Cost, Rates

_IN_FLIGHT = 2
"""Updates left running when losses are fetched, so that the device never idles for a log line."""

FINITE = ("loss", "gradient_norm", "update_norm")
"""Metrics of an update, without which it is not saved: finite updates keep parameters finite."""


class NonFiniteError(RuntimeError):
    """The loss, the gradient or the update became infinite or not a number."""


class _Update(NamedTuple):
    step: int
    values: Mapping[str, jax.Array]
    cost: Cost


class Recorder:
    """Collects each update's metrics on the device and writes them in batches."""

    def __init__(
        self,
        metrics: MetricsFile,
        events: Events,
        *,
        plan: Plan,
        config: LoopConfig,
        folder: pathlib.Path,
        devices: Sequence[jax.Device],
        examples: str = "captions",
    ) -> None:
        """Args:
        metrics, events: where records go.
        plan, config: of the run.
        folder: of the checkpoints, for the message when the loss is lost.
        devices: of the run.
        examples: what it learns from, in the plural.
        """
        self._metrics, self._events = metrics, events
        self._plan, self._config, self._folder = plan, config, folder
        self._examples = examples
        self._rates = Rates(devices, peak_teraflops=config.peak_teraflops, examples=examples)
        self._pending: list[_Update] = []
        self._finite: tuple[int, float] | None = None

    def start(self, step: int) -> None:
        """Starts the clock and the bar at `step` updates done."""
        self._since = time.perf_counter()
        self._bar = tqdm.tqdm(
            total=self._plan.steps,
            initial=step,
            unit="step",
            disable=not self._config.progress or jax.process_index() > 0,
            dynamic_ncols=True,
        )

    def say(self, text: str) -> None:
        """Shows the user a line, clear of the bar."""
        self._bar.write(text, file=sys.stderr)

    def add(self, step: int, values: Mapping[str, jax.Array], cost: Cost) -> None:
        """Takes one update's metrics, still on the device; writes older ones once in a while.

        Args:
          step: number of the update, from 1.
          values: scalars.
          cost: what it took.
        """
        self._pending.append(_Update(step, values, cost))
        self._bar.update()
        if len(self._pending) >= self._config.log_every + _IN_FLIGHT:
            self._write(self._fetch(self._config.log_every))

    def flush(self, *, hold_last: bool) -> Record | None:
        """Writes all that is pending; with `hold_last` returns the last record unwritten."""
        records = self._fetch(len(self._pending))
        held = records.pop() if hold_last else None
        self._write(records)
        return held

    def write_evaluated(self, record: Record) -> None:
        """Writes the held record with its validation scores and restarts the clock."""
        self._write([record])
        self._since = time.perf_counter()

    def show(self, step: int, pictures: Mapping[str, np.ndarray]) -> None:
        """Writes pictures [H W 3] uint8 of the evaluation after `step`, by name."""
        for name, picture in pictures.items():
            self._events.write_picture(name, picture, step)
        self._events.flush()

    def close(self) -> None:
        """Closes the files and the bar."""
        self._bar.close()
        self._metrics.close()
        self._events.close()

    def _fetch(self, count: int) -> list[Record]:
        """The first `count` pending records, as numbers."""
        taken, self._pending = self._pending[:count], self._pending[count:]
        values = jax.device_get([update.values for update in taken])  # waits for these updates
        now = time.perf_counter()
        elapsed = max(now - self._since, 1e-9)
        rates = self._rates.of([update.cost for update in taken], elapsed)
        complaint = self._rates.complaint()
        if complaint is not None:
            self.say(f"warning: {complaint}")
        self._since = now
        records: list[Record] = []
        for update, row in zip(taken, values, strict=True):
            step = update.step
            numbers = {name: float(value) for name, value in row.items()}
            if not all(math.isfinite(numbers[name]) for name in FINITE):
                self._write(records)
                raise NonFiniteError(self._explain(step, numbers))
            self._finite = (step, numbers["loss"])
            epoch = round(step / self._plan.steps_per_epoch, 6)
            records.append({"step": step, "epoch": epoch, **numbers, **rates})
        return records

    def _write(self, records: list[Record]) -> None:
        self._metrics.write(records)
        for record in records:
            self._events.write(record)
        self._events.flush()
        if records and "loss" in records[-1]:
            shown = records[-1]
            numbers = {
                "loss": f"{shown['loss']:.3f}",
                f"{self._examples}/s": f"{shown[f'{self._examples}_per_second']:.0f}",
                "wait": f"{shown['data_wait']:.0%}",
            }
            if "mfu" in shown:
                numbers["MFU"] = f"{shown['mfu']:.1%}"
            self._bar.set_postfix(numbers)

    def _explain(self, step: int, numbers: Mapping[str, float]) -> str:
        last = "none in this process"
        if self._finite:
            last = f"{self._finite[1]:.4f} at step {self._finite[0]}"
        start, best = "start again", self._folder.parent
        if (best / MODEL_FILE).is_file():
            start += f", or from the best model of this one (--config.init_from={best}),"
        return (
            f"step {step}: loss {numbers['loss']}, gradient norm {numbers['gradient_norm']}, "
            f"update norm {numbers['update_norm']}; last finite loss: {last}. The checkpoints in "
            f"{self._folder} are from before, but the last of them may hold weights that had "
            f"grown too large already. In a new workdir {start} with a lower "
            "--config.optimizer.learning_rate, with --config.optimizer.clip_norm=5 or, if "
            "computing in bfloat16, in float32."
        )
