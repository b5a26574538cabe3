"""The folder of a run that trains an inpainter: whether it may continue what is there."""

import concurrent.futures
import json
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from capjax.config import CONFIG_FILE
from capjax.config.inpainting import inpainting_with_defaults
from capjax.data.cache.feature_cache import Rendered, file_bytes
from capjax.data.captions.records import Record
from capjax.data.inpainting.examples import PictureSplits
from capjax.experiment.workdir import SAMPLES_FILE, differences, read_json, refuse
from capjax.runtime.files import listed, replacing, without_places

NAMED = 3
"""Pictures that a message names."""


def describe_pictures(splits: PictureSplits) -> dict[str, Any]:
    """The content of samples.json: of each split its pictures, [key, bytes of its file]."""
    described = {}
    for role, split in (("train", splits.train), ("validation", splits.validation)):
        records: Sequence[Record | Rendered] = split.records
        with concurrent.futures.ThreadPoolExecutor() as readers:
            sizes = readers.map(file_bytes, records)
            pictures = [
                [record.key, record.content if isinstance(record, Rendered) else size]
                for record, size in zip(records, sizes, strict=True)
            ]
        described[role] = {"split": split.name, "pictures": pictures}
    return described


def check_inpainting_workdir(
    workdir: pathlib.Path, config: Mapping[str, Any], samples: Mapping[str, Any]
) -> None:
    """Checks that a run in `workdir` was made by the same settings, from the same pictures.

    Args:
      workdir: folder of the run, there already or not.
      config: resolved settings, plain JSON values.
      samples: of `describe_pictures`.

    Raises:
      ValueError: the run in it is another; the text says in what.
    """
    if not any((workdir / "checkpoints").glob("[0-9]*")):
        return
    settings, there = read_json(workdir / CONFIG_FILE), read_json(workdir / SAMPLES_FILE)
    if settings is None or "generator" not in settings:
        raise ValueError(
            f"{workdir} holds a run that trains no inpainter; choose another --workdir"
        )
    now = without_places(json.loads(json.dumps(config)))
    known = without_places(inpainting_with_defaults(settings))
    refuse(workdir, differences(known, now), "settings")
    if there is not None:
        refuse(workdir, _differing(there, samples), "pictures")


def enter_inpainting_workdir(
    workdir: pathlib.Path, config: Mapping[str, Any], samples: Mapping[str, Any]
) -> None:
    """Writes `config.json` and `samples.json` into the folder of a run."""
    for name, content in ((CONFIG_FILE, config), (SAMPLES_FILE, samples)):
        indent = 2 if name == CONFIG_FILE else None  # the other one may have a million entries
        with replacing(workdir / name) as stream:
            stream.write((json.dumps(content, indent=indent, sort_keys=True) + "\n").encode())


def picture_lines(samples: Mapping[str, Any]) -> dict[str, list[str]]:
    """The pictures as lists of texts, for processes that must agree."""
    return {
        f"pictures of split {own['split']!r}": [f"{key} ({what})" for key, what in own["pictures"]]
        for own in samples.values()
    }


def _differing(there: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    for role, own in now.items():
        old, new = (dict(map(tuple, each["pictures"])) for each in (there[role], own))
        for text, keys in (
            ("are there and not here", [key for key in old if key not in new]),
            ("are here and not there", [key for key in new if key not in old]),
            ("were replaced by others", [k for k in new if k in old and new[k] != old[k]]),
        ):
            if keys:
                named = _named(keys)
                yield f"split {own['split']!r}: {len(keys)} pictures {text}, e.g. {named}"
        if old == new and list(old) != list(new):
            yield f"split {own['split']!r}: the pictures come in another order"


def _named(keys: Sequence[str]) -> str:
    return listed(list(keys), most=NAMED)
