"""Trains, or resumes, an inpainter in its workdir and scores the best one."""

import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import UInt8
from PIL import Image
from tqdm import tqdm

from capjax.checkpoints.settings import module_to_json
from capjax.config.experiment import to_json
from capjax.config.inpainting import InpaintingConfig, resolve_inpainting
from capjax.data.captions.origin import CARD_ENTRY as ORIGIN_ENTRY
from capjax.data.inpainting.examples import load_pictures
from capjax.experiment.inpainting.building import InpaintingExperiment, build_inpainting
from capjax.experiment.inpainting.memory import InpaintingUpdates
from capjax.experiment.inpainting.scoring import HOLES_KEY
from capjax.experiment.inpainting.workdir import (
    check_inpainting_workdir,
    describe_pictures,
    enter_inpainting_workdir,
    picture_lines,
)
from capjax.experiment.memory.updates import Fitting, begun_at, begun_parts, fit
from capjax.experiment.processes import place_of_first
from capjax.experiment.run import Result, write_scores
from capjax.experiment.workdir import locked_workdir, shared_settings
from capjax.inpaint.checkpoints import load_inpainter
from capjax.inpaint.inpainter import GENERATORS, Inpainter
from capjax.inpaint.released import load_released_discriminator
from capjax.runtime.distributed import agree, from_first, together
from capjax.runtime.files import replacing
from capjax.runtime.text_table import format_table
from capjax.runtime.version import code_version
from capjax.train.adversarial.players import GENERATOR
from capjax.train.loop import Loop

PICTURES = "pictures"
"""Folder of a workdir that takes a PNG at each evaluation."""

STRIP = "holed, filled, original"


def run_inpainting(
    config: InpaintingConfig,
    workdir: pathlib.Path,
    *,
    break_lock: bool = False,
    fitting: Fitting = Fitting(),  # noqa: B008  frozen
) -> Result:
    """Trains from where `workdir` stands to the end, then scores the best inpainter.

    Args:
      config: settings, resolved here.
      workdir: locked while this runs; takes `config.json`, `samples.json`, `metrics.jsonl`,
        TensorBoard events, `checkpoints/`, `pictures/`, the best inpainter (`inpainter.json` and
        its weights, which `load_inpainter` reads) and `validation.json`.
      break_lock: the other machine's process that locked `workdir` is dead.
      fitting: how an update fits into memory.

    Raises:
      FileNotFoundError: data or weights are missing; the text says which and where to get them.
      ValueError: settings without meaning, or others, or other pictures, than those of the run in
        `workdir` or of another process of this run; another run writes there (LockedError).
      NonFiniteError: the loss was lost.
      SaveError: the disk is full, or a checkpoint could not be written for another reason.
    """
    config = resolve_inpainting(config)
    with locked_workdir(workdir, break_lock=break_lock):
        experiment, source = _enter(config, workdir, fitting)
        return _run(experiment, workdir, source)


def format_restoration(scores: Mapping[str, Any]) -> str:
    """A table of the scores, and what they are of."""
    names = [name for name in ("PSNR", "SSIM", "L1") if name in scores]
    card = scores["card"]
    return "\n".join(
        [
            format_table([names, [f"{scores[name]:.4f}" for name in names]], left=0),
            f"inside holes; split {card['split']}: n={card['images']} pictures of {card['side']} "
            f"pixels; model {card['model_hash'][:12]}; capjax {card['code']}",
        ]
    )


def _enter(
    config: InpaintingConfig, workdir: pathlib.Path, fitting: Fitting
) -> tuple[InpaintingExperiment, Inpainter | None]:
    """The experiment, which is that of the run in `workdir` if there is one, and its start."""
    first = begun_at(workdir)
    if fitting.auto and first:
        config = begun_parts(config, workdir)
    described = to_json(config)
    with together("read the data"):
        splits = load_pictures(config.data)
        samples = describe_pictures(splits)
        source = load_inpainter(config.init_from) if config.init_from else None
        judge = _judge(config)
    versions = [code_version(), f"jax {jax.__version__}", f"numpy {np.__version__}"]
    lines = picture_lines(samples) if jax.process_count() > 1 else {}
    agree({"versions": versions, "settings": shared_settings(described), **lines})
    with together("build the nets"):
        start = None if source is None else source.variables["params"]
        experiment = build_inpainting(config, splits, start, judge)
        if source is not None:
            _check_start(experiment, source)
    with together(f"enter {workdir}"):
        if jax.process_index() == 0:
            check_inpainting_workdir(workdir, described, samples)
    with together("fit an update into memory"):
        speaks = config.train.progress and jax.process_index() == 0
        tell = tqdm.write if speaks else _nothing
        updates = fit(InpaintingUpdates(experiment), fitting, position=first, tell=tell)
        experiment = updates.experiment
        described = to_json(experiment.config)
    with together(f"enter {workdir}"):
        if jax.process_index() == 0:
            enter_inpainting_workdir(workdir, described, samples)
    return experiment, source


