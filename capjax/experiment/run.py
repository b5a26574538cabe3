"""Trains, or resumes, one experiment in its workdir and scores its best model."""

import dataclasses
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from capjax.captioner import load_captioner
from capjax.config import ExperimentConfig
from capjax.config import experiment as settings
from capjax.data.captions.origin import CARD_ENTRY as ORIGIN_ENTRY
from capjax.decoding import describe
from capjax.decoding.rules import CARD_ENTRY
from capjax.experiment.building import Experiment, build_experiment
from capjax.experiment.material import describe_samples, read_material
from capjax.experiment.memory.captions import fit_update
from capjax.experiment.memory.updates import Fitting, begun_at, begun_parts
from capjax.experiment.processes import place_of_first
from capjax.experiment.starting import check_start, described_start
from capjax.experiment.workdir import (
    check_workdir,
    enter_workdir,
    locked_workdir,
    shared_settings,
)
from capjax.metrics.card import COLUMNS, metric_card
from capjax.metrics.meteor import MeteorUnavailableError, check_meteor
from capjax.runtime.distributed import agree, from_first, together
from capjax.runtime.files import replacing
from capjax.runtime.version import code_version
from capjax.train.loop import Loop, Outcome

FINAL_FILE = "validation.json"


@dataclasses.dataclass(frozen=True)
class Result:
    """How an experiment ended.

    Attributes:
      reason: "finished", "stopped early" or "interrupted".
      step: updates done.
      best_step: the update after which the best model was saved, None without an evaluation.
      scores: of the best model on the whole validation split, with their card; None where the run
        was interrupted.
    """

    reason: str
    step: int
    best_step: int | None
    scores: dict[str, Any] | None

    @classmethod
    def of(cls, outcome: Outcome, scores: dict[str, Any] | None) -> "Result":
        """How the loop ended, with the scores of the best model."""
        best = None if outcome.progress.best_score is None else outcome.progress.best_step
        return cls(outcome.reason, int(outcome.state.step), best, scores)


def run_experiment(
    config: ExperimentConfig,
    workdir: pathlib.Path,
    *,
    break_lock: bool = False,
    fitting: Fitting = Fitting(),  # noqa: B008  frozen
) -> Result:
    """Trains from where `workdir` stands to the end, then scores the best model.

    Args:
      config: settings, resolved here.
      workdir: locked while this runs; takes `config.json`, `samples.json`, `vocabulary.json`,
        `metrics.jsonl`, TensorBoard events, `checkpoints/`, the best model (`model.json` and its
        weights) and `validation.json`.
      break_lock: the other machine's process that locked `workdir` is dead.
      fitting: how an update fits into memory.

    Raises:
      FileNotFoundError: data or weights are missing; the text says which and where to get them.
      ValueError: settings without meaning, or others, or other samples, than those of the run in
        `workdir` or of another process of this run; another run writes there (LockedError).
      NonFiniteError: the loss was lost.
      SaveError: the disk is full, or a checkpoint could not be written for another reason.
    """
    config = settings.resolve(config)
    with locked_workdir(workdir, break_lock=break_lock):
        experiment = _enter(config, workdir, fitting)
        return _run(experiment.config, workdir, experiment)


def _enter(config: ExperimentConfig, workdir: pathlib.Path, fitting: Fitting) -> Experiment:
    """The experiment, which is that of the run in `workdir` if there is one.

    Captions, words and settings are compared before anything is written: features of many images
    take hours.
    """
    first = begun_at(workdir)
    if fitting.auto and first:
        config = begun_parts(config, workdir)
    described = settings.to_json(config)
    with together("read the data"):
        if config.evaluation.metric == "METEOR" and jax.process_index() == 0:
            _check_meteor()
        material = read_material(config)
        texts = material.texts() if jax.process_count() > 1 else {}
    versions = [code_version(), f"jax {jax.__version__}", f"numpy {np.__version__}"]
    agree({"versions": versions, "settings": shared_settings(described), **texts})
    with together(f"enter {workdir}"):
        if jax.process_index() == 0:
            check_workdir(workdir, described, describe_samples(material), material)
    cache = pathlib.Path(config.data.cache) if config.data.cache else workdir / "features"
    with together("build the net"):
        experiment = build_experiment(config, cache, material)
    with together("fit an update into memory"):
        quiet = not config.train.progress or jax.process_index() > 0
        tell = _nothing if quiet else tqdm.write
        experiment = fit_update(experiment, fitting, position=first, tell=tell)
        described = settings.to_json(experiment.config)
    with together(f"enter {workdir}"):
        if jax.process_index() == 0:
            inputs = (experiment.inputs, experiment.scorer.inputs)
            samples = describe_samples(material, inputs, experiment.model.preprocessing)
            check_workdir(workdir, described, samples, material)
            enter_workdir(workdir, described, samples, material.text)
    return experiment


