"""What processes of one run hand to one another as files: its parts, and what became of each.

They are JSON and bytes: reading them executes nothing.
"""

import dataclasses
import json
import pathlib
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

from capjax.explainers.choosing import Chosen
from capjax.folder.engines.parts import Parcel, Part
from capjax.folder.pipeline.folder_run import Group
from capjax.folder.records import Answer, Result
from capjax.runtime.files import replacing

_PARCELS = "parcels.json"
_NO_ANSWER = Answer(None, (), (), (), (), {})
"""Stands for answers that are left out: a result has one at least as JSON."""


def write_work(
    path: pathlib.Path, methods: Sequence[Chosen], groups: Sequence[Group], parts: Sequence[Part]
) -> None:
    """Writes the parts of a run, for processes that have the same methods in the same order."""
    content = {
        "groups": [[fresh, [methods.index(one) for one in own]] for fresh, own in groups],
        "parts": [
            {"files": part.files, "group": part.group, "known": [*map(_bare, part.known)]}
            for part in parts
        ],
    }
    with replacing(path) as stream:
        stream.write(json.dumps(content).encode())


def read_work(
    path: pathlib.Path, methods: Sequence[Chosen]
) -> tuple[tuple[Group, ...], list[Part]]:
    """The inverse of `write_work`: groups and parts."""
    content = json.loads(path.read_bytes())
    groups = tuple(
        (fresh, tuple(methods[own] for own in found)) for fresh, found in content["groups"]
    )
    parts = [
        Part(tuple(own["files"]), own["group"], tuple(map(_known, own["known"])))
        for own in content["parts"]
    ]
    return groups, parts


def write_parcels(path: pathlib.Path, parcels: Sequence[Parcel]) -> None:
    """Writes what was made of the images of a part; the file is there whole or not at all."""
    described = [
        {
            "file": one.file,
            "files": [*one.files],
            **({"error": one.made} if isinstance(one.made, str) else {"made": one.made.to_json()}),
        }
        for one in parcels
    ]
    with replacing(path) as stream, zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(_PARCELS, json.dumps(described))
        for number, one in enumerate(parcels):
            for place, content in enumerate(one.files.values()):
                archive.writestr(f"{number}/{place}", content)  # names of images need not be text


def read_parcels(path: pathlib.Path) -> list[Parcel]:
    """The inverse of `write_parcels`.

    Raises:
      one of `UNREADABLE`: it is damaged.
    """
    with zipfile.ZipFile(path) as archive:
        return [
            Parcel(
                one["file"],
                one["error"] if "error" in one else Result.from_json(one["made"]),
                {
                    name: archive.read(f"{number}/{place}")
                    for place, name in enumerate(one["files"])
                },
            )
            for number, one in enumerate(json.loads(archive.read(_PARCELS)))
        ]


def _bare(known: Result) -> dict[str, Any]:
    return dataclasses.replace(known, answers=(_NO_ANSWER,)).to_json()


def _known(value: Mapping[str, Any]) -> Result:
    return dataclasses.replace(Result.from_json(value), answers=())
