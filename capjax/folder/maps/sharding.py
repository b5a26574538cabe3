"""Maps as shards of many pictures: shards/part-00000.parquet, or .array_record, and so on.

    shards/manifest.json         see `manifest`
    shards/part-00000.parquet    see `parquet`; sorted by name
    shards/pending/<file>.npz    rows that no shard holds yet

A row is written as a file first, the journal. When the line of its image is recorded, it belongs to
the shard that is filled at the time, which the line names from then on. A shard that has its rows
is closed: written under another name, put in its place in one rename, entered in the manifest, and
only then its rows are removed. A thread beside the run does that while the next shard is filled;
one that is full before it is done waits for it, so at most two shards' rows wait as files. A run
that dies leaves rows with a line, which the next one makes shards of, and rows without, whose
images it does again.

So a line says where each of its maps is, and what no line names is stale: after a picture changed,
the row of the old one. At its end a run moves the rows out of shards with stale ones, and those of
shards that are hardly filled, into new shards. Then each map is in one shard, once.
"""

import collections
import dataclasses
import functools
import json
import pathlib
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence, Set

from capjax.data.stores.places import Local
from capjax.folder.maps.arrays import arrays_of, merged, of_methods
from capjax.folder.maps.behind import Behind
from capjax.folder.maps.contract import UNREADABLE, Records
from capjax.folder.maps.manifest import FOLDER, Shard, read_manifest, write_manifest
from capjax.folder.maps.packed import SCALE, pack, packed_as, unpack
from capjax.folder.maps.rows import Row, ShardFormat
from capjax.folder.maps.shards import PENDING, ShardReader
from capjax.folder.records import Result
from capjax.runtime.files import replacing, replacing_path
from capjax.runtime.fingerprint import sha256_of
from capjax.types import Explanation

MOST_ROWS, MOST_BYTES = 1024, 2**27
"""Of a shard, the bytes before compression."""
UNPLACED = ""
"""Where maps are whose line is not recorded yet."""
_NUMBER = re.compile(r"part-(\d+)\.")


