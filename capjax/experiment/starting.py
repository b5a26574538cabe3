"""Starting from a trained captioner instead of from random weights."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import traverse_util

from capjax.captioner import Captioner
from capjax.checkpoints.settings import module_to_json
from capjax.config import ExperimentConfig, to_json, with_defaults
from capjax.decoders import DECODERS
from capjax.encoders import ENCODERS
from capjax.experiment.model import Model
from capjax.experiment.opening.named import load
from capjax.runtime.files import listed, without_places
from capjax.weights.encoders import FOR_TRAINING

TOLERANCE = 0.01
"""Share of a score that may change when it is measured again: another device may break a tie of
beams another way, and one caption in 200 that changes moves a score by up to 0.5 %."""

SMALLEST = 1e-3
"""Change of a score that never counts as one, however small the score."""

_FREE = (
    *FOR_TRAINING,
    *("initialisation", "forget_bias"),
    *("reading", "hard", "expected_share", "expected_scope"),
)
"""Fields of a module, beside dropout, that may differ from the start's: what trained weights
compute does not depend on them, or they only say how captions are written."""


def load_start(config: ExperimentConfig) -> Captioner | None:
    """The captioner of `config.init_from`; None where it is empty.

    Raises:
      FileNotFoundError, ValueError: there is none.
    """
    return load(config.init_from) if config.init_from else None


def described_start(name: str, source: Captioner) -> dict[str, Any]:
    """What a model's card says of the captioner it started from, and that one of its own start."""
    told = {entry: source.card[entry] for entry in ("config", "init_from") if entry in source.card}
    return {"name": name, "model_hash": source.hash, **told}


def started_from(model: Model, source: Captioner) -> Model:
    """The model with the weights of `source`, whose architecture it must have.

    What is for training alone, such as dropout, may differ.

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
            + listed(problems, between="; ")
            + "; start from a run of the same encoder and decoder sections"
        )
    for name, settings_of in (
        ("encoder", lambda each: module_to_json(each.net.encoder, ENCODERS)),
        ("decoder", lambda each: module_to_json(each.net.decoder, DECODERS)),
        ("preprocessing", lambda each: dataclasses.asdict(each.preprocessing)),
    ):
        one, other = settings_of(source), settings_of(model)
        changed = [key for key in sorted(one) if one[key] != other.get(key) and not _is_free(key)]
        if changed:
            raise ValueError(
                f"the captioner of config.init_from has another {name}: "
                + "; ".join(f"{key} is {one[key]} there, {other.get(key)} here" for key in changed)
            )
    return dataclasses.replace(model, variables=jax.tree.map(jnp.asarray, dict(source.variables)))


def _is_free(field: str) -> bool:
    return field in _FREE or field.endswith("_dropout")


def check_start(config: ExperimentConfig, source: Captioner, scores: Mapping[str, float]) -> str:
    """How the score before the first update compares with the one that `source` was kept for.

    Returns:
      the end of a sentence that tells the score.

    Raises:
      ValueError: they differ, though they were measured in the same way.
    """
    metric, card = config.evaluation.metric, source.card
    known = card.get("validation", {}).get(metric)
    if known is None or "config" not in card:
        return f"; not compared: {config.init_from} does not say its own"
    there, here = (
        _measured_by(without_places(each))
        for each in (with_defaults(card["config"]), to_json(config))
    )
    differing = [
        f"{name} was {there[name]!r}, is {here[name]!r}"
        for name in here
        if there[name] != here[name]
    ]
    if differing:
        return f"; not compared with the {known:.4f} it was saved with: {'; '.join(differing)}"
    found = scores[metric]
    if not math.isclose(found, known, rel_tol=TOLERANCE, abs_tol=SMALLEST):
        raise ValueError(
            f"{config.init_from} had validation {metric} {known:.4f} when it was saved, and has "
            f"{found:.4f} before the first update here; its data, weights or words are not those "
            "it was trained with"
        )
    return f", as when it was saved ({known:.4f})"


def _measured_by(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that decide a validation score of given weights, by their dotted names."""
    names = {
        "data": ("name", "validation_split", "validation_images", "max_length", "frames"),
        "encoder": ("dtype",),
        "decoder": ("dtype", "reading"),
        "evaluation": ("search", "beam", "length_penalty", "images", "clip_text"),
    }
    return {f"{part}.{name}": config[part].get(name) for part, own in names.items() for name in own}
