"""What a run writes down: one line of `metrics.jsonl` a step, and TensorBoard events."""

import json
import os
import pathlib
import time
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from jaxtyping import UInt8
from tensorboardX import summary
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog

from capjax.runtime.files import replacing

Record = dict[str, Any]


class MetricsFile:
    """`metrics.jsonl`: every step exactly once, whatever killed the run before.

    A run resumed at step n drops what an earlier process wrote beyond n (and a line it tore), then
    goes on. `write` is complete on disk when it returns, so a checkpoint saved after it never
    knows more steps than the file.
    """

    def __init__(self, path: pathlib.Path, *, resume_at: int) -> None:
        """Opens `path` with the lines of steps 1 … `resume_at` that it holds."""
        self._path = path
        kept = [record for record in read_metrics(path) if record["step"] <= resume_at]
        self.last: Record | None = kept[-1] if kept else None
        with replacing(path, durable=True) as file:
            file.writelines((json.dumps(record) + "\n").encode() for record in kept)
        self._file = path.open("a")

    def write(self, records: Iterable[Record]) -> None:
        """Appends records in the order of their steps."""
        text = "".join(json.dumps(record) + "\n" for record in records)
        if not text:
            return
        self._file.write(text)
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


def read_metrics(path: pathlib.Path) -> list[Record]:
    """The records of a `metrics.jsonl`, up to a torn last line; none where there is no file."""
    if not path.exists():
        return []
    records = []
    for line in path.read_text().splitlines():
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return records


class Events:
    """TensorBoard event files; a resumed run hides the events beyond its first step.

    Written at once, not by tensorboardX's thread: where the disk is full that thread dies, and a
    run would wait for ever to hand it the next event.
    """

    def __init__(self, folder: pathlib.Path, *, resume_at: int) -> None:
        self._writer = EventsWriter(str(folder / "events"))
        if resume_at:
            log = SessionLog(status=SessionLog.START)
            self._add(Event(wall_time=time.time(), step=resume_at + 1, session_log=log))

    def write(self, record: Record, *, prefix: str = "train") -> None:
        """Adds the numbers of one record, nested ones under their own heading."""
        for name, value in record.items():
            if isinstance(value, Mapping):
                self.write({**value, "step": record["step"]}, prefix=name)
            elif name != "step" and value is not None:
                scalar = summary.scalar(f"{prefix}/{name}", value)
                self._add(Event(wall_time=time.time(), step=record["step"], summary=scalar))

    def write_picture(self, name: str, picture: UInt8[np.ndarray, "H W 3"], step: int) -> None:
        """Adds one picture."""
        image = summary.image(f"pictures/{name}", picture, dataformats="HWC")
        self._add(Event(wall_time=time.time(), step=step, summary=image))

    def flush(self) -> None:
        """Writes out what is buffered."""
        self._writer.flush()

    def close(self) -> None:
        """Writes out what is buffered and closes the file."""
        self._writer.close()

    def _add(self, event: Event) -> None:
        self._writer.write_event(event)
