"""The captioner of a checkpoint: what an evaluation at that step would have kept."""

import dataclasses
import json
import os
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from capjax import rng
from capjax.captioner import MODEL_FILE, TEXTS, Captioner, load_captioner
from capjax.config import CONFIG_FILE, ExperimentConfig, from_json
from capjax.decoding import describe
from capjax.decoding.rules import CARD_ENTRY, beam_search
from capjax.experiment.model import build_model, describe_net
from capjax.experiment.opening.stored_state import read_state
from capjax.runtime.version import code_version
from capjax.text.protocol import Text
from capjax.train.checkpoint import digest
from capjax.train.state import join_variables


def load_at_step(
    workdir: pathlib.Path, step: int, load: Callable[[str | os.PathLike[str]], Captioner]
) -> Captioner:
    """The captioner that a run had after an update.

    A frozen encoder is in no checkpoint. It is taken from the model that the run saved; before its
    first evaluation from where the run took it: the captioner it started from, the file of its
    weights, or the draw of its seed.

    Args:
      workdir: of the run, finished or not.
      step: of one of its checkpoints.
      load: opens the captioner that the run started from.

    Raises:
      FileNotFoundError: the weights of the frozen encoder, or a file of the workdir, are missing.
      ValueError: the checkpoint is damaged, or the frozen encoder is another than that of the run.
    """
    stored = _read_json(workdir / CONFIG_FILE)
    config = from_json(stored)
    text = _text(workdir)
    net, preprocessing, _ = describe_net(config, text)
    state = read_state(workdir / "checkpoints", step)
    frozen = {} if "encoder" in state.params else _frozen(config, text, workdir, load)
    if not config.loss.clip_text and digest(frozen) != state.frozen:  # else it is of CLIP's too
        raise ValueError(
            f"the run in {workdir} was trained with other weights of its frozen encoder than "
            f"those found now ({config.encoder.weights or config.init_from or 'drawn'}); restore "
            "their file"
        )
    variables = join_variables({**state.params, **frozen}, state.batch_stats)
    method = beam_search(
        config.evaluation.search, config.evaluation.beam, config.evaluation.length_penalty
    )
    card = {
        "config": stored,
        CARD_ENTRY: describe(method, config.data.max_length),
        "capjax": code_version(),
        "step": step,
    }
    return Captioner(net, jax.tree.map(np.asarray, variables), text, preprocessing, card)


def _frozen(
    config: ExperimentConfig,
    text: Text,
    workdir: pathlib.Path,
    load: Callable[[str | os.PathLike[str]], Captioner],
) -> dict[str, Any]:
    """The encoder's parameters; nothing for an encoder that has none."""
    if (workdir / MODEL_FILE).is_file():
        variables: Any = load_captioner(workdir).variables
    elif config.init_from:
        variables = load(config.init_from).variables
    else:
        bare = dataclasses.replace(config, data=dataclasses.replace(config.data, glove=""))
        key = rng.stream(jax.random.key(config.seed), "model")
        variables = build_model(bare, text, key).variables
    params = variables["params"]
    return {"encoder": params["encoder"]} if "encoder" in params else {}


def _text(workdir: pathlib.Path) -> Text:
    for name, kind in TEXTS.items():
        if (workdir / name).is_file():
            return kind.load(workdir / name)
    raise FileNotFoundError(f"{workdir} holds no {' and no '.join(TEXTS)}, the words of the run")


def _read_json(path: pathlib.Path) -> Any:
    if not path.is_file():
        raise FileNotFoundError(f"no {path}: {path.parent} is no workdir of a training run")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}); restore it from a copy") from error
