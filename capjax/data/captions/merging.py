"""Several caption files as one source."""

import dataclasses
from collections.abc import Sequence

from capjax.data.captions.records import CaptionSet, Record


def merged(sets: Sequence[CaptionSet], names: Sequence[str]) -> CaptionSet:
    """The records of several sets; an image that is in more than one has the captions of all.

    Args:
      sets: at least one.
      names: of the sets, for errors and for what each left out.

    Raises:
      ValueError: one name with two files or two splits.
    """
    if len(sets) == 1:
        return sets[0]
    records: dict[str, Record] = {}
    first: dict[str, str] = {}
    for name, found in zip(names, sets, strict=True):
        for record in found:
            known = records.setdefault(record.key, record)
            origin = first.setdefault(record.key, name)
            if known is record:
                continue
            for what, there, here in (
                ("lies at", known.image, record.image),
                ("is in split", known.split, record.split),
            ):
                if there != here:
                    raise ValueError(
                        f"{record.key} {what} {there} by {origin} and {here} by {name}; an image "
                        "has one file and one split (name files from one folder of images)"
                    )
            captions = known.captions + record.captions
            records[record.key] = dataclasses.replace(known, captions=captions)
    named = list(zip(names, sets, strict=True))
    return CaptionSet(
        _numbered(list(records.values())),
        ", ".join(dict.fromkeys(found.format for found in sets)),
        tuple(f"{name}: {line}" for name, one in named for line in one.rejected),
        tuple(f"{name}: {line}" for name, one in named for line in one.notes),
        tuple(file for found in sets for file in found.files),
    )


def _numbered(records: list[Record]) -> tuple[Record, ...]:
    """The records with ids of their own, numbered anew where files gave one id to two images."""
    if len({record.image_id for record in records}) == len(records):
        return tuple(records)
    return tuple(
        dataclasses.replace(record, image_id=number) for number, record in enumerate(records)
    )
