"""Lets a command end as usual when the reader of its output leaves early, as in `… | head`."""

import io
import os
import sys
from typing import Any


class _Patient(io.FileIO):
    """A stream that discards what is written once nobody reads it any more."""

    def write(self, data: Any, /) -> int:
        """Writes all or a part; returns how many bytes."""
        try:
            return super().write(data)
        except BrokenPipeError:
            # As Python's documentation has it (signal, "Note on SIGPIPE"): the stream itself is
            # replaced, so that what is still buffered, or written by libraries, fails no more.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)
            return super().write(data)


def outlive_readers() -> None:
    """Lets a command go on, and end as it would have, once nobody reads what it prints."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):  # None where it was closed from the start
            stream.flush()
            setattr(sys, name, _patient(stream))


def _patient(stream: io.TextIOWrapper) -> io.TextIOWrapper:
    return io.TextIOWrapper(
        io.BufferedWriter(_Patient(stream.fileno(), "w", closefd=False)),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
