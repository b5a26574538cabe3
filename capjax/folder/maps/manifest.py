"""Which shards a folder has: shards/manifest.json.

{"format": "parquet", "version": 1, "shards": {
  "part-00000.parquet": {"rows": 1024, "maps": 2048, "bytes": …, "held": …, "sha256": …}, …}}
"""

import dataclasses
import json
import pathlib
from collections.abc import Mapping

from capjax.runtime.files import replacing

FOLDER, FILE = "shards", "manifest.json"
VERSION = 1


@dataclasses.dataclass(frozen=True)
class Shard:
    """One shard, whole.

    Attributes:
      rows: images in it.
      maps: pairs of an image and a method.
      bytes: of the file.
      held: bytes of the rows before compression.
      sha256: of the file.
    """

    rows: int
    maps: int
    bytes: int
    held: int
    sha256: str


def read_manifest(folder: pathlib.Path) -> dict[str, Shard]:
    """The shards of a folder of results, by the path that records say; none where none is whole.

    Raises:
      ValueError: the manifest is damaged, or of a later version.
    """
    path = folder / FOLDER / FILE
    try:
        found = json.loads(path.read_text("utf-8"))
        if found["version"] != VERSION:
            raise ValueError(f"version {found['version']}; this capjax reads {VERSION}")
        return {f"{FOLDER}/{name}": Shard(**own) for name, own in found["shards"].items()}
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path} is damaged ({error}); remove it and run the command that wrote it again, "
            "which does the images of these shards anew"
        ) from error


def write_manifest(folder: pathlib.Path, kind: str, shards: Mapping[str, Shard]) -> None:
    """Replaces the manifest; it is on disk when this returns."""
    entries = {
        place.removeprefix(f"{FOLDER}/"): dataclasses.asdict(own)
        for place, own in sorted(shards.items())
    }
    content = {"format": kind, "version": VERSION, "shards": entries}
    with replacing(folder / FOLDER / FILE, durable=True) as stream:
        stream.write((json.dumps(content, indent=1) + "\n").encode())
