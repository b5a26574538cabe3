"""The folder that `explain.py` writes: what is done, and how it stays whole when a run dies.

    run.json                     model, query, decoding and code version of all that is in here
    results.jsonl                one line an image: an explained one or one with an `error`
    maps/<file>.npz              per method [N F h w] float32, one map a word; `words`; `geometry`;
                                 `<method>.frames` [N F] of clips; with phrases `<method>.phrases`
                                 [M F h w] and `phrases` [M 2] (first word, last word + 1)
    overlays/<file>.<method>.jpg strips for papers; .webp or .png where that was asked for
    thumbnails/<file>.jpg        what the report shows
    index.html, index-0002.html  the report

A name that is too long for the file system with what is added to it is cut, and ends with a digest
of the whole: results.jsonl says which file is whose.

Files are replaced in one rename. Lines are appended whole, after the files they name; a line that
a dying process tore is dropped by the next run, which does that image again. One run writes at a
time: it holds `.lock`. A line says of what content it is (`bytes`, `sha256`, `times`): a picture
that was replaced since is done again. Lines of older versions have `bytes` alone.
"""

import dataclasses
import hashlib
import json
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from capjax.runtime import locks
from capjax.runtime.files import replacing
from capjax.runtime.fingerprint import Fingerprint, still
from capjax.types import Explanation, Geometry
from capjax.viz.strip_files import SUFFIXES, StripFiles

RESULTS = "results.jsonl"
RUN = "run.json"
LONGEST_NAME, LONGEST_PATH = 255, 2048
"""Bytes of one name in common file systems, and of a path that leaves room for the folder's."""
AROUND = "..tmp"
"""What `replacing` adds to a name while it writes."""
FIXED = ("model_hash", "query", "unknown_words", "decoding")
"""Entries of run.json that one folder cannot mix."""
MODEL_PARTS = ("saved_model", "reading", "precision")
"""What `model_hash` is of: the model as it was saved, and how this run reads it."""

State = Literal["done", "new", "changed", "missing"]
"""Of an image: explained; not yet, or it failed; its file has other content; its maps are gone."""


class MismatchError(ValueError):
    """The folder holds the results of another model, query or decoding."""


