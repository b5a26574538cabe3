"""The whole lines of a results.jsonl, as they were when it was opened.

A run that goes on writing appends to the file, or puts another in its place: neither changes what
was opened. A line that is being written has no end yet, and does not count.
"""

import array
import json
import os
import pathlib
import threading
import weakref

from capjax.folder.records import Result

_START = b'{"file": "'
"""How runs begin each line: its name can be read without the rest."""
_MOST_NAMED = 5
_DECODER = json.JSONDecoder()


class ResultLines:
    """Lines by name, sorted; in memory are names and places alone.

    Args:
      path: of the file; one that is not there has no lines.

    Attributes:
      names: of the images, sorted.
      no_results: numbers of the lines, from 1, that hold no result: the file is damaged.
    """

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path
        places: dict[str, tuple[int, int]] = {}
        damaged: list[int] = []
        self._descriptor = -1
        if path.exists():
            self._descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
            weakref.finalize(self, os.close, self._descriptor)
            start = 0
            with open(os.dup(self._descriptor), "rb") as stream:
                for number, raw in enumerate(stream, start=1):
                    if not raw.endswith(b"\n"):
                        break  # a run is writing it
                    name = _name(raw)
                    if name is None:
                        damaged.append(number)
                    else:  # the last line of a name counts
                        places[name] = start, len(raw)
                    start += len(raw)
        self.names = tuple(sorted(places))
        self.no_results = tuple(damaged)
        self._starts = array.array("q", (places[name][0] for name in self.names))
        self._lengths = array.array("q", (places[name][1] for name in self.names))
        self._lock = threading.Lock()

    def raw(self, number: int) -> bytes:
        """A line as it is written.

        Args:
          number: of its name among `names`.
        """
        start, length = self._starts[number], self._lengths[number]
        if hasattr(os, "pread"):
            return os.pread(self._descriptor, length, start)
        with self._lock:
            os.lseek(self._descriptor, start, os.SEEK_SET)
            return os.read(self._descriptor, length)

    def read(self, number: int) -> Result:
        """The result in a line.

        Raises:
          ValueError: the line is damaged.
        """
        try:
            return Result.from_json(json.loads(self.raw(number)))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"the line of {self.names[number]!r} in {self.path} is damaged ({error!r}); run "
                "the command that wrote it again, which does this image anew"
            ) from error

    def remark(self) -> str | None:
        """A sentence on damaged lines; None where all are whole."""
        if not self.no_results:
            return None
        numbers = ", ".join(map(str, self.no_results[:_MOST_NAMED]))
        more = " …" if len(self.no_results) > _MOST_NAMED else ""
        return (
            f"{len(self.no_results)} damaged lines of {self.path} are left out ({numbers}{more}); "
            "run the command that wrote it again, which does their images anew"
        )


def _name(raw: bytes) -> str | None:
    """The file that a line is about; None where it is no line of a result."""
    try:
        if raw.startswith(_START) and raw.endswith(b"}\n"):
            name, _ = _DECODER.raw_decode(raw.decode(), len(_START) - 1)
        else:
            name = json.loads(raw)["file"]
    except (ValueError, KeyError, TypeError):
        return None
    return name if isinstance(name, str) else None
