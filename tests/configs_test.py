"""Every file in configs/ says what it needs and traces; every choice that one makes trains."""

import runpy
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
import pytest

from capjax.config import ExperimentConfig
from capjax.config import experiment as settings
from capjax.config.inpainting import InpaintingConfig, resolve_inpainting
from capjax.data.inpainting.examples import load_pictures
from capjax.experiment import model
from capjax.experiment.building import build_experiment
from capjax.experiment.inpainting.building import build_inpainting
from capjax.train import sharding
from tests.train.tiny import shrink, write_dataset

WHOLE = ("decoder", "loss", "optimizer", "self_critical")
"""Sections of which every setting may change what an update is made of."""
ALONE = {
    "encoder": ("name",),
    "data": (
        *("frames", "resize", "shorter", "boxes", "glove", "frequency_bias", "group_by_length"),
        *("cache_features", "cache_frame_means"),
    ),
    "train": ("accumulate", "remat"),
}
"""Settings of the other sections that may."""


def read(path: Path) -> ExperimentConfig | InpaintingConfig:
    return runpy.run_path(str(path))["get_config"]()


FILES = sorted((Path(__file__).parents[1] / "configs").glob("*.py"))
CONFIGS = [path for path in FILES if isinstance(read(path), ExperimentConfig)]
INPAINTERS = [path for path in FILES if path not in CONFIGS]


def choices(path: Path) -> set[tuple[str, str, str]]:
    """Section, name and value of what an update is made of; of numbers whether they are 0."""
    config = settings.to_json(settings.resolve(read(path)))
    named = {section: tuple(config[section]) for section in WHOLE} | ALONE
    return {
        (section, name, value if isinstance(value, str) else str(bool(value)))
        for section, names in named.items()
        for name in names
        for value in [config[section][name]]
    }


def covering(paths: Sequence[Path]) -> list[Path]:
    """Configs that together make every choice that any makes, those that add most first."""
    left = {path: choices(path) for path in paths}
    missing, chosen = set().union(*left.values()), []
    while missing:
        chosen.append(max(paths, key=lambda path: len(left[path] & missing)))
        missing -= left[chosen[-1]]
    return chosen


TRAINED = covering(CONFIGS)
FIRST = TRAINED[:4]
"""In the first tier; the second trains the others too."""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("data"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_config_describes_itself(path):
    text = runpy.run_path(str(path))["__doc__"]
    for heading in ("Command:", "Hardware:", "Time:", "Score:"):
        assert heading in text, f"{path.name} does not say its {heading}"
    assert f"--config=configs/{path.name}" in text
    assert "PENDING" not in text, f"{path.name}: write what was measured, or that it was not"


@pytest.mark.parametrize(
    "path",
    [*FIRST, *(pytest.param(path, marks=pytest.mark.slow) for path in TRAINED[len(FIRST) :])],
    ids=lambda path: path.stem,
)
def test_config_trains_one_step(path, root, tmp_path):
    experiment, batch = built(path, root, tmp_path)
    state, metrics = experiment.train_step()(experiment.initial_state(), batch)
    assert int(state.step) == 1
    assert np.isfinite(metrics["loss"]) and metrics["gradient_norm"] > 0


@pytest.mark.parametrize(
    "path", [path for path in CONFIGS if path not in FIRST], ids=lambda path: path.stem
)
def test_config_traces_an_update(path, root, tmp_path, monkeypatch):
    """Traced only, so that no weights are drawn and nothing is compiled."""
    monkeypatch.setattr(model, "_initialise", zeros)
    experiment, batch = built(path, root, tmp_path)
    found = experiment.train_step().trace(experiment.state_shapes(), batch).out_info
    state, metrics = found if experiment.reward is None else found[1]
    assert jax.tree.map(shape, state) == jax.tree.map(shape, experiment.state_shapes())
    assert {"loss", "gradient_norm"} <= set(metrics)


@pytest.mark.parametrize("path", INPAINTERS, ids=lambda path: path.stem)
def test_config_of_an_inpainter_traces_an_update(path, root):
    """Cut down, and traced only: the gated generator takes half a minute to compile."""
    config = read(path)
    resolve_inpainting(config)
    config.generator.cnum, config.discriminator.width = 4, 4
    config.data.side, config.train.batch_size, config.train.steps = 32, 2, 3
    if config.data.name == "scenes":
        config.data.train_images, config.data.validation_images = 2, 2
    else:  # whatever it reads, it is pictures
        config.data.name, config.data.licences, config.data.images = "", "", str(root)
    config = resolve_inpainting(config)
    experiment = build_inpainting(config, load_pictures(config.data))
    batch = sharding.place_batch(next(experiment.batches()(0)), experiment.mesh)
    shapes = experiment.state_shapes()
    state, metrics = experiment.train_step().trace(shapes, batch).out_info
    assert jax.tree.map(shape, state) == jax.tree.map(shape, shapes)
    assert {"loss", "gradient_norm", "update_norm", "hole_l1"} <= set(metrics)
    assert ("discriminator_loss" in metrics) == bool(config.loss.adversarial)


def built(path, root, folder):
    """The experiment of a config cut down, and its first batch on its devices."""
    config = read(path)
    settings.to_json(settings.resolve(config))
    experiment = build_experiment(settings.resolve(shrink(config, root)), folder)
    return experiment, sharding.place_batch(next(experiment.batches()(0)), experiment.mesh)


def zeros(net, preprocessing, key, pretrained):
    assert pretrained is None
    images = jax.ShapeDtypeStruct((1, *preprocessing.size, 3), np.uint8)
    tokens = jax.ShapeDtypeStruct((1, 1), np.int32)
    variables = jax.eval_shape(net.init, key, images, tokens)
    return jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), dict(variables))


def shape(leaf):
    return leaf.shape, leaf.dtype
