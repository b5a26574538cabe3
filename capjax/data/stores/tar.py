"""Tar shards as WebDataset has them: `key.jpg`, with `key.txt` of captions and `key.json`."""

import collections
import contextlib
import dataclasses
import hashlib
import json
import pathlib
import posixpath
import tarfile
from collections.abc import Callable, Mapping, Sequence
from typing import BinaryIO, NamedTuple

from capjax.data.captions.records import clean, is_clip_name, is_foreign_name, is_image_name
from capjax.data.formats.encoded import decode_text
from capjax.data.stores.beside import caption_fields, captions_of, metadata_of
from capjax.data.stores.contract import Metadata
from capjax.data.stores.naming import Naming, inside
from capjax.data.stores.places import Place
from capjax.data.stores.remarks import Remarks
from capjax.runtime.files import printable, replacing
from capjax.runtime.folders import is_foreign

_MOST_TEXT = 2**20
"""Bytes of the captions or metadata of one image; more is no text about an image."""
_STRETCH = 2**20
"""Bytes read at once where only zeros are expected."""
_VERSION = 1
"""Of what is kept about an archive."""
_OTHERS = "files in shards that are no pictures by their names are left out"
_HIDDEN = "hidden files in shards are left out"
_LAYERS = "pictures such as key.seg.png are left out beside the image of their key"
_TEXTS = "captions and metadata in shards that cannot be read are left out"
_ALONE = "captions and metadata in shards without an image of their key are left out"
_UNENDED = "archives without an end mark may have been cut between two files"


class Member(NamedTuple):
    """Where the bytes of a file lie in the archive, or why they cannot be read."""

    start: int
    size: int
    refused: str | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class TarShard:
    """The images of one archive; a `Shard`. Memory holds captions, and where the rest lies.

    Attributes:
      place: of the archive.
      at: name of an image -> its member.
      beside: name of an image -> the member with its metadata, and the fields that are captions.
      captions, damage: see `Shard`.
      written: `Fingerprint.times` of the archive.
    """

    place: Place
    at: Mapping[str, Member]
    beside: Mapping[str, tuple[Member, Sequence[str]]]
    captions: Mapping[str, Sequence[str]]
    damage: str | None
    written: tuple[int, int] | None

    @property
    def names(self) -> Sequence[str]:
        """See `Shard`."""
        return tuple(self.at)

    def times(self, name: str) -> tuple[int, int] | None:
        """See `Shard`."""
        return self.written

    def read(self, name: str) -> tuple[bytes, tuple[int, int] | None]:
        """See `Shard`."""
        return self._bytes(self.at[name]), self.written

    def metadata(self, name: str) -> Metadata:
        """See `Shard`."""
        if name not in self.beside:
            return {}
        member, captions = self.beside[name]
        try:
            fields = dict(json.loads(decode_text(self._bytes(member))))
        except ValueError as error:  # it was an object when the archive was opened
            raise OSError(f"{self.place} was written while it was read; run again") from error
        return metadata_of({own: value for own, value in fields.items() if own not in captions})

    def _bytes(self, member: Member) -> bytes:
        if member.refused is not None:
            raise OSError(member.refused)
        found = self.place.content(member.start, member.size)
        if len(found) < member.size:
            raise OSError(f"it is cut short: {len(found):,} of {member.size:,} bytes are there")
        return found


def read_tar(place: Place, remarks: Remarks, kept: pathlib.Path | None = None) -> TarShard:
    """The shard of an archive: one pass over its headers, which reads captions and metadata too.

    Files of one key, the name up to its first dot, belong together. Several archives one after the
    other are read like one. What lies behind damage is lost, and `TarShard.damage` says so.

    Args:
      place: of the archive.
      remarks: what is left out.
      kept: folder for what the pass finds. While size and times of the archive are as they were, it
        is read from there.

    Raises:
      OSError: the archive cannot be opened.
    """
    written = place.times()
    path = None
    if kept is not None and written is not None:
        name = f"{place} {place.folder}/{place.name}".encode(errors="surrogatepass")
        path = kept / f"{hashlib.sha256(name).hexdigest()[:32]}.json"
        if (known := _read_kept(path, place, written)) is not None:
            remarks.join(known[1])
            return known[0]
    own = Remarks()
    found = _Index(place, own)
    with place.stream() as stream:
        damage = _scan(stream, found.take, lambda: own.add(_UNENDED, str(place)))
    shard = found.shard(damage, written)
    remarks.join(own)
    if path is not None:
        _keep(path, shard, own)
    return shard


