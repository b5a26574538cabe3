"""Every file in configs/ says what it needs, builds, and trains one tiny step."""

import runpy
from pathlib import Path

import numpy as np
import pytest

from capjax.config import experiment as settings
from capjax.experiment.building import build_experiment
from capjax.train import sharding
from tests.train.tiny import shrink, write_dataset

CONFIGS = sorted((Path(__file__).parents[1] / "configs").glob("*.py"))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("data"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_config_describes_itself(path):
    text = runpy.run_path(str(path))["__doc__"]
    for heading in ("Command:", "Hardware:", "Time:", "Score:"):
        assert heading in text, f"{path.name} does not say its {heading}"
    assert f"--config=configs/{path.name}" in text
    assert "PENDING" not in text, f"{path.name}: write what was measured, or that it was not"


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_config_trains_one_step(path, root, tmp_path):
    config = runpy.run_path(str(path))["get_config"]()
    settings.to_json(settings.resolve(config))
    experiment = build_experiment(settings.resolve(shrink(config, root)), tmp_path)
    batch = next(experiment.batches()(0))
    state, metrics = experiment.train_step()(
        experiment.initial_state(), sharding.place_batch(batch, experiment.mesh)
    )
    assert int(state.step) == 1
    assert np.isfinite(metrics["loss"]) and metrics["gradient_norm"] > 0
