"""The folder of a run: its settings, and whether they may continue what is there."""

import json
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

from capjax.files import replacing

CONFIG_FILE = "config.json"

HARMLESS = (
    "data.cache",
    "data.keep_megabytes",
    "data.root",
    "data.unreadable_share",
    "data.workers",
    "evaluation.batch_size",
    "evaluation.patience",
    "profile",
    "train.checkpoint_every",
    "train.epochs",
    "train.keep",
    "train.log_every",
    "train.peak_teraflops",
    "train.progress",
    "train.steps",
)
"""Settings that a resumed run may change: its length, its logs, where its files are."""


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
        differing = list(differences(json.loads(path.read_text()), json.loads(text)))
        if differing:
            raise ValueError(
                f"{workdir} holds a run with other settings:\n  " + "\n  ".join(differing) + "\n"
                "choose another --workdir to start anew, or repeat the settings to resume"
            )
    with replacing(path) as stream:
        stream.write(text.encode())


def differences(there: Any, wanted: Any, path: str = "") -> Iterator[str]:
    """One line for each setting that differs and is not harmless."""
    if isinstance(there, Mapping) and isinstance(wanted, Mapping):
        for name in sorted({*there, *wanted}):
            below = f"{path}.{name}" if path else name
            yield from differences(there.get(name), wanted.get(name), below)
    elif there != wanted and path not in HARMLESS:
        yield f"{path}: {there!r} there, {wanted!r} now"
