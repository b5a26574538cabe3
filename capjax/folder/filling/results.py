"""The folder that `python -m capjax.inpaint` writes, whole whenever a run dies.

    run.json                 the fill, its options and the code's version of all that is in here
    results.jsonl            one line a picture, see `FilledRecord`
    filled/<file>.png        without what its mask removes; outside the grown mask, bit for bit as
                             it was
    triptychs/<file>.jpg     raw, masked and filled side by side
    index.html               all of these; index-0002.html and so on beyond 300 pictures

Names that are too long are cut as `explain.py` cuts them. One run writes at a time: it holds
`.lock`. A line says of what content it is: a picture or mask that was replaced since is done again.
"""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

from capjax.folder.names import fitting
from capjax.folder.results import RESULTS, RUN, State
from capjax.runtime import locks
from capjax.runtime.fingerprint import Fingerprint, still
from capjax.runtime.record_file import RecordFile, read_description, write_description

FREE = "code_version"
"""The entry of run.json that may differ within a folder."""


@dataclasses.dataclass(frozen=True)
class FilledRecord:
    """One picture, filled, or why it could not be.

    Attributes:
      file: path below the folder of pictures, with `/`.
      known: its content; None where it could not be read.
      masks: path of each file that its mask came from -> its content.
      error: why it could not be filled; nothing of what follows is there.
      size: (height, width), upright.
      removed, changed: shares of the picture that the mask, and the grown mask, cover.
      oversize: the hole is larger than those that the fill was trained on.
      filled, triptych: files below the folder of results.
    """

    file: str
    known: Fingerprint | None = None
    masks: Mapping[str, Fingerprint] = dataclasses.field(default_factory=dict)
    error: str | None = None
    size: tuple[int, int] = (0, 0)
    removed: float = 0.0
    changed: float = 0.0
    oversize: bool = False
    filled: str = ""
    triptych: str = ""

    def to_json(self) -> dict[str, Any]:
        """The line of results.jsonl, as plain values."""
        content = {} if self.known is None else self.known.to_json()
        masks = {path: known.to_json() for path, known in self.masks.items()}
        if self.error is not None:
            return {"file": self.file, "error": self.error, "masks": masks, **content}
        return {
            "file": self.file,
            "filled": self.filled,
            "triptych": self.triptych,
            "size": list(self.size),
            "removed": round(self.removed, 6),
            "changed": round(self.changed, 6),
            "oversize": self.oversize,
            "masks": masks,
            **content,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "FilledRecord":
        """The inverse of `to_json`."""
        known = Fingerprint.from_json(value)
        masks = {}
        for path, content in value["masks"].items():
            if own := Fingerprint.from_json(content):
                masks[path] = own
        if "error" in value:
            return cls(value["file"], known, masks, value["error"])
        height, width = value["size"]
        names = ("removed", "changed", "oversize", "filled", "triptych")
        rest = {name: value[name] for name in names}
        return cls(value["file"], known, masks, size=(height, width), **rest)


class FilledFolder:
    """One output folder, opened for one fill; locked until it is closed.

    Args:
      path: made where missing.
      run: what run.json says.
      break_lock: the other machine's process that locked the folder is dead.

    Raises:
      LockedError: another run writes there.
      ValueError: the folder holds the results of another fill or of other options, or is damaged.
    """

    def __init__(
        self, path: pathlib.Path, run: Mapping[str, Any], *, break_lock: bool = False
    ) -> None:
        self.path = path
        self._lock = locks.take(path / locks.FILE, break_lock=break_lock)
        try:
            self._check(run)
            self.records = RecordFile(path / RESULTS, FilledRecord.from_json)
        except BaseException:
            self._lock.release()
            raise

    def __enter__(self) -> "FilledFolder":
        return self

    def __exit__(self, *_: object) -> None:
        self.records.close()
        self._lock.release()

    def _check(self, run: Mapping[str, Any]) -> None:
        there = read_description(self.path, RUN, RESULTS)
        differ = [
            f"{name} is {run.get(name)!r}, there it is {there.get(name)!r}"
            for name in dict.fromkeys((*run, *there))
            if there and name != FREE and run.get(name) != there.get(name)
        ]
        if differ:
            raise ValueError(
                f"{self.path} holds the results of another run: {'; '.join(differ)}. Choose "
                "another --out, or give the same fill and options"
            )
        if not there:
            write_description(self.path, RUN, run)

    def state(self, file: str, image: pathlib.Path, masks: Mapping[str, pathlib.Path]) -> State:
        """What became of a picture: "done", "new", "changed" or "missing".

        Args:
          file: its name here.
          image: its file, whose content may be another by now.
          masks: the files that its mask comes from, by their names in the record.
        """
        if file not in self.records:
            return "new"
        record = self.records.read(file)
        if record.error is not None or record.known is None:
            return "new"
        if set(masks) != set(record.masks) or not all(
            still(path, known)
            for path, known in [
                (image, record.known),
                *((masks[name], known) for name, known in record.masks.items()),
            ]
        ):
            return "changed"
        there = all((self.path / own).exists() for own in (record.filled, record.triptych))
        return "done" if there else "missing"

    def filled_path(self, file: str) -> pathlib.Path:
        """filled/<relative path with extension>.png."""
        return self.path / "filled" / fitting(file, ".png")

    def triptych_path(self, file: str) -> pathlib.Path:
        """triptychs/<relative path with extension>.jpg."""
        return self.path / "triptychs" / fitting(file, ".jpg")

    def below(self, path: pathlib.Path) -> str:
        """A path as records write it."""
        return path.relative_to(self.path).as_posix()