def _keep(path: pathlib.Path, shard: TarShard, remarks: Remarks) -> None:
    """Writes what was found, and its digest; where it cannot, the next run looks again."""
    found = {
        "version": _VERSION,
        "bytes": shard.place.size(),
        "times": shard.written,
        "at": shard.at,
        "beside": shard.beside,
        "captions": shard.captions,
        "damage": shard.damage,
        "remarks": remarks.to_json(),
    }
    content = json.dumps(found).encode()
    with contextlib.suppress(OSError), replacing(path) as stream:
        stream.write(hashlib.sha256(content).hexdigest().encode() + b"\n" + content)


def _read_kept(
    path: pathlib.Path, place: Place, written: tuple[int, int]
) -> tuple[TarShard, Remarks] | None:
    """What was kept of an archive; None where that is nothing, damaged, or of other content."""
    try:
        digest, _, content = path.read_bytes().partition(b"\n")
    except OSError:
        return None
    if hashlib.sha256(content).hexdigest().encode() != digest:
        return None
    found = json.loads(content)
    if (found["version"], found["bytes"], tuple(found["times"])) != (
        _VERSION,
        place.size(),
        written,
    ):
        return None
    shard = TarShard(
        place,
        {name: Member(*own) for name, own in found["at"].items()},
        {name: (Member(*own), fields) for name, (own, fields) in found["beside"].items()},
        {name: tuple(own) for name, own in found["captions"].items()},
        found["damage"],
        written,
    )
    return shard, Remarks.from_json(found["remarks"])


_Sample = tuple[str, int]
"""A key, and how many samples with this key came before."""


