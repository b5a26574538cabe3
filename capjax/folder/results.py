"""The folder that `explain.py` writes: what is done, and how it stays whole when a run dies.

    run.json                     model, query, decoding and code version of all that is in here
    results.jsonl                one line an image, see `records`
    maps/<file>.npz              raw maps, see `maps.arrays`
    overlays/<file>.<method>.jpg strips for papers; .webp or .png where that was asked for; of the
                                 second sentence of an image overlays/<file>.2.<method>.jpg
    figures/<file>.<method>.pdf  the paper's layouts, where they were asked for; .png, .svg; of
                                 clips .gif too
    thumbnails/<file>.jpg        what the report shows
    shards/                      maps and thumbnails of many images a file, in place of maps/ and
                                 thumbnails/ where that was asked for, see `maps.sharding`
    index.html, index-0002.html  the report

A name that is too long for the file system with what is added to it is cut, and ends with a digest
of the whole: results.jsonl says which file is whose.

Files are replaced in one rename. Lines are appended whole, after the files they name; a line that
a dying process tore is dropped by the next run, which does that image again. One run writes at a
time: it holds `.lock`. A line says of what content it is (`bytes`, `sha256`, `times`): a picture
that was replaced since is done again. Lines of older versions have `bytes` alone.
"""

import dataclasses
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from capjax.data.stores.contract import Metadata, Store
from capjax.explainers.choosing import MEASURE_OPTION, SEPARATOR, Chosen, labels
from capjax.explainers.methods import METHODS
from capjax.folder.maps.contract import MapKeeper
from capjax.folder.maps.formats import FILES, FORMAT, map_keeper
from capjax.folder.names import fitting
from capjax.folder.records import MEASURE_BEFORE, Result
from capjax.runtime import locks
from capjax.runtime.fingerprint import Fingerprint
from capjax.runtime.record_file import RecordFile, read_description, write_description

RESULTS = "results.jsonl"
RUN = "run.json"
DECODE, SCALED, EXACT = "decode", "scaled", "exact"
"""The entry of run.json that says how large JPEGs are decoded, and its values."""
FIXED = (
    *("model_hash", "query", "queries", "unknown_words", "decoding", "dense"),
    *("contrasts", "keywords", "whole_sentence", DECODE, FORMAT),
)
"""Entries of run.json that one folder cannot mix."""
UNSAID = {FORMAT: FILES, DECODE: SCALED}
"""What an entry of run.json is that is not there."""
MODEL_PARTS = ("saved_model", "reading", "precision")
"""What `model_hash` is of: the model as it was saved, and how this run reads it."""
RENAMED = {(study, "encoder"): "similarity" for study in ("adversarial", "instability")}
"""(study, option as older versions called it) -> its name."""

State = Literal["done", "new", "changed", "missing", "asked"]
"""Of an image: explained; not yet, or it failed; its file has other content; its maps are gone;
other sentences were asked about it."""
Pictures = Literal["overlays", "figures"]
"""Folders of what is drawn of each image, sentence and method."""


class MismatchError(ValueError):
    """The folder holds the results of another model, query or decoding."""


@dataclasses.dataclass(frozen=True)
class Line:
    """What a run has to know of the result of one image, and of what content it is.

    `asked` is a hash of its sentences, which would take much room; `places` are the files with the
    maps of each method.
    """

    failed: bool
    size: int
    known: Fingerprint | None
    asked: int
    places: tuple[str, ...] = ()

    @classmethod
    def of(cls, result: Result) -> "Line":
        """That of a result."""
        methods = result.answers[0].methods.values() if result.answers else ()
        places = tuple(stored.maps for stored in methods)
        return cls(result.failed, result.bytes, result.known, hash(result.queries), places)


