"""The folder of a run: its lock, and whether settings and samples may continue what is there."""

import contextlib
import json
import pathlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import jax

from capjax.captioner import MODEL_FILE, TEXTS
from capjax.config import CONFIG_FILE, with_defaults
from capjax.experiment.material import (
    Material,
    differing_preprocessing,
    differing_samples,
    differing_words,
)
from capjax.runtime import locks
from capjax.runtime.distributed import together
from capjax.runtime.files import replacing, without_places
from capjax.text.protocol import Text

SAMPLES_FILE = "samples.json"

HARMLESS = (
    "data.cache",
    "data.captions",
    "data.images",
    "data.keep_megabytes",
    "data.root",
    "data.val_captions",
    "data.workers",
    "evaluation.batch_size",
    "evaluation.others",
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

LOCAL = (
    *("data.cache", "data.captions", "data.images", "data.keep_megabytes", "data.root"),
    *("data.val_captions", "data.workers"),
    *("encoder.weights", "init_from", "discriminator_from", "train.progress"),
)
"""Settings in which the processes of one run may differ: where copies of its files are, which are
compared by their content, and what each machine has."""

EXTENDING = ("data.unreadable_share", "evaluation.patience", "train.epochs", "train.steps")
"""Settings on which the result depends and which a resumed run may change all the same."""


class _Absent:
    def __repr__(self) -> str:
        return "no such setting"


_ABSENT = _Absent()


@contextlib.contextmanager
def locked_workdir(workdir: pathlib.Path, *, break_lock: bool = False) -> Iterator[None]:
    """Holds the folder's lock in the first process, for all of a run.

    Raises:
      LockedError: another run writes there.
      ValueError: the first process could not lock it, in the others.
    """
    with contextlib.ExitStack() as stack:
        with together(f"lock {workdir}"):
            if jax.process_index() == 0:
                stack.enter_context(locks.held(workdir / locks.FILE, break_lock=break_lock))
        yield


def check_workdir(
    workdir: pathlib.Path,
    config: Mapping[str, Any],
    samples: Mapping[str, Any],
    material: Material,
) -> None:
    """Checks that a run in `workdir` was made by the same settings, from the same samples.

    Of runs of older versions, which left no samples.json, settings, words and the saved model's
    preprocessing are compared. Settings that are absolute paths count by their last name: files
    may have moved, and what is in them is compared by its content.

    Args:
      workdir: folder of the run, there already or not.
      config: resolved settings, plain JSON values.
      samples: of `describe_samples`, in as far as they are known.
      material: what they describe.

    Raises:
      ValueError: the run in it is another; the text says in what.
    """
    checkpoints = any((workdir / "checkpoints").glob("[0-9]*"))
    model = read_json(workdir / MODEL_FILE)
    if not checkpoints and model is None:
        return
    settings, there = read_json(workdir / CONFIG_FILE), read_json(workdir / SAMPLES_FILE)
    if settings is None:
        raise ValueError(
            f"{workdir} holds a model and no {CONFIG_FILE}: no run of train.py left it; choose "
            "another --workdir"
        )
    now = without_places(json.loads(json.dumps(config)))
    if "encoder" not in settings:
        raise ValueError(
            f"{workdir} holds a run that trains no captioner; choose another --workdir"
        )
    refuse(workdir, differences(without_places(with_defaults(settings)), now), "settings")
    differing = [line for text in _texts(workdir) for line in differing_words(text, material.text)]
    if there is not None:
        differing += differing_samples(there, samples, material)
    elif model is not None and "preprocessing" in samples:
        differing += differing_preprocessing(model["preprocessing"], samples["preprocessing"])
    refuse(workdir, differing, "samples")


def enter_workdir(
    workdir: pathlib.Path, config: Mapping[str, Any], samples: Mapping[str, Any], text: Text
) -> None:
    """Writes `config.json`, `samples.json` and the words into the folder of a run.

    `config.json` repeats the settings as they were given, paths included, for people: nothing
    reads paths from it.
    """
    for name, content in ((CONFIG_FILE, config), (SAMPLES_FILE, samples)):
        indent = 2 if name == CONFIG_FILE else None  # the other one may have 100,000 entries
        with replacing(workdir / name) as stream:
            stream.write((json.dumps(content, indent=indent, sort_keys=True) + "\n").encode())
    text.save(workdir / text.FILE)


def refuse(workdir: pathlib.Path, differing: Iterable[str], what: str) -> None:
    """Raises ValueError, with the list, where the run in a workdir has other settings or so."""
    lines = list(differing)
    if lines:
        raise ValueError(
            f"{workdir} holds a run with other {what}:\n  " + "\n  ".join(lines) + "\n"
            f"choose another --workdir to start anew, or bring back the {what} to resume"
        )


def _texts(workdir: pathlib.Path) -> list[Text]:
    """The words that the folder holds: of one kind, or none."""
    return [kind.load(workdir / name) for name, kind in TEXTS.items() if (workdir / name).is_file()]


def read_json(path: pathlib.Path) -> Any:
    """The content of a file, None where there is none; a damaged one is named."""
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(
            f"{path} is damaged ({error}); restore it from a copy, or choose another --workdir"
        ) from error


def shared_settings(config: Mapping[str, Any]) -> list[str]:
    """The settings that all processes of a run must have, one line each."""
    values = without_places(json.loads(json.dumps(config)))
    return [f"{name} = {value!r}" for name, value in _flat(values) if name not in LOCAL]


def _flat(values: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in sorted(values.items()):
        if isinstance(value, Mapping):
            yield from _flat(value, f"{path}{name}.")
        else:
            yield f"{path}{name}", value


def differences(there: Any, wanted: Any, path: str = "") -> Iterator[str]:
    """One line for each setting that differs and that a resumed run may not change."""
    if isinstance(there, Mapping) and isinstance(wanted, Mapping):
        for name in sorted({*there, *wanted}):
            below = f"{path}.{name}" if path else name
            yield from differences(there.get(name, _ABSENT), wanted.get(name, _ABSENT), below)
    elif there != wanted and path not in (*HARMLESS, *EXTENDING):
        yield f"{path}: {there!r} there, {wanted!r} now"
