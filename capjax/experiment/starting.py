"""Starting from a trained captioner instead of from random weights."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import traverse_util

from capjax.api import load
from capjax.captioner import Captioner, module_to_json
from capjax.config import ExperimentConfig, to_json
from capjax.encoders import ENCODERS
from capjax.experiment.model import Model

TOLERANCE = 5e-3
"""Of a score that is measured again: another device may break a tie of beams another way."""


def load_start(config: ExperimentConfig) -> Captioner | None:
    """The captioner of `config.init_from`; None where it is empty.

    Raises:
      FileNotFoundError, ValueError: there is none.
    """
    return load(config.init_from) if config.init_from else None


def started_from(model: Model, source: Captioner) -> Model:
    """The model with the weights of `source`, whose architecture it must have.

    Settings that no weight depends on, such as dropout, may differ.

    Raises:
      ValueError: the architectures differ; the text lists the culprits.
    """
    theirs, ours = (
        traverse_util.flatten_dict(dict(tree), sep="/")
        for tree in (source.variables, model.variables)
    )
    problems = [f"{name} is missing" for name in sorted(set(ours) - set(theirs))]
    problems += [f"{name} is left over" for name in sorted(set(theirs) - set(ours))]
    problems += [
        f"{name} is {theirs[name].shape} there and {ours[name].shape} here"
        for name in sorted(set(ours) & set(theirs))
        if theirs[name].shape != ours[name].shape
    ]
    if problems:
        raise ValueError(
            "the captioner of config.init_from has another architecture than this config: "
            + "; ".join(problems[:8])
            + "; start from a run of the same encoder and decoder sections"
        )
    encoders = [module_to_json(each.net.encoder, ENCODERS) for each in (source, model)]
    preprocessings = [dataclasses.asdict(each.preprocessing) for each in (source, model)]
    for name, (one, other) in (("encoder", encoders), ("preprocessing", preprocessings)):
        changed = sorted(key for key in one if one[key] != other.get(key) and key != "dtype")
        if changed:
            raise ValueError(
                f"the captioner of config.init_from has another {name}: "
                + "; ".join(f"{key} is {one[key]} there, {other.get(key)} here" for key in changed)
            )
    return dataclasses.replace(model, variables=jax.tree.map(jnp.asarray, dict(source.variables)))


def check_start(
    config: ExperimentConfig, source: Captioner, scores: Mapping[str, float]
) -> float | None:
    """The score that `source` was kept for, where it was measured as `scores` were; else None.

    Raises:
      ValueError: it differs from what is measured now, before the first update.
    """
    card = source.card
    known = card.get("validation", {}).get(config.evaluation.metric)
    if known is None or _measured_by(card.get("config", {})) != _measured_by(to_json(config)):
        return None
    found = scores[config.evaluation.metric]
    if abs(found - known) > TOLERANCE * max(1.0, abs(known)):
        raise ValueError(
            f"{config.init_from} had validation {config.evaluation.metric} {known:.4f} when it was "
            f"saved, and has {found:.4f} before the first update here; its data, weights or words "
            "are not those it was trained with"
        )
    return float(known)


def _measured_by(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that decide a validation score of given weights."""
    data, evaluation = config.get("data", {}), config.get("evaluation", {})
    return {
        **{key: data.get(key) for key in ("name", "validation_split", "validation_images")},
        **{key: data.get(key) for key in ("max_length", "frames")},
        **{key: evaluation.get(key) for key in ("beam", "length_penalty", "images")},
    }
