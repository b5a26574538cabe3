"""Shards as Parquet files, which any reader of tables opens. One row an image:

    file       name, with `\\udcff` and the like written out where it is no Unicode
    caption, score
    record     the line of results.jsonl, as JSON
    thumbnail  a JPEG file
    layout     JSON: name -> what else `arrays` has, such as words and `geometry`
    maps       list of {name, shape, scale, values}: `values` are little-endian float16 in C order,
               to be multiplied by `scale`, one number for each index of the first axis

In Python: `numpy.frombuffer(values, "<f2").reshape(shape) * numpy.float32(scale)[:, …]`.
"""

import itertools
import json
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from capjax.folder.maps.arrays import Arrays
from capjax.folder.maps.arrow import import_pyarrow, unicode
from capjax.folder.maps.packed import SCALE
from capjax.folder.maps.rows import Row

ROWS_A_GROUP, BYTES_A_GROUP = 32, 2**23
"""Most of a row group, which is read as a whole for one of its rows."""


class Parquet:
    """Rows as Parquet."""

    SUFFIX = "parquet"

    def check(self) -> None:
        """See `ShardFormat`."""
        import_pyarrow()

    def write(self, path: str, rows: Iterable[Row]) -> None:
        """See `ShardFormat`."""
        pa = import_pyarrow()
        import pyarrow.parquet as pq

        schema = _schema(pa)
        options: dict[str, Any] = {"compression": "zstd", "write_page_checksum": True}
        with pq.ParquetWriter(path, schema, **options) as writer:
            for group in _groups(rows):
                writer.write_table(pa.Table.from_pylist([_columns(row) for row in group], schema))

    def open(self, path: str) -> "_OpenParquet":
        """See `ShardFormat`."""
        return _OpenParquet(path)


class _OpenParquet:
    """One file; the last row group stays in memory."""

    def __init__(self, path: str) -> None:
        import_pyarrow()
        import pyarrow.parquet as pq

        self._file = pq.ParquetFile(path, page_checksum_verification=True)
        metadata = self._file.metadata
        counts = (metadata.row_group(number).num_rows for number in range(metadata.num_row_groups))
        self._starts = [0, *itertools.accumulate(counts)]
        self._held: tuple[int, Any] = (-1, None)

    @property
    def files(self) -> list[str]:
        """See `OpenShard`: names as the records say them."""
        records = self._file.read(["record"])["record"]
        return [json.loads(record.as_py())["file"] for record in records]

    def row(self, number: int) -> Row:
        """See `OpenShard`."""
        group = int(np.searchsorted(self._starts, number, "right")) - 1
        if self._held[0] != group:
            names = ["record", "thumbnail", "layout", "maps"]
            self._held = group, self._file.read_row_group(group, columns=names)
        ((found),) = self._held[1].slice(number - self._starts[group], 1).to_pylist()
        record = found["record"]
        return Row(json.loads(record)["file"], record, found["thumbnail"], _arrays(found))

    def close(self) -> None:
        """See `OpenShard`."""
        self._file.close()


def _schema(pa: Any) -> Any:
    maps = {
        "name": pa.string(),
        "shape": pa.list_(pa.int32()),
        "scale": pa.list_(pa.float32()),
        "values": pa.binary(),
    }
    return pa.schema(
        {
            "file": pa.string(),
            "caption": pa.string(),
            "score": pa.float64(),
            "record": pa.string(),
            "thumbnail": pa.binary(),
            "layout": pa.string(),
            "maps": pa.list_(pa.struct(maps)),
        }
    )


def _groups(rows: Iterable[Row]) -> Iterator[list[Row]]:
    held: list[Row] = []
    size = 0
    for row in rows:
        held.append(row)
        size += sum(values.nbytes for values in row.arrays.values())
        if len(held) == ROWS_A_GROUP or size >= BYTES_A_GROUP:
            yield held
            held, size = [], 0
    if held:
        yield held


def _columns(row: Row) -> dict[str, Any]:
    scaled = [name for name in row.arrays if name + SCALE in row.arrays]
    beside = {*scaled, *(name + SCALE for name in scaled)}
    layout = {name: own.tolist() for name, own in row.arrays.items() if name not in beside}
    record = json.loads(row.record)
    return {
        "file": unicode(row.file),
        "caption": record["caption"],
        "score": record["score"],
        "record": row.record,
        "thumbnail": row.thumbnail,
        "layout": json.dumps(layout),
        "maps": [
            {
                "name": name,
                "shape": row.arrays[name].shape,
                "scale": row.arrays[name + SCALE],
                "values": row.arrays[name].astype("<f2").tobytes(),
            }
            for name in scaled
        ],
    }


def _arrays(found: dict[str, Any]) -> Arrays:
    arrays = {name: np.array(own) for name, own in json.loads(found["layout"]).items()}
    for own in found["maps"]:
        values = np.frombuffer(own["values"], "<f2").reshape(own["shape"])
        arrays[own["name"]] = values
        arrays[own["name"] + SCALE] = np.array(own["scale"], np.float32)
    return arrays