def _nothing(sentence: str) -> None:
    del sentence


def _run(config: ExperimentConfig, workdir: pathlib.Path, experiment: Experiment) -> Result:
    if config.train.progress and jax.process_index() == 0:
        for note in experiment.notes:
            tqdm.write(note)
    weights = dict(experiment.model.weights)
    card = {
        "config": settings.to_json(config),
        CARD_ENTRY: describe(experiment.scorer.method, experiment.scorer.max_len),
        "encoder_weights": weights,
        ORIGIN_ENTRY: dict(experiment.origin),
        "capjax": code_version(),
    }
    if experiment.source is not None:
        card["init_from"] = described_start(config.init_from, experiment.source)
    if experiment.clip_loss is not None:
        card["loss.clip_text"] = experiment.clip_loss.name
    if experiment.scorer.similarity is not None:
        card["evaluation.clip_text"] = experiment.scorer.similarity.encoder.name

    def keep_best(variables: Mapping[str, Any], step: int, scores: Mapping[str, float]) -> None:
        measured = {"step": step, "validation": dict(scores)}
        experiment.captioner(variables, {**card, **measured}).save(workdir)

    def at_start(scores: Mapping[str, float]) -> None:
        assert experiment.source is not None  # called only then
        compared = check_start(config, experiment.source, scores)
        found = scores[config.evaluation.metric]
        if config.train.progress and jax.process_index() == 0:
            tqdm.write(f"starts at validation {config.evaluation.metric} {found:.4f}{compared}")

    told: set[str] = set()

    def score(variables: Mapping[str, Any]) -> dict[str, float]:
        scores = experiment.scorer.score(variables, images=config.evaluation.images)
        notes = [note for note in scores["notes"] if note not in told]
        told.update(notes)
        if scores.get(config.evaluation.metric, 0.0) is None:
            raise ValueError(
                f"evaluation.metric is {config.evaluation.metric!r}, which could not be measured: "
                + "; ".join(scores["notes"])
            )
        if config.train.progress and jax.process_index() == 0:
            for note in notes:
                tqdm.write(note)
        return {name: value for name, value in scores.items() if isinstance(value, float)}

    scores = None
    with experiment.scorer.meteor:
        outcome = Loop(
            step=experiment.train_step(),
            batches=experiment.batches(),
            score=score,
            keep_best=keep_best,
            at_start=None if experiment.source is None else at_start,
            plan=experiment.plan,
            config=config.train,
            mesh=experiment.mesh,
            workdir=workdir,
            profile=config.profile,
        ).run(experiment.initial_state())
        if outcome.reason != "interrupted":
            scores = _final_scores(experiment, workdir)
    return Result.of(outcome, scores)


def _check_meteor() -> None:
    """Raises ValueError where METEOR decides which model is best and cannot be computed."""
    try:
        check_meteor()
    except MeteorUnavailableError as error:
        raise ValueError(
            f"evaluation.metric is 'METEOR', which cannot be measured here: {error}; or choose "
            f"another: {', '.join(name for name in COLUMNS if name != 'METEOR')}"
        ) from error


def _final_scores(experiment: Experiment, workdir: pathlib.Path) -> dict[str, Any]:
    """All scores of the best model on the whole validation split, written beside it."""
    scorer = experiment.scorer
    # The first process reads what it wrote; to others the folder may still show an older file.
    model_hash = from_first(lambda: load_captioner(workdir).hash, what="load the best model")
    variables: Any = dict(experiment.model.variables)
    if jax.process_index() == 0:
        variables = dict(load_captioner(workdir).variables)
    scores = scorer.score(place_of_first(variables, experiment.mesh))
    scores["card"] = metric_card(
        split=experiment.config.data.validation_split,
        images=len(scorer.references),
        references=sum(len(own) for own in scorer.references),
        decoding=scorer.method,
        max_len=scorer.max_len,
        model_hash=model_hash,
        code=code_version(),
    )
    if scorer.similarity is not None:
        scores["card"]["evaluation.clip_text"] = scorer.similarity.encoder.name
    write_scores(scores, workdir)
    return scores


def write_scores(scores: Mapping[str, Any], workdir: pathlib.Path) -> None:
    """Writes the scores of the best model beside it; the first process does."""
    if jax.process_index() == 0:
        with replacing(workdir / FINAL_FILE) as stream:
            stream.write((json.dumps(scores, indent=2) + "\n").encode())
