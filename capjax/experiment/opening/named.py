"""A captioner by name: a folder, a checkpoint of a run, a shipped model, or one of the hub."""

import os
import pathlib

from capjax.captioner import MODEL_FILE, Captioner, captioner_folder, load_captioner, shipped_models
from capjax.runtime.files import listed, local_path
from capjax.weights.hub_address import is_hub
from capjax.weights.vit_gpt2.captioner import is_transformers_folder, load_vit_gpt2

CHECKPOINTS = "checkpoints"
"""Folder of a workdir with one folder a step."""


def load(name_or_dir: str | os.PathLike[str]) -> Captioner:
    """The captioner in a folder, in a training workdir, of the hub, or shipped with capjax by name.

    Args:
      name_or_dir: a folder that `Captioner.save` wrote; a training workdir, of which the best model
        is opened; "WORKDIR@STEP", the checkpoint of a step as an evaluation would have kept it,
        also of a run that had none yet; the name of a shipped model; for ViT-GPT2,
        "hf:owner/name[@revision]", for example "hf:nlpconnect/vit-gpt2-image-captioning", or a
        folder with the same files. A folder with "@" in its name comes before a step.

    Raises:
      FileNotFoundError: a file of a hub model, or the weights of a frozen encoder, are missing; the
        text says which, and where to put it.
      ValueError: neither such a folder nor such a name, or no such step; the text lists what there
        is.
    """
    if not isinstance(name_or_dir, (str, os.PathLike)):
        raise ValueError(f"got {name_or_dir!r}; expected the name or the folder of a captioner")
    if is_hub(name_or_dir):
        return load_vit_gpt2(name_or_dir)
    path = local_path(name_or_dir, "the captioner")
    folder = captioner_folder(path)
    if folder is not None:
        return load_captioner(folder)
    if is_transformers_folder(path):
        return load_vit_gpt2(path)
    before, _, step = os.fspath(path).rpartition("@")
    if not path.is_dir() and before and pathlib.Path(before).is_dir():
        return _at_step(pathlib.Path(before), step)
    steps = saved_steps(path)
    if steps:
        raise ValueError(
            f"no captioner at {os.fspath(path)!r}: a training workdir holds a model after its "
            f"first evaluation. Open a checkpoint of it as {f'{path}@{steps[-1]}'!r}; there are "
            f"those of the steps {_named(steps)}"
        )
    found = f"the folder holds no {MODEL_FILE}" if path.is_dir() else "there is no such folder"
    raise ValueError(
        f"no captioner at {os.fspath(path)!r}: {found}, and no shipped model has this "
        f"name; shipped models: {', '.join(shipped_models()) or 'none'}. A training workdir holds "
        "a model after its first evaluation, and before that checkpoints, WORKDIR@STEP"
    )


def saved_steps(workdir: pathlib.Path) -> list[int]:
    """Steps of the complete checkpoints of a run, in order."""
    return sorted(
        int(path.name) for path in (workdir / CHECKPOINTS).glob("[0-9]*") if path.name.isdigit()
    )


def _at_step(workdir: pathlib.Path, step: str) -> Captioner:
    steps = saved_steps(workdir)
    if not steps:
        raise ValueError(f"{workdir} holds no checkpoints; expected the workdir of a training run")
    if not (step.isascii() and step.isdigit() and int(step) in steps):
        raise ValueError(
            f"{workdir} has no checkpoint of step {step!r}; there are those of the steps "
            f"{_named(steps)}"
        )
    from capjax.experiment.opening.at_step import load_at_step  # Orbax takes a second to import

    return load_at_step(workdir, int(step), load)


def _named(steps: list[int]) -> str:
    return listed([str(step) for step in steps], most=20)
