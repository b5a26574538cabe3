"""Which photographs may be learnt from, by the licence that COCO's JSON states of each."""

import collections
import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePath

from capjax.data.captions.records import CaptionSet
from capjax.data.formats.encoded import decode_text
from capjax.data.formats.fields import Entry, load_json

_SOURCE = "COCO JSON has images with file_name and license, and licenses with id and name"


@dataclasses.dataclass(frozen=True)
class Licences:
    """What COCO JSON says of the licences of its photographs.

    Attributes:
      names: of each licence, by id.
      of: id of the licence of each photograph, by its file's name without folders.
    """

    names: Mapping[int, str]
    of: Mapping[str, int]


def read_licences(paths: Iterable[Path]) -> Licences:
    """The licences that COCO JSON files state.

    Raises:
      ValueError: a file that states none, or no JSON; it is named.
    """
    names: dict[int, str] = {}
    of: dict[str, int] = {}
    for path in paths:
        try:
            body = load_json(decode_text(path.read_bytes()))
            stated = isinstance(body, dict) and body.get("licenses")
            images = body.get("images") if isinstance(body, dict) else None
            if not stated or not images or "license" not in images[0]:
                raise ValueError(
                    "it states no licences of photographs, by which data.licences could choose; "
                    "leave data.licences empty, or name COCO JSON that does"
                )
            file = Entry("", body, _SOURCE)
            for entry in file.entries("licenses", "licence"):
                names[int(entry.number("id"))] = entry.text("name")
            for entry in file.entries("images", "image"):
                of[PurePath(entry.text("file_name")).name] = int(entry.number("license"))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
    return Licences(names, of)


def licensed(
    found: CaptionSet, licences: Licences, wanted: frozenset[int]
) -> tuple[CaptionSet, str]:
    """The records whose licence is wanted, and a sentence on how many have which.

    Raises:
      ValueError: an unknown licence, or no record that has one of them; what there is is listed.
    """
    unknown = sorted(wanted - set(licences.names))
    if unknown:
        known = "; ".join(f"{id}: {name}" for id, name in sorted(licences.names.items()))
        raise ValueError(f"data.licences names {unknown}; the files know {known}")
    own = [licences.of.get(record.image.name) for record in found.records]
    counts = collections.Counter(id for id in own if id in wanted)
    if not counts:
        raise ValueError(f"none of {len(found)} photographs has a licence of {sorted(wanted)}")
    kept = tuple(record for record, id in zip(found.records, own, strict=True) if id in wanted)
    listed = ", ".join(f"{licences.names[id]} {counts[id]}" for id in sorted(wanted) if counts[id])
    note = f"by data.licences, {len(kept)} of {len(found)} photographs are used: {listed}"
    return dataclasses.replace(found, records=kept), note
