"""Checkpoints opened as captioners: what an evaluation at their step kept, and what is refused."""

import json
import runpy
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

import capjax
from capjax.captioner import load_captioner
from capjax.config import encoder_section
from capjax.experiment import run_experiment
from capjax.experiment.opening.named import saved_steps
from tests.train.tiny import shrink, write_dataset

ROOT = Path(__file__).parents[2]
ENCODER = {"widths": (8,), "residuals": (0,)}


def tiny(root):
    config = runpy.run_path(str(ROOT / "configs" / "coco_soft.py"))["get_config"]()
    config.encoder = encoder_section("convnet", **ENCODER)
    config = shrink(config, root)
    config.train.steps = 4
    config.train.checkpoint_every = config.evaluation.every = 2
    config.train.keep = 9
    return config


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("data"))


def trained(config, workdir):
    """A finished run: the step of its best model, and the model."""
    result = run_experiment(config, workdir)
    return result.best_step, load_captioner(workdir)


def before_evaluation(workdir, place):
    """A copy of a run that holds checkpoints and no model."""
    names = shutil.ignore_patterns("model*", "validation.json", "features", "events*")
    shutil.copytree(workdir, place, ignore=names)
    return place


@pytest.fixture(scope="module")
def frozen(root, tmp_path_factory):
    """An encoder that is drawn, and never trained."""
    workdir = tmp_path_factory.mktemp("frozen")
    return workdir, *trained(tiny(root), workdir)


def content(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_a_step_is_what_its_evaluation_kept(frozen, tmp_path):
    workdir, step, best = frozen
    assert saved_steps(workdir) == [2, 4]
    early = before_evaluation(workdir, tmp_path / "early")
    before = content(early)
    for folder in (workdir, early):
        found = capjax.load(f"{folder}@{step}")
        assert found.hash == best.hash and found.card["step"] == step
        assert found.net == best.net and hash(found.net) == hash(best.net)  # one program for both
        assert found.card["decoding"] == best.card["decoding"]
        jax.tree.map(np.testing.assert_array_equal, found.variables, dict(best.variables))
    assert content(early) == before  # a run may go on there
    other = capjax.load(f"{early}@{6 - step}")
    assert other.hash != best.hash
    # It can be saved, and opened again.
    found.save(tmp_path / "saved")
    assert capjax.load(tmp_path / "saved").hash == best.hash


def test_steps_that_are_not_there_are_refused_with_those_that_are(frozen, tmp_path):
    workdir, _, best = frozen
    for step in ("3", "last", "", "-2", "2.5"):
        with pytest.raises(ValueError, match="there are those of the steps 2, 4"):
            capjax.load(f"{workdir}@{step}")
    early = before_evaluation(workdir, tmp_path / "early")
    with pytest.raises(ValueError, match="early@4'; there are those of the steps 2, 4"):
        capjax.load(early)
    with pytest.raises(ValueError, match="holds no checkpoints"):
        capjax.load(f"{tmp_path}@2")
    with pytest.raises(ValueError, match="there is no such folder"):
        capjax.load(tmp_path / "nowhere@2")
    # A folder with such a name comes first, its own steps too.
    named = tmp_path / "early@2"
    best.save(named)
    assert capjax.load(named).hash == best.hash
    moved = early.rename(tmp_path / "run@7")
    assert capjax.load(f"{moved}@2").card["step"] == 2


def test_a_damaged_checkpoint_and_another_encoder_are_refused(frozen, tmp_path):
    workdir, step, _ = frozen
    early = before_evaluation(workdir, tmp_path / "early")
    settings = json.loads((early / "config.json").read_text())
    (early / "config.json").write_text(json.dumps({**settings, "seed": settings["seed"] + 1}))
    with pytest.raises(ValueError, match="other weights of its frozen encoder"):
        capjax.load(f"{early}@{step}")
    changed = {**settings, "loss": {**settings["loss"], "of_tomorrow": 1}}
    (early / "config.json").write_text(json.dumps(changed))
    with pytest.raises(ValueError, match=r"unknown settings loss\.of_tomorrow"):
        capjax.load(f"{early}@{step}")
    (early / "config.json").write_text(json.dumps(settings))
    data = max(
        (early / "checkpoints" / str(step)).rglob("d/*"), key=lambda file: file.stat().st_size
    )
    data.write_bytes(data.read_bytes()[:-1])
    with pytest.raises(ValueError, match=f"checkpoint of step {step} in .* is damaged"):
        capjax.load(f"{early}@{step}")


def test_a_trained_encoder_averages_and_half_precision(root, tmp_path):
    config = tiny(root)
    config.optimizer.encoder_learning_rate = 1e-3
    config.optimizer.average_decay = 0.5
    config.decoder.dtype = config.encoder.dtype = "bfloat16"
    config.data.cache_features = False
    workdir = tmp_path / "run"
    step, best = trained(config, workdir)
    early = before_evaluation(workdir, tmp_path / "early")
    found = capjax.load(f"{early}@{step}")
    assert found.hash == best.hash and found.net.decoder.dtype == np.dtype("bfloat16")
    assert hash(found.net) == hash(best.net)