@dataclasses.dataclass(frozen=True)
class Line:
    """Where the result of one image stands in results.jsonl, and of what content it is."""

    offset: int
    failed: bool
    size: int
    known: Fingerprint | None

    @classmethod
    def of(cls, result: Mapping[str, Any], offset: int) -> "Line":
        """That of a result which starts at `offset`."""
        size = result.get("bytes", -1)
        return cls(offset, "error" in result, size, Fingerprint.from_json(result))


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
        self._results = -1
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
        self._check(run)
        if not (self.path / RUN).exists():
            text = json.dumps(dict(run), indent=2, ensure_ascii=False) + "\n"
            with replacing(self.path / RUN) as stream:
                stream.write(text.encode())
        self.lines: dict[str, Line] = {}
        self._index()
        self.compact()
        self._results = os.open(self.path / RESULTS, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)

    def _check(self, run: Mapping[str, Any]) -> None:
        path = self.path / RUN
        if not path.exists():
            if (self.path / RESULTS).exists():
                raise ValueError(f"{self.path} has {RESULTS} but no {RUN}; choose another folder")
            return
        try:
            there = json.loads(path.read_text("utf-8"))
        except ValueError as error:
            raise ValueError(f"{path} is damaged ({error}); choose another folder") from error
        names = [name for name in FIXED if run[name] != there.get(name)]
        if "model_hash" in names:  # the part of it that differs, where that is known
            parts = [name for name in MODEL_PARTS if name in there and run.get(name) != there[name]]
            names = [*parts, *names[1:]] if parts else names
        differ = [f"{name} is {run.get(name)!r}, there it is {there.get(name)!r}" for name in names]
        if differ:
            raise MismatchError(
                f"{self.path} holds the results of another run: {'; '.join(differ)}. "
                "Choose another --out, or give the same model, reading, precision, query and "
                "decoding"
            )

    def _index(self) -> None:
        """Reads which images are done; the last whole line of an image counts."""
        path = self.path / RESULTS
        if not path.exists():
            return
        with open(path, "rb") as stream:
            offset = 0
            for raw in stream:
                result = _parse(raw)
                if result is not None:
                    self.lines[result["file"]] = Line.of(result, offset)
                offset += len(raw)

    def compact(self) -> None:
        """Rewrites results.jsonl with exactly one line an image, sorted by file."""
        source = self.path / RESULTS
        if not source.exists():
            return
        moved: dict[str, Line] = {}
        with open(source, "rb") as old, replacing(source) as new:
            for file in sorted(self.lines):
                line = self.lines[file]
                old.seek(line.offset)
                moved[file] = dataclasses.replace(line, offset=new.tell())
                new.write(old.readline())
        self.lines = moved

    def append(self, result: Mapping[str, Any]) -> None:
        """Adds the line of one image, whose files are written."""
        raw = (json.dumps(result) + "\n").encode()
        start = os.lseek(self._results, 0, os.SEEK_END)
        try:
            written = 0
            while written < len(raw):  # on a full disk, less than asked for
                written += os.write(self._results, raw[written:])
        except OSError:
            os.ftruncate(self._results, start)
            raise
        self.lines[result["file"]] = Line.of(result, start)

    def finish(self) -> None:
        """Leaves one line an image behind; nothing is appended after it."""
        os.close(self._results)
        self._results = -1
        self.compact()

    def close(self) -> None:
        """Lets other runs write here."""
        if self._results >= 0:
            os.close(self._results)
            self._results = -1
        self._lock.release()

    def state(self, file: str, image: pathlib.Path) -> State:
        """What became of an image, by any method, and whether its file has the content it had."""
        line = self.lines.get(file)
        if line is None or line.failed:
            return "new"
        if line.known is None:
            same = image.exists() and image.stat().st_size == line.size
        else:
            now = still(image, line.known)
            same = now is not None
            if now is not None and now != line.known:  # a copy, say: next time it is not read again
                self.append({**self.read(file), **now.to_json()})
        if not same:
            return "changed"
        return "done" if self.maps_path(file).exists() else "missing"

    def lacking(
        self, file: str, methods: Sequence[str], overlays: StripFiles | None
    ) -> tuple[str, ...]:
        """Of some methods, those of which an explained image lacks maps, or an overlay as asked.

        Older versions did not write down how an overlay was `drawn`: like one of default height.
        """
        there = self.read(file)["methods"]
        return tuple(
            method
            for method in methods
            if method not in there or (overlays and not self._drawn(there[method], overlays))
        )

    def _drawn(self, method: Mapping[str, Any], overlays: StripFiles) -> bool:
        """Whether the overlay that the result of a method names is there, and as asked for."""
        if "overlay" not in method:
            return False
        path = self.path / method["overlay"]
        return path.exists() and overlays.accept(path.suffix[1:], method.get("drawn", {}))

    def read(self, file: str) -> dict[str, Any]:
        """The result of one image."""
        with open(self.path / RESULTS, "rb") as stream:
            stream.seek(self.lines[file].offset)
            result = _parse(stream.readline())
        assert result is not None, f"{RESULTS} was changed while this run uses it"
        return result

    def results(self, files: Sequence[str]) -> Iterator[dict[str, Any]]:
        """The results of some images, read one by one."""
        return map(self.read, files)

    def maps_path(self, file: str) -> pathlib.Path:
        """maps/<relative path with extension>.npz."""
        return self.path / "maps" / fitting(file, ".npz")

    def overlay_path(self, file: str, method: str, suffix: str) -> pathlib.Path:
        """overlays/<relative path with extension>.<method>.<suffix>, see `SUFFIXES`."""
        return self.path / "overlays" / fitting(file, f".{method}.{suffix}")

    def drop_overlays(self, file: str, method: str, *, keep: str) -> None:
        """Removes overlays of other formats, which an earlier run drew of the same name."""
        for suffix in set(SUFFIXES.values()) - {keep}:
            self.overlay_path(file, method, suffix).unlink(missing_ok=True)

    def thumbnail_path(self, file: str) -> pathlib.Path:
        """thumbnails/<relative path with extension>.jpg."""
        return self.path / "thumbnails" / fitting(file, ".jpg")

    def write_maps(
        self, file: str, explanations: Mapping[str, Explanation], *, keep: bool
    ) -> pathlib.Path:
        """Writes the maps of one image; `keep` adds them to those of other methods."""
        path = self.maps_path(file)
        arrays: dict[str, np.ndarray] = {}
        if keep:
            with np.load(path, allow_pickle=False) as there:
                arrays = dict(there)
        for method, explanation in explanations.items():
            arrays[method] = explanation.maps
            if explanation.frame_maps is not None:
                arrays[f"{method}.frames"] = explanation.frame_maps
            if explanation.phrase_maps is not None:
                arrays[f"{method}.phrases"] = explanation.phrase_maps
                arrays["phrases"] = np.array(explanation.phrases, np.int32)
            arrays["words"] = np.array(explanation.words, dtype=np.str_)
            arrays["geometry"] = np.array(json.dumps(explanation.geometry.to_json()))
        with replacing(path) as stream:
            np.savez(stream, **arrays)  # type: ignore[arg-type]
        return path


def fitting(file: str, suffix: str) -> str:
    """The name of what belongs to `file`: `file` with `suffix`, shortened where that is too long.

    A shortened name keeps its beginning and its folder, and holds 80 bits of the whole's digest: no
    two files share one. A path that is too long as a whole loses its folder too.
    """
    folder, _, name = file.rpartition("/")
    encoded, ending = os.fsencode(name), os.fsencode(suffix)
    longest = LONGEST_NAME - len(os.fsencode(AROUND)) - len(ending)
    whole_path = len(os.fsencode(file)) > LONGEST_PATH
    if len(encoded) <= longest and not whole_path:
        return file + suffix
    digest = hashlib.sha256(os.fsencode(file)).hexdigest()[:20]
    kept = encoded[: longest - len(digest) - 1].decode(errors="ignore")
    short = f"{kept}~{digest}{suffix}"
    return short if whole_path or not folder else f"{folder}/{short}"


def read_maps(path: pathlib.Path) -> tuple[dict[str, np.ndarray], Geometry]:
    """Arrays by name, and where their grid lies, of a file under maps/."""
    with np.load(path, allow_pickle=False) as arrays:
        found = dict(arrays)
    geometry = Geometry.from_json(json.loads(str(found.pop("geometry"))))
    del found["words"]
    return found, geometry


def _parse(raw: bytes) -> dict[str, Any] | None:
    """A result, or None for a line that is torn or no result."""
    if not raw.endswith(b"\n"):
        return None
    try:
        result = json.loads(raw)
    except ValueError:
        return None
    return result if isinstance(result, dict) and isinstance(result.get("file"), str) else None
