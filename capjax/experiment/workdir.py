"""The folder of a run: its settings, and whether they may continue what is there."""

import json
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

from capjax.config import with_defaults
from capjax.files import replacing

CONFIG_FILE = "config.json"

HARMLESS = (
    "data.cache",
    "data.captions",
    "data.images",
    "data.keep_megabytes",
    "data.root",
    "data.val_captions",
    "data.workers",
    "evaluation.batch_size",
    "evaluation.published",
    "profile",
    "train.checkpoint_every",
    "train.keep",
    "train.log_every",
    "train.peak_teraflops",
    "train.progress",
    "train.remat",
)
"""Settings on which no result depends: logs, memory, where files are."""

EXTENDING = ("data.unreadable_share", "evaluation.patience", "train.epochs", "train.steps")
"""Settings on which the result depends and which a resumed run may change all the same."""


class _Absent:
    def __repr__(self) -> str:
        return "no such setting"


_ABSENT = _Absent()


def enter_workdir(workdir: pathlib.Path, config: Mapping[str, Any]) -> None:
    """Creates `workdir` or checks that the run in it has the same settings; writes `config.json`.

    Args:
      workdir: folder of the run.
      config: resolved settings, plain JSON values.

    Raises:
      ValueError: the run in it has other settings; the text names them.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    path = workdir / CONFIG_FILE
    text = json.dumps(config, indent=2, sort_keys=True) + "\n"
    started = any((workdir / "checkpoints").glob("[0-9]*"))
    if path.exists() and started:
        differing = list(differences(with_defaults(json.loads(path.read_text())), json.loads(text)))
        if differing:
            raise ValueError(
                f"{workdir} holds a run with other settings:\n  " + "\n  ".join(differing) + "\n"
                "choose another --workdir to start anew, or repeat the settings to resume"
            )
    with replacing(path) as stream:
        stream.write(text.encode())


def differences(there: Any, wanted: Any, path: str = "") -> Iterator[str]:
    """One line for each setting that differs and that a resumed run may not change."""
    if isinstance(there, Mapping) and isinstance(wanted, Mapping):
        for name in sorted({*there, *wanted}):
            below = f"{path}.{name}" if path else name
            yield from differences(there.get(name, _ABSENT), wanted.get(name, _ABSENT), below)
    elif there != wanted and path not in (*HARMLESS, *EXTENDING):
        yield f"{path}: {there!r} there, {wanted!r} now"
