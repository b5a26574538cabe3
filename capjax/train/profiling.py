"""A trace of a few updates, or batches, in the format of `jax.profiler`."""

import contextlib
import pathlib
import re
from collections.abc import Callable
from typing import Any

import jax

FOLDER = "profile"


def parse_span(text: str) -> tuple[int, int]:
    """(updates before, updates traced) of "start:count"; (0, 0) of an empty text.

    Raises:
      ValueError: another form, or nothing to trace.
    """
    if not text:
        return 0, 0
    found = re.fullmatch(r"(\d+):(\d+)", text)
    if not found or not int(found[2]):
        raise ValueError(
            f"profile is {text!r}; expected START:COUNT, updates to leave out and to trace, "
            "e.g. 10:5"
        )
    return int(found[1]), int(found[2])


def check_span(text: str, steps: int) -> None:
    """Raises ValueError for updates to trace beyond the last one of a run of so many."""
    before, count = parse_span(text)
    if before + count > steps:
        raise ValueError(
            f"profile is {text!r}, updates {before + 1} to {before + count}, and the run has "
            f"{steps}; choose a span within it"
        )


class Profiler:
    """Traces some updates of this process, counted from where it starts or resumes.

    An update may be any other unit of work, such as a batch.

    Leave out the first few: they compile.
    """

    def __init__(
        self,
        span: str,
        folder: pathlib.Path,
        *,
        say: Callable[[str], None],
        unit: tuple[str, str] = ("update", "updates"),
    ) -> None:
        """Args:
        span: "start:count"; empty: no trace.
        folder: the trace is written to it.
        say: takes what the user shall read.
        unit: what is counted, one and several.
        """
        self._start, self._count = parse_span(span)
        self._folder = folder
        self._say = say
        self._unit = unit
        self._done = 0
        self._running = False

    def update(self, number: int, state: Any) -> contextlib.AbstractContextManager[Any]:
        """The context for update `number`, which is about to be given `state`."""
        if self._count and self._done == self._start:
            jax.block_until_ready(state)  # nothing of the update before is in the trace
            self._folder.mkdir(parents=True, exist_ok=True)
            jax.profiler.start_trace(str(self._folder))
            self._running = True
        if not self._running:
            return contextlib.nullcontext()
        return jax.profiler.StepTraceAnnotation(self._unit[0], step_num=number)

    def done(self, values: Any) -> None:
        """Takes what the update returned; after the last one the trace is written."""
        self._done += 1
        if self._running and self._done == self._start + self._count:
            jax.block_until_ready(values)
            self.close()

    def close(self) -> None:
        """Writes a trace that is still running; says so where the run was over before it began."""
        if self._count and self._done < self._start:
            self._say(
                f"no profile: it was to begin after {self._start} {self._unit[1]} of this process, "
                f"and there were {self._done}"
            )
        if not self._running:
            return
        self._running = False
        jax.profiler.stop_trace()
        traced = min(self._done - self._start, self._count)
        self._say(
            f"profile of {traced} {self._unit[traced > 1]}: {self._folder}; open it with xprof "
            f"(pip install xprof; xprof {self._folder}) or TensorBoard's profile plugin"
        )