class _Index:
    """Sorts the members of an archive as they come."""

    def __init__(self, place: Place, remarks: Remarks) -> None:
        self._place, self._remarks = place, remarks
        self._pictures: list[tuple[str, str, _Sample, Member]] = []
        self._links: dict[str, str] = {}
        self._captions: dict[_Sample, tuple[str, ...]] = {}
        self._fields: dict[_Sample, tuple[Member, Sequence[str], tuple[str, ...]]] = {}
        self._seen: collections.Counter[tuple[str, str]] = collections.Counter()

    def take(self, member: tarfile.TarInfo, stream: BinaryIO) -> None:
        """Notes one member."""
        name = member.name
        if member.isdir():
            return
        if any(map(is_foreign, inside(name).split("/"))):
            self._remarks.add(_HIDDEN, self._called(name))
            return
        stem, _, ending = posixpath.basename(name).partition(".")
        key, ending = posixpath.join(posixpath.dirname(name), stem), ending.lower()
        sample = key, self._seen[key, ending]
        self._seen[key, ending] += 1
        at = Member(member.offset_data, member.size, _refusal(member))
        if is_image_name(name) or is_clip_name(name) or is_foreign_name(name):
            self._pictures.append((name, ending, sample, at))
            if member.islnk():
                self._links[name] = member.linkname
            elif member.issym():
                folder = posixpath.dirname(name)
                self._links[name] = posixpath.normpath(posixpath.join(folder, member.linkname))
        elif ending in ("txt", "json"):
            self._read(sample, ending, at, stream, name)
        else:
            self._remarks.add(_OTHERS, self._called(name))

    def _read(self, sample: _Sample, ending: str, at: Member, stream: BinaryIO, name: str) -> None:
        """Reads captions and metadata, now that the stream is there."""
        try:
            if at.refused or at.size > _MOST_TEXT:
                raise ValueError(at.refused or f"{at.size:,} bytes are no text about an image")
            stream.seek(at.start)
            text = decode_text(stream.read(at.size))
            if ending == "txt":
                self._captions[sample] = tuple(filter(None, map(clean, text.split("\n"))))
                return
            fields = json.loads(text)
            if not isinstance(fields, dict):
                raise ValueError("it is no object of JSON")
        except (ValueError, RecursionError) as error:
            self._remarks.add(_TEXTS, f"{self._called(name)} ({error})")
            return
        own = caption_fields(tuple(fields))
        self._fields[sample] = at, own, captions_of(fields, own)

    def shard(self, damage: str | None, written: tuple[int, int] | None) -> TarShard:
        """All that was taken."""
        naming = Naming(self._place.name, self._remarks)
        there = {name: at for name, _, _, at in self._pictures if name not in self._links}
        plain = {sample for _, ending, sample, _ in self._pictures if "." not in ending}
        at: dict[str, Member] = {}
        beside: dict[str, tuple[Member, Sequence[str]]] = {}
        captions: dict[str, Sequence[str]] = {}
        used: set[_Sample] = set()
        for name, ending, sample, member in self._pictures:
            if "." in ending and sample in plain:
                self._remarks.add(_LAYERS, self._called(name))
                continue
            own = naming.add(name, "unnamed")
            at[own] = there.get(self._links[name], member) if name in self._links else member
            used.add(sample)
            fields, taken, told = self._fields.get(sample, (None, (), ()))
            said = self._captions.get(sample, ())
            if fields is not None:
                beside[own] = fields, () if said else taken
            if said or told:
                captions[own] = said or told
        for sample in {*self._captions, *self._fields} - used:
            self._remarks.add(_ALONE, self._called(sample[0]))
        return TarShard(self._place, at, beside, captions, damage, written)

    def _called(self, name: str) -> str:
        return f"{self._place.name}/{name}"


def _refusal(member: tarfile.TarInfo) -> str | None:
    """Why the bytes of a member are none of a file."""
    if member.islnk() or member.issym():
        return f"it is a link to {printable(member.linkname)}, which is no image of this shard"
    if member.sparse is not None:
        return "it is stored with holes (sparse); pack the shard again without"
    return None if member.isfile() else "it is no ordinary file"


def _scan(
    stream: BinaryIO,
    take: Callable[[tarfile.TarInfo, BinaryIO], None],
    unended: Callable[[], None],
) -> str | None:
    """Hands all members over; says what is damaged, if anything is.

    Args:
      stream: one or several archives.
      take: gets a member and the stream, which it may move.
      unended: called where the stream stops at the end of a member.
    """
    start: int | None = 0
    last, advice = "", "fetch or pack the shard again"
    while start is not None:
        stream.seek(start)
        try:
            with tarfile.open(fileobj=stream, mode="r:") as archive:
                while (member := archive.next()) is not None:
                    archive.members = []  # type: ignore[attr-defined]  # it would keep all
                    last = member.name
                    take(member, stream)
                end = archive.offset
        except tarfile.TarError as error:
            where = f"behind {printable(last)}" if last else "from its beginning"
            return f"the archive is damaged or cut {where} ({error}); {advice}"
        stream.seek(end)
        block = stream.read(tarfile.BLOCKSIZE)
        if not block and last:
            unended()
        elif len(block) < tarfile.BLOCKSIZE or any(block):
            where = f"at byte {end:,}, behind {printable(last)}"
            return f"the archive is damaged or cut {where}; {advice}"
        start = _next_start(stream)
    return None


def _next_start(stream: BinaryIO) -> int | None:
    """The first block that is not all zeros, from here on."""
    while stretch := stream.read(_STRETCH):
        rest = stretch.lstrip(b"\0")
        if rest:
            place = stream.tell() - len(rest)
            return place - place % tarfile.BLOCKSIZE
    return None
