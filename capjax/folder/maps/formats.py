"""The forms in which a run keeps its maps, by the names of --format."""

import pathlib
from collections.abc import Mapping
from typing import Any

from capjax.folder.maps.array_record import ArrayRecord
from capjax.folder.maps.contract import MapKeeper, MapReader
from capjax.folder.maps.files import MapFiles
from capjax.folder.maps.parquet import Parquet
from capjax.folder.maps.rows import ShardFormat
from capjax.folder.maps.sharding import Shards
from capjax.folder.maps.shards import ShardReader

FORMAT, FILES = "format", "files"
"""The entry of run.json, and what it is where there is none."""
SHARDED: Mapping[str, ShardFormat] = {"parquet": Parquet(), "arrayrecord": ArrayRecord()}
FORMATS = (FILES, *SHARDED)


def map_keeper(folder: pathlib.Path, run: Mapping[str, Any]) -> MapKeeper:
    """What keeps the maps of a run.

    Args:
      folder: of its results.
      run: what run.json says.

    Raises:
      ImportError: a library is missing.
      ValueError: no such format.
    """
    kind = _kind(run)
    return MapFiles(folder) if kind is None else Shards(folder, kind)


def map_reader(folder: pathlib.Path, run: Mapping[str, Any]) -> MapReader:
    """What reads the maps of a run; arguments and errors as of `map_keeper`."""
    kind = _kind(run)
    return MapFiles(folder) if kind is None else ShardReader(folder, kind)


def _kind(run: Mapping[str, Any]) -> ShardFormat | None:
    name = run.get(FORMAT, FILES)
    if name == FILES:
        return None
    if name not in SHARDED:
        raise ValueError(f"unknown format {name!r} of maps; choose one of: {', '.join(FORMATS)}")
    SHARDED[name].check()
    return SHARDED[name]