def _nothing(sentence: str) -> None:
    del sentence


def _judge(config: InpaintingConfig) -> Mapping[str, Any] | None:
    """Variables that the discriminator starts from, where there are any."""
    if not config.discriminator_from:
        return None
    net, variables = load_released_discriminator(config.discriminator_from)
    if net.width != config.discriminator.width:
        raise ValueError(
            f"the discriminator of {config.discriminator_from} has width {net.width}, this config "
            f"{config.discriminator.width}; set --config.discriminator.width={net.width}"
        )
    return variables


def _check_start(experiment: InpaintingExperiment, source: Inpainter) -> None:
    """Raises ValueError unless the generator's weights are those of a net like the config's."""
    theirs, own = (
        module_to_json(net, GENERATORS) for net in (source.net, experiment.players.generator)
    )
    differing = [
        f"{name} is {theirs.get(name)} there, {value} here"
        for name, value in own.items()
        if name != "dtype" and theirs.get(name) != value
    ]
    if differing:
        raise ValueError(
            "the inpainter of config.init_from has another generator than this config: "
            f"{'; '.join(differing)}; start from one of the same generator section"
        )


def _run(
    experiment: InpaintingExperiment, workdir: pathlib.Path, source: Inpainter | None
) -> Result:
    config = experiment.config
    speaks = config.train.progress and jax.process_index() == 0
    if speaks:
        for note in experiment.splits.notes:
            tqdm.write(note)
    card: dict[str, Any] = {
        "config": to_json(config),
        ORIGIN_ENTRY: dict(experiment.splits.origin),
        "holes": experiment.holes,
        "capjax": code_version(),
    }
    if source is not None:
        card["init_from"] = {"name": config.init_from, "model_hash": source.hash}

    def inpainter(variables: Mapping[str, Any], more: Mapping[str, Any]) -> Inpainter:
        own = {"params": jax.tree.map(np.asarray, dict(variables["params"][GENERATOR]))}
        side = config.data.side
        return Inpainter(experiment.players.generator, own, (side, side), {**card, **more})

    def keep_best(variables: Mapping[str, Any], step: int, scores: Mapping[str, float]) -> None:
        inpainter(variables, {"step": step, "validation": dict(scores)}).save(workdir)

    def score(variables: Mapping[str, Any]) -> Mapping[str, float]:
        return experiment.scorer.score(variables, images=config.evaluation.images)

    def at_start(scores: Mapping[str, float]) -> None:
        if speaks:
            name = config.evaluation.metric
            tqdm.write(f"starts at validation {name} {scores[name]:.4f}")

    def pictures(variables: Mapping[str, Any], step: int) -> Mapping[str, np.ndarray]:
        strip = experiment.scorer.strip(variables, config.evaluation.shown)
        if jax.process_index() == 0:
            _write_picture(workdir / PICTURES / f"step-{step:07d}.png", strip)
        return {STRIP: strip}

    outcome = Loop(
        step=experiment.train_step(),
        batches=experiment.batches(),
        score=score,
        keep_best=keep_best,
        at_start=None if source is None else at_start,
        plan=experiment.plan,
        config=config.train,
        mesh=experiment.mesh,
        workdir=workdir,
        pictures=pictures if config.evaluation.shown else None,
        examples="pictures",
        profile=config.profile,
    ).run(experiment.initial_state())
    scores = None
    if outcome.reason != "interrupted":
        scores = _final_scores(experiment, workdir)
    return Result.of(outcome, scores)


def _write_picture(path: pathlib.Path, picture: UInt8[np.ndarray, "H W 3"]) -> None:
    path.parent.mkdir(exist_ok=True)
    with replacing(path) as stream:
        Image.fromarray(picture).save(stream, format="png")


def _final_scores(experiment: InpaintingExperiment, workdir: pathlib.Path) -> dict[str, Any]:
    """All scores of the best inpainter on the whole validation split, written beside it."""
    # The first process reads what it wrote; to others the folder may still show an older file.
    model_hash = from_first(lambda: load_inpainter(workdir).hash, what="load the best inpainter")
    if jax.process_index() == 0:
        weights: Any = load_inpainter(workdir).variables["params"]
    else:
        shapes = experiment.state_shapes().params[GENERATOR]
        weights = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    variables: Any = {"params": {GENERATOR: weights}}
    placed = place_of_first(variables, experiment.mesh)
    scores: dict[str, Any] = experiment.scorer.score(placed)
    config = experiment.config
    scores["card"] = {
        "split": config.data.validation_split,
        "images": experiment.scorer.count,
        "side": config.data.side,
        "holes": experiment.holes,
        "holes_key": HOLES_KEY,
        "model_hash": model_hash,
        "code": code_version(),
    }
    write_scores(scores, workdir)
    return scores
