"""Checkpoints opened as captioners: what an evaluation at their step kept, and what is refused."""

import dataclasses
import json
import runpy
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import capjax
from capjax import rng
from capjax.captioner import SHIPPED, Captioner, load_captioner
from capjax.config import encoder_section, from_json, resolve, to_json
from capjax.experiment import run_experiment
from capjax.experiment.model import build_model
from capjax.experiment.opening.named import saved_steps
from capjax.folder.run import main
from capjax.text.vocabulary import Vocabulary
from capjax.train.checkpoint import Checkpoints, Progress
from capjax.train.optimizer import make_optimizer
from capjax.train.state import create_state
from tests.api.conftest import write_photographs
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


def test_a_trained_encoder_averages_and_half_precision(tmp_path):
    """A checkpoint as the loop saves it, without the training."""
    config = tiny(tmp_path)
    config.optimizer.encoder_learning_rate = 1e-3
    config.optimizer.average_decay = 0.5
    config.decoder.dtype = config.encoder.dtype = "bfloat16"
    config.data.cache_features = False
    config = resolve(config)
    text = Vocabulary.load(SHIPPED / "scenes-soft" / Vocabulary.FILE)
    model = build_model(config, text, rng.stream(jax.random.key(0), "model"))
    optimizer = make_optimizer(config.optimizer, 4)
    key = jax.random.key(0)
    state = create_state(model.variables, optimizer, train_encoder=True, key=key, average=True)
    moved = jax.tree.map(lambda leaf: leaf + 1.0, state.moving)
    state = state.replace(moving=moved, step=jnp.int32(3))
    workdir = tmp_path / "run"
    checkpoints = Checkpoints(workdir / "checkpoints", keep=1, frozen=state.frozen)
    checkpoints.save(state, Progress())
    checkpoints.close()
    text.save(workdir / Vocabulary.FILE)
    (workdir / "config.json").write_text(json.dumps(to_json(config)))

    kept = jax.tree.map(np.asarray, state.variables)
    expected = Captioner(model.net, kept, text, model.preprocessing, {})
    found = capjax.load(f"{workdir}@3")
    assert found.hash == expected.hash and found.net.decoder.dtype == np.dtype("bfloat16")
    # explain.py takes it by the same name.
    images, out = tmp_path / "images", tmp_path / "out"
    write_photographs(images, 1)
    options = [f"--model={workdir}@3", f"--images={images}", f"--out={out}", "--no-overlays"]
    assert main([*options, "--beam=1", "--max-length=5"]) == 0
    assert json.loads((out / "run.json").read_text())["saved_model"] == expected.hash


def test_settings_survive_their_file(root):
    config = resolve(tiny(root))
    written = json.loads(json.dumps(to_json(config)))
    read = from_json(written)
    assert json.loads(json.dumps(to_json(read))) == written
    assert dataclasses.asdict(read.train) == dataclasses.asdict(config.train)
    assert read.encoder.widths == (8,)  # a module with lists could not be static
