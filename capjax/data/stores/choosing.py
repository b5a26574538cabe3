"""What a command line names as images, whatever it is: the one place that knows the kinds."""

import collections
import dataclasses
import pathlib
import posixpath
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from capjax.data.captions.records import is_clip_name, is_foreign_name, is_image_name
from capjax.data.pictures.finding import find_images, places_of
from capjax.data.stores.beside import CONTENT, AskedColumns
from capjax.data.stores.contract import Store
from capjax.data.stores.files import Files
from capjax.data.stores.path_list import read_list
from capjax.data.stores.places import Local, Place
from capjax.data.stores.remarks import Remarks
from capjax.data.stores.remote import Remote, remote
from capjax.data.stores.shards import Shard, Shards
from capjax.data.stores.tar import read_tar
from capjax.data.stores.together import Together
from capjax.runtime.files import is_address, listed, printable, written_out
from capjax.runtime.folders import is_foreign

T = TypeVar("T")
LIST, TABLE, ARCHIVE, RECORDS = "list", "table", "archive", "records"
_ENDINGS = {
    LIST: re.compile(r".*\.txt"),
    TABLE: re.compile(r".*\.(parquet|pq)"),
    ARCHIVE: re.compile(r".*\.tar"),
    RECORDS: re.compile(r".*\.array_?record(-\d+-of-\d+)?"),
}
_PACKED = re.compile(r".*\.(tar\.\w+|tgz|tbz2?|txz|tzst)")
_OTHERS = "files with addresses that are no pictures by their names are left out"


def add_image_options(add: Callable[..., Any]) -> None:
    """Adds --images, and what says how it is read.

    Args:
      add: a parser's `add_argument`.
    """
    add(
        "--images",
        required=True,
        nargs="+",
        help="folders, files, or quoted patterns such as '*.{jpg,png}', clips too; lists of paths "
        "(.txt), shards (.tar as WebDataset has them, .parquet, .array_record), several as in "
        "'shard-{000..012}.tar'; addresses such as s3://bucket/folder by the extra `remote`",
    )
    add(
        "--image-column",
        metavar="COLUMN",
        help="of Parquet: that of the images' bytes or paths (default: the one that holds such)",
    )
    add(
        "--name-column",
        metavar="COLUMN",
        help="of Parquet: that of the images' names (default: their paths, else numbers of rows)",
    )


def open_store(
    given: Sequence[str],
    *,
    exclude: pathlib.Path,
    clips: bool = False,
    columns: AskedColumns = CONTENT,
    tell: Callable[[str], None] = lambda note: None,
    watched: Callable[[Sequence[Place]], Iterable[Place]] = iter,
    kept: pathlib.Path | None = None,
) -> Store:
    """The images that are named on a command line.

    Folders, pictures and clips are found by `find_images`, whose names they have. An image of a
    shard is called by the shard's path below the folder that all shards share, and its own name
    there; for those of a list see `read_list`. A shard that cannot be read is one image that fails.

    Args:
      given: folders, files, lists, shards, patterns and addresses; commas separate too.
      exclude: a folder whose files are never taken, the output's.
      clips: whether the captioner is one of clips.
      columns: of tables.
      tell: takes a sentence on what is left out or called otherwise.
      watched: gives the shards one by one, so that their opening can be watched.
      kept: folder for what is found in archives, see `read_tar`; None: nothing is kept.

    Raises:
      ValueError: something named does not exist or is of no such kind, there is nothing that the
        captioner reads, or the columns of a table are unclear.
      OSError: a list, or a store with addresses, cannot be read.
      ImportError: the extra that a kind needs is missing.
    """
    kinds: dict[str | None, list[Place]] = collections.defaultdict(list)
    for place in dict.fromkeys(place for name in given for place in _places(name)):
        kinds[_kind(place)].append(place)
    if columns != CONTENT and not kinds[TABLE]:
        raise ValueError("--image-column and --name-column are of Parquet, and none is given")
    plain = kinds.pop(None, [])
    lists = kinds.pop(LIST, [])
    shards = [place for of_kind in kinds.values() for place in of_kind]
    stores: list[Store] = [*map(read_list, lists)]
    remarks = Remarks()
    here = [str(place.path) for place in plain if isinstance(place, Local)]
    away = [place for place in plain if isinstance(place, Remote)]
    if here:
        named = here if lists or shards or away else given
        found = _with_hint(named, exclude=exclude, clips=clips, tell=tell)
        stores.insert(0, Files.of_folder(*found))
    stores += [_pictures(together, remarks) for together in _by_system(away)]
    stores += [
        _shards(together, columns, remarks, watched, kept) for together in _by_system(shards)
    ]
    remarks.tell(tell)
    store = Together.of(stores)
    if not store.names:
        raise ValueError(f"no images in {listed([*map(printable, given)])}")
    return store