class Shards(ShardReader):
    """Keeps the maps of a run in shards.

    Args:
      folder: of the results.
      kind: of the shards.
    """

    def __init__(self, folder: pathlib.Path, kind: ShardFormat) -> None:
        super().__init__(folder, kind)
        self._number = 0
        self._held: dict[str, int] = {}  # bytes of each row of the shard that is filled
        self._lost: set[str] = set()
        self._closing = Behind()

    def recover(self, records: Records) -> None:
        """Closes the shard that a dead run was filling; finds images whose maps are gone."""
        self._shards = {
            place: shard
            for place, shard in read_manifest(self._folder).items()
            if Local(self._folder / place).size() == shard.bytes
        }
        files = _files_by_place(records)
        numbers = [int(found[1]) for found in map(_NUMBER.search, [*files, *self._shards]) if found]
        self._number = max(numbers, default=-1) + 1
        for place, own in sorted(files.items()):
            if place not in self._shards:
                there = {file for file in own if self._whole(file)}
                if there:
                    self._close(place, there, records)
            elif len(own) == self._shards[place].rows and self._shards[place].maps == sum(
                records.lines[file].places.count(place) for file in own
            ):
                continue  # what the lines say
            else:
                try:
                    there = self.files(place)
                except UNREADABLE:
                    there = set()
            self._lost.update(own - there)
        shutil.rmtree(self._folder / FOLDER / PENDING, ignore_errors=True)

    def holds(self, file: str, place: str) -> bool:
        """See `MapKeeper`."""
        return file not in self._lost and place in self._shards

    def write(
        self,
        file: str,
        answers: Sequence[Mapping[str, Explanation]],
        thumbnail: bytes,
        *,
        keep: bool,
    ) -> str:
        """See `MapKeeper`: maps of other methods stay in the shards where they are."""
        self._write(Row(file, "", thumbnail, pack(arrays_of(answers))))
        return UNPLACED

    def joined(self, place: str, content: bytes) -> bytes:
        """See `MapKeeper`: as it is; maps of other methods stay in the shards where they are."""
        return content

    def placed(self, result: Result) -> Result:
        """See `MapKeeper`."""
        methods = (own for answer in result.answers for own in answer.methods.values())
        if not any(own.maps == UNPLACED for own in methods):
            return result
        self._held[result.file] = self._pending_path(result.file).stat().st_size
        self._lost.discard(result.file)
        return _relocated(result, {UNPLACED}, self._filled)

    def settle(self, records: Records) -> None:
        """Closes the shard that is filled, beside this thread, once it is full.

        Raises:
          OSError, RuntimeError: the shard before could not be closed.
        """
        self._closing.raise_failure()
        if len(self._held) >= MOST_ROWS or sum(self._held.values()) >= MOST_BYTES:
            self._start_closing(records)

    def finish(self, records: Records) -> None:
        """See `MapKeeper`."""
        self._close_filled(records)
        files = _files_by_place(records)
        leaving = self._leaving(files, records)
        for file in sorted({file for place in leaving for file in files.get(place, ())}):
            self._move(file, leaving, records)
        self._close_filled(records)
        if leaving:
            self._shards = {p: own for p, own in self._shards.items() if p not in leaving}
            write_manifest(self._folder, self._kind.SUFFIX, self._shards)
        self._sweep(_files_by_place(records))

    def stop(self) -> None:
        """See `MapKeeper`: rows of a shard that is not closed wait for the next run."""
        self._closing.stop()

    @property
    def _filled(self) -> str:
        """The shard that gets the next row."""
        return f"{FOLDER}/part-{self._number:05d}.{self._kind.SUFFIX}"

    def _start_closing(self, records: Records) -> None:
        """Closes the shard that is filled, and begins the next one."""
        self._closing.start(functools.partial(self._close, self._filled, {*self._held}, records))
        self._number += 1
        self._held = {}

    def _close_filled(self, records: Records) -> None:
        """Leaves nothing to be closed."""
        if self._held:
            self._start_closing(records)
        self._closing.wait()

    def _close(self, place: str, files: Set[str], records: Records) -> None:
        """Makes a shard of rows that wait; they are removed once it is in the manifest."""
        held = 0

        def rows() -> Iterator[Row]:
            nonlocal held
            for file in sorted(files):
                self._closing.check_wanted()
                content = self._pending_path(file).read_bytes()
                held += len(content)
                record = records.read(file)
                row = _of_place(Row.from_bytes(content), record, place)
                yield dataclasses.replace(row, record=json.dumps(record.to_json()))

        path = self._folder / place
        with replacing_path(path, durable=True) as temporary:
            self._kind.write(str(temporary), rows())
            size, sha256 = temporary.stat().st_size, sha256_of(temporary)
        maps = sum(records.lines[file].places.count(place) for file in files)
        with self._lock:
            self._shards = {**self._shards, place: Shard(len(files), maps, size, held, sha256)}
            write_manifest(self._folder, self._kind.SUFFIX, self._shards)
        for file in files:
            self._pending_path(file).unlink()

    def _leaving(self, files: Mapping[str, Set[str]], records: Records) -> set[str]:
        """Shards with stale rows; with them, or if there are several, those hardly filled."""

        def live(place: str) -> int:
            own = (records.lines[file].places.count(place) for file in files.get(place, ()))
            return sum(own)

        stale = {place for place, shard in self._shards.items() if live(place) != shard.maps}
        short = {
            place
            for place, shard in self._shards.items()
            if 2 * shard.rows < MOST_ROWS and 2 * shard.held < MOST_BYTES
        }
        return stale | short if stale or len(short) > 1 else set()

    def _move(self, file: str, leaving: set[str], records: Records) -> None:
        """Moves the rows of an image out of shards; one that cannot be read keeps its shard."""
        record = records.read(file)
        rows = {}
        for place in sorted({*records.lines[file].places} & leaving):
            try:
                rows[place] = _of_place(self.row(place, file), record, place)
            except UNREADABLE:
                leaving.discard(place)
        if rows:
            self._write(functools.reduce(_joined, rows.values()))
            records.append(_relocated(record, {*rows}, UNPLACED))

    def _write(self, row: Row) -> None:
        with replacing(self._pending_path(row.file)) as stream:
            stream.write(row.to_bytes())

    def _whole(self, file: str) -> bool:
        """Whether a row that waits can be read."""
        try:
            return Row.from_bytes(self._pending_path(file).read_bytes()).file == file
        except UNREADABLE:
            return False

    def _sweep(self, named: Mapping[str, Set[str]]) -> None:
        """Removes what belongs to no result."""
        shutil.rmtree(self._folder / FOLDER / PENDING, ignore_errors=True)
        for path in (self._folder / FOLDER).glob("*part-*"):
            place = path.relative_to(self._folder).as_posix()
            if place not in self._shards and place not in named:
                self.close(place)
                path.unlink()


def _files_by_place(records: Records) -> dict[str, set[str]]:
    """The images whose lines name each file of maps."""
    files: dict[str, set[str]] = collections.defaultdict(set)
    for file, line in records.lines.items():
        for place in line.places:
            files[place].add(file)
    return dict(files)


def _of_place(row: Row, record: Result, place: str) -> Row:
    """A row with the maps alone that its record says are in a shard."""
    here = {name for name, own in record.answers[0].methods.items() if own.maps == place}
    maps = {name: own for name, own in row.arrays.items() if not name.endswith(SCALE)}
    kept = packed_as(row.arrays, of_methods(maps, here))
    return dataclasses.replace(row, arrays=kept)


def _joined(one: Row, other: Row) -> Row:
    """Two rows of an image as one."""
    both = merged(unpack(one.arrays), unpack(other.arrays))
    return dataclasses.replace(one, arrays=packed_as({**one.arrays, **other.arrays}, both))


def _relocated(result: Result, places: Set[str], to: str) -> Result:
    """A result whose maps at some places are at another."""
    answers = [
        dataclasses.replace(
            answer,
            methods={
                name: dataclasses.replace(own, maps=to) if own.maps in places else own
                for name, own in answer.methods.items()
            },
        )
        for answer in result.answers
    ]
    return dataclasses.replace(result, answers=tuple(answers))