class ResultFolder:
    """One output folder, opened for one model, query and decoding; locked until it is closed.

    Args:
      path: created where missing.
      run: what run.json says, `FIXED` entries included; an existing one keeps its other entries.
      break_lock: the other machine's process that locked the folder is dead.

    Raises:
      LockedError: another run writes there.
      MismatchError: the folder's run.json differs in a `FIXED` entry.
      ValueError: run.json is damaged, or the folder holds results without one.
    """

    def __init__(
        self, path: str | os.PathLike[str], run: Mapping[str, Any], *, break_lock: bool = False
    ) -> None:
        self.path = pathlib.Path(path)
        self.lines: dict[str, Line] = {}
        self.maps: MapKeeper = map_keeper(self.path, run)
        self._results: RecordFile[Result] | None = None
        self._lock = locks.take(self.path / locks.FILE, break_lock=break_lock)
        try:
            self._open(run)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "ResultFolder":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self, run: Mapping[str, Any]) -> None:
        there = self._check(run)
        added = {
            name: {**there.get(name, {}), **run[name]}
            for name in ("methods", "studies", "doubts")
            if run.get(name)
        }
        described = {**(there or run), **added}
        if described != there:
            write_description(self.path, RUN, described)
        self._results = RecordFile(self.path / RESULTS, Result.from_json, self._note)
        self.maps.recover(self)

    def _note(self, result: Result) -> None:
        self.lines[result.file] = Line.of(result)

    @property
    def _opened(self) -> RecordFile[Result]:
        assert self._results is not None, "the folder could not be opened"
        return self._results

    def _check(self, run: Mapping[str, Any]) -> dict[str, Any]:
        """What run.json says; empty where there is none yet."""
        there = read_description(self.path, RUN, RESULTS)
        if not there:
            return {}
        own, before = {**UNSAID, **run}, {**UNSAID, **there}
        names = [name for name in FIXED if own.get(name) != before.get(name)]
        if "model_hash" in names:  # the part of it that differs, where that is known
            parts = [name for name in MODEL_PARTS if name in there and run.get(name) != there[name]]
            names = [*parts, *names[1:]] if parts else names
        differ = [
            f"{name} is {own.get(name)!r}, there it is {before.get(name)!r}" for name in names
        ]
        if differ:
            raise MismatchError(
                f"{self.path} holds the results of another run: {'; '.join(differ)}. "
                "Choose another --out, or give the same model, reading, precision, query, "
                "contrast, keyword, decoding, decode and format"
            )
        usual = labels(map(Chosen, METHODS.values()))
        known = {  # what an option does by default is what its method did before it had one
            label: {**usual.get(label.partition(SEPARATOR)[0], {}), **own}
            for label, own in there.get("methods", usual).items()
        }
        _check_settings(self.path, "maps", run.get("methods", {}), known)
        found = {
            study: {RENAMED.get((study, name), name): value for name, value in own.items()}
            for study, own in there.get("studies", {}).items()
        }
        _check_settings(self.path, "findings", run.get("studies", {}), found)
        _check_settings(self.path, "doubts", run.get("doubts", {}), there.get("doubts", {}))
        return there

    def append(self, result: Result) -> None:
        """Adds the line of one image, whose files are written.

        Raises:
          OSError, RuntimeError: the line, or a shard of earlier maps, could not be written.
        """
        self._opened.append(self.maps.placed(result))
        self.maps.settle(self)

    def finish(self) -> None:
        """Leaves one line an image behind, sorted by file; nothing is appended after it."""
        self.maps.finish(self)
        self._opened.finish()

    def close(self) -> None:
        """Lets other runs write here, once nothing of this one does."""
        self.maps.stop()
        if self._results is not None:
            self._results.close()
        self._lock.release()

    def state(self, file: str, store: Store, queries: Sequence[str | None]) -> State:
        """What became of an image, by any method.

        Args:
          file: its name.
          store: that holds it, whose content may be another by now.
          queries: what is asked about it, None for the caption.
        """
        line = self.lines.get(file)
        if line is None or line.failed:
            return "new"
        if line.known is None:
            same = store.size(file) == line.size
        else:
            now = store.still(file, line.known)
            same = now is not None
            if now is not None and (now != line.known or now.times is None):
                self._renew(file, now, store.metadata(file))  # next time it is not read again
        if not same:
            return "changed"
        if line.asked != hash(tuple(queries)):
            return "asked"
        there = all(self.maps.holds(file, place) for place in {*line.places})
        return "done" if there else "missing"

    def _renew(self, file: str, known: Fingerprint, metadata: Metadata) -> None:
        """Notes what is true now of an image that stays done."""
        before = self.read(file)
        if (known, metadata) != (before.known, before.metadata):
            self.append(dataclasses.replace(before, known=known, metadata=metadata))

    def read(self, file: str) -> Result:
        """The result of one image."""
        return self._opened.read(file)

    def earlier(self, file: str) -> Result | None:
        """The result of one image that an earlier run explained; None where none did."""
        line = self.lines.get(file)
        return None if line is None or line.failed else self.read(file)

    def results(self, files: Sequence[str]) -> Iterator[Result]:
        """The results of some images, read one by one."""
        return map(self.read, files)

    def picture_path(
        self, kind: Pictures, file: str, method: str, number: int, suffix: str
    ) -> pathlib.Path:
        """<kind>/<relative path with extension>.<method>.<suffix>.

        Args:
          kind: its folder.
          file: the image.
          method: whose maps it shows.
          number: of the sentence, from 0; those after the first are told apart by `.2`, `.3` …
          suffix: of the format, without its dot.
        """
        sentence = f".{number + 1}" if number else ""
        return self.path / kind / fitting(file, f"{sentence}.{method}.{suffix}")

    def study_path(self, file: str, study: str, number: int) -> pathlib.Path:
        """studies/<relative path with extension>.<study>.<number>.png."""
        return self.path / "studies" / fitting(file, f".{study}.{number + 1}.png")


def _check_settings(
    path: pathlib.Path,
    noun: str,
    asked: Mapping[str, Mapping[str, Any]],
    known: Mapping[str, Mapping[str, Any]],
) -> None:
    """Raises MismatchError where what is in the folder was made with other options.

    Args:
      path: of the folder.
      noun: what is in it.
      asked: options by label, of this run.
      known: of earlier runs. Folders of versions without options say nothing of them: their
        methods were what they are by default. Nor did versions without measures speak of those.
    """
    for label, settings in asked.items():
        before = {MEASURE_OPTION: MEASURE_BEFORE, **known.get(label, settings)}
        differ = [name for name in settings if before.get(name) != settings[name]]
        if differ:
            name = differ[0]
            apart = f"ask for --methods={label}@{name}={settings[name]}, or "
            raise MismatchError(
                f"{path} holds {noun} of {label} with {name}={before.get(name)}, not "
                f"{name}={settings[name]}; to keep both, {apart if noun == 'maps' else ''}"
                "choose another --out"
            )