def _places(name: str) -> list[Place]:
    """What a name means: files and folders, of this machine or with addresses."""
    text = name.strip()
    if is_address(text) and (found := remote(text).fitting()):
        return [*found]
    parts = written_out(text)
    if any(map(is_address, parts)) and (len(parts) > 1 or parts != [text]):
        return [place for part in parts for place in _places(part)]
    if is_address(text):
        raise ValueError(f"no such file: {printable(text)}; name existing files")
    return [Local(path) for path in places_of(name)]


def _kind(place: Place) -> str | None:
    """The kind of a list or shard; None for a folder or a file that is taken for a picture."""
    name = place.name.lower()
    if isinstance(place, Local) and place.path.is_dir():
        return None
    if _PACKED.fullmatch(name):
        raise ValueError(
            f"{place} is a packed archive, of which no image can be read without all before it; "
            "unpack it to a .tar (gunzip, unxz, unzstd …)"
        )
    return next((kind for kind, ending in _ENDINGS.items() if ending.fullmatch(name)), None)


def _with_hint(
    given: Sequence[str], *, exclude: pathlib.Path, clips: bool, tell: Callable[[str], None]
) -> tuple[pathlib.Path, list[str]]:
    """`find_images`; where a folder has no pictures but shards, its error says how to name them."""
    try:
        return find_images(given, exclude=exclude, clips=clips, tell=tell)
    except ValueError as error:
        folders = [path for path in map(pathlib.Path, given) if path.is_dir()]
        inside = [Local(path) for folder in folders for path in sorted(folder.iterdir())]
        shards = [place for place in inside if _kind(place) not in (None, LIST)]
        if not shards:
            raise
        pattern = shards[0].path.parent / f"*{shards[0].path.suffix}"
        raise ValueError(
            f"{error}; there are {len(shards)} shards, which are named themselves: "
            f"--images='{printable(pattern)}'"
        ) from error


def _pictures(places: Sequence[Remote], remarks: Remarks) -> Files:
    """Pictures with addresses in one store, of folders and named one by one."""
    found: dict[str, Remote] = {}
    folders = []
    for place in places:
        below = place.below()
        if below is None:
            found[place.path] = place
            continue
        folders.append(place.path.rstrip("/"))
        for path in below:
            if any(map(is_foreign, path.split("/"))):
                continue
            if is_image_name(path) or is_clip_name(path) or is_foreign_name(path):
                whole = f"{folders[-1]}/{path}"
                found[whole] = dataclasses.replace(place, path=whole)
            else:
                remarks.add(_OTHERS, path)
    single = len(places) == len(folders) == 1
    root = folders[0] if single else _common([place.folder for place in found.values()])
    named = {posixpath.relpath(path, root): found[path] for path in sorted(found)}
    return Files(pathlib.Path(root), tuple(named), named.__getitem__)


def _shards(
    places: Sequence[Place],
    columns: AskedColumns,
    remarks: Remarks,
    watched: Callable[[Sequence[Place]], Iterable[Place]],
    kept: pathlib.Path | None,
) -> Shards:
    """Shards in one store."""
    root = _common([place.folder for place in places])
    shards: dict[str, Shard] = {}
    broken: dict[str, str] = {}
    for place in watched(places):
        path = posixpath.relpath(posixpath.join(place.folder, place.name), root)
        try:
            shard = _shard(place, columns, remarks, kept)
        except OSError as error:
            broken[path] = str(error)
            continue
        if shard.damage is not None:
            broken[path] = shard.damage
        shards[path] = shard
    return Shards(pathlib.Path(root), shards, broken)


def _shard(
    place: Place, columns: AskedColumns, remarks: Remarks, kept: pathlib.Path | None
) -> Shard:
    kind = _kind(place)
    if kind == ARCHIVE:
        return read_tar(place, remarks, kept)
    if kind == RECORDS:
        from capjax.data.stores.array_record import read_array_record

        return read_array_record(place, remarks)
    try:
        from capjax.data.stores.parquet import read_parquet
    except ImportError as error:
        raise ImportError(
            f"{place} is read by pyarrow; install it with: pip install 'capjax[parquet]'"
        ) from error
    return read_parquet(place, remarks, columns)


def _common(folders: Sequence[str]) -> str:
    return posixpath.commonpath(folders) if folders else ""


def _by_system(places: Iterable[T]) -> list[list[T]]:
    """Places of this machine, and those of each store with addresses, for themselves."""
    groups: dict[Any, list[T]] = {}
    for place in places:
        groups.setdefault(getattr(place, "system", None), []).append(place)
    return list(groups.values())
