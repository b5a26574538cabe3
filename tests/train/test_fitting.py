"""Updates that must fit into memory: in parts, refused, resumed, and compiled once."""

import dataclasses
import json
import runpy
from pathlib import Path

import jax
import numpy as np
import pytest

from capjax.config import encoder_section
from capjax.config import experiment as settings
from capjax.experiment import Fitting, run_experiment
from capjax.experiment.building import build_experiment
from capjax.experiment.memory.captions import fit_update
from capjax.runtime.memory import TooLargeError
from capjax.train import sharding
from capjax.train.records import read_metrics
from tests.train.tiny import shrink, write_dataset

ROOT = Path(__file__).parents[2]
ENCODER = {"widths": (8,), "residuals": (0,)}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("data"))


def tiny(root, config="coco_soft", **train):
    found = runpy.run_path(str(ROOT / "configs" / f"{config}.py"))["get_config"]()
    found.encoder = encoder_section("convnet", **ENCODER)
    found = shrink(found, root)
    for name, value in train.items():
        setattr(found.train, name, value)
    return found


def fitted(config, folder, fitting, position=0):
    told = []
    experiment = build_experiment(settings.resolve(config), folder / "features")
    return fit_update(experiment, fitting, position=position, tell=told.append), told


def memory_of(experiment):
    """Bytes of an update as it runs, by the compiled step itself."""
    batch = sharding.place_batch(next(experiment.batches()(0)), experiment.mesh)
    found = experiment.train_step().lower(experiment.initial_state(), batch).compile()
    own = found.memory_analysis()
    total = own.argument_size_in_bytes + own.output_size_in_bytes + own.temp_size_in_bytes
    return total - own.alias_size_in_bytes


def test_auto_takes_parts_until_an_update_fits_and_learns_the_same(root, tmp_path):
    config = tiny(root, batch_size=16, steps=2)
    whole, told = fitted(config, tmp_path, Fitting(auto=True, limit=1e12))
    assert whole.config.train.accumulate == 1
    assert told[0].startswith("an update of 16 captions: ")
    need = memory_of(whole)
    halves, told = fitted(config, tmp_path, Fitting(auto=True, limit=need - 1))
    parts = halves.config.train.accumulate
    assert parts > 1 and memory_of(halves) < need
    assert f"16 captions in {parts} parts of {16 // parts}: " in told[0]
    assert f"(train.accumulate={parts})" in told[0] and "would need" in told[0]
    batch = next(whole.batches()(0))
    after = []
    for experiment in (whole, halves):
        placed = sharding.place_batch(batch, experiment.mesh)
        state, _ = experiment.train_step()(experiment.initial_state(), placed)
        after.append(state.params)
    for one, other in zip(*map(jax.tree.leaves, after), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_what_is_compiled_before_the_run_is_what_runs(root, tmp_path, compiled):
    experiment, _ = fitted(tiny(root), tmp_path, Fitting(auto=True))
    state = experiment.initial_state()
    batch = sharding.place_batch(next(experiment.batches()(0)), experiment.mesh)
    compiled.clear()
    jax.block_until_ready(experiment.train_step()(state, batch))
    assert not compiled


def test_an_update_that_does_not_fit_is_refused_before_the_first(root, tmp_path):
    config = tiny(root, steps=2)
    with pytest.raises(
        TooLargeError, match=r"an update of 8 captions needs .* \(the limit given\)"
    ):
        run_experiment(config, tmp_path / "run", fitting=Fitting(limit=1e4))
    assert not (tmp_path / "run" / "config.json").exists()
    with pytest.raises(TooLargeError, match=r"an update of 8 captions in \d parts of \d would"):
        run_experiment(config, tmp_path / "run", fitting=Fitting(auto=True, limit=1e4))


def test_batch_norm_in_training_is_never_divided(root, tmp_path):
    config = tiny(root)
    config.data.cache_features = False
    config.optimizer.encoder_learning_rate = 1e-4
    experiment, _ = fitted(config, tmp_path, Fitting(auto=True, limit=1e12))
    assert experiment.model.variables["batch_stats"]
    with pytest.raises(TooLargeError, match="batch norm in training takes each part") as refused:
        fitted(config, tmp_path, Fitting(auto=True, limit=memory_of(experiment) / 2))
    assert "train.remat=True" in str(refused.value)


def test_a_run_keeps_the_parts_that_it_began_with(root, tmp_path):
    config = tiny(root, batch_size=8, steps=2)
    whole, _ = fitted(config, tmp_path, Fitting(auto=True))
    limit = memory_of(whole) - 1
    run_experiment(config, tmp_path / "run", fitting=Fitting(auto=True, limit=limit))
    stored = json.loads((tmp_path / "run" / "config.json").read_text())
    parts = stored["train"]["accumulate"]
    assert parts > 1
    longer = dataclasses.replace(config.train, steps=4)
    config.train = longer
    result = run_experiment(config, tmp_path / "run", fitting=Fitting(auto=True, limit=1e12))
    assert result.step == 4 and len(list(read_metrics(tmp_path / "run" / "metrics.jsonl"))) == 4
    again = json.loads((tmp_path / "run" / "config.json").read_text())
    assert again["train"]["accumulate"] == parts


def test_both_programs_of_the_stage_of_rewards_are_asked(root, tmp_path, compiled):
    config = tiny(root, "coco_scst")
    experiment, told = fitted(config, tmp_path, Fitting(auto=True))
    assert told and experiment.reward is not None
    state = experiment.initial_state()
    batch = sharding.place_batch(next(experiment.batches()(0)), experiment.mesh)
    compiled.clear()
    jax.block_until_ready(experiment.train_step()(state, batch))
    assert len(compiled) <= 1  # how the reward's numbers reach the devices
