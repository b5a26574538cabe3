"""An experiment from files to a saved captioner, its settings, and what it refuses."""

import dataclasses
import json
import math
import os
import runpy
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from capjax.captioner import SHIPPED, load_captioner
from capjax.config import DataConfig, decoder_section, encoder_section
from capjax.config import experiment as settings
from capjax.evaluate import __main__ as evaluate
from capjax.experiment import run_experiment
from capjax.experiment.building import build_experiment
from capjax.experiment.data import build_vocabulary, load_splits
from capjax.experiment.initial_weights import glove_rows, weights_path
from capjax.experiment.model import build_model
from capjax.experiment.workdir import differences
from capjax.metrics.captions import NAMES
from capjax.text.vocabulary import SPECIALS
from capjax.train.records import read_metrics
from tests import java
from tests.train.tiny import shrink, write_dataset, write_glove

ROOT = Path(__file__).parents[2]
COCO_SOFT = str(ROOT / "configs" / "coco_soft.py")
ENCODER = {"widths": (8,), "residuals": (0,)}
"""One layer, frozen at random, compiles in no time; `configs_test` builds the real ones."""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("data"))


def tiny(root: Path, **train):
    config = runpy.run_path(COCO_SOFT)["get_config"]()
    config.encoder = encoder_section("convnet", **ENCODER)
    config = shrink(config, root)
    config.evaluation.others = 5
    for name, value in train.items():
        setattr(config.train, name, value)
    return config


@pytest.fixture(scope="module")
def trained(root, tmp_path_factory):
    """A finished run of 4 steps from cached features, with METEOR by a program that has none."""
    workdir = tmp_path_factory.mktemp("run")
    with java.answering(tmp_path_factory.mktemp("java")):
        return run_experiment(tiny(root, steps=4), workdir), workdir


@pytest.mark.devices
def test_a_workdir_holds_all_that_later_work_needs(trained):
    result, workdir = trained
    assert result.step == 4
    for name in ("config.json", "vocabulary.json", "metrics.jsonl", "model.json"):
        assert (workdir / name).is_file()
    assert list(workdir.glob("events.out.tfevents*"))
    assert list(workdir.glob("features/*/manifest.json"))
    written = json.loads((workdir / "validation.json").read_text())
    assert written["card"]["split"] == "val" and written["n"] == 4
    evaluated = [r for r in read_metrics(workdir / "metrics.jsonl") if "validation" in r]
    assert len(evaluated) == 2
    for record in evaluated:
        assert record["validation"]["METEOR"] == java.METEOR
    best = load_captioner(workdir)
    assert best.card["step"] == result.best_step
    assert best.others.positions.shape[:2] == (5, 1)
    shutil.copytree(workdir, workdir.with_name("moved"), ignore=lambda *_: ["checkpoints"])
    assert load_captioner(workdir.with_name("moved")).hash == best.hash


@pytest.mark.devices
def test_evaluate_finds_what_training_found(root, trained, tmp_path):
    """Without any option: the model says how it was validated, and from what."""
    workdir, out = trained[1], tmp_path / "metrics.json"
    data = root / "flickr8k"
    command = f"--model={workdir} --captions={data / 'dataset_flickr8k.json'} --split=val"
    assert evaluate.main([*command.split(), f"--images={data / 'images'}", f"--out={out}"]) == 0
    theirs, ours = (json.loads(path.read_text()) for path in (workdir / "validation.json", out))
    names = [name for name in NAMES if name != "METEOR"]
    assert [ours[name] for name in names] == [theirs[name] for name in names]
    settings = {"method": "beam", "width": 2, "length_penalty": 1.0, "max_length": 20}
    for card in (theirs["card"], ours["card"], load_captioner(workdir).card):
        assert card["decoding"] == settings
    caches = {path.parent.name: path for path in workdir.glob("features/*/manifest.json")}
    kinds = {name.split("-")[1]: json.loads(caches[name].read_text())["dtype"] for name in caches}
    assert kinds == {"train": "float16", "val": "float32"}


@pytest.mark.devices
def test_longer_runs_resume_and_other_settings_are_refused(root, trained, tmp_path):
    workdir = tmp_path / "run"
    shutil.copytree(trained[1], workdir)
    other = tiny(root, steps=4)
    other.optimizer.learning_rate = 0.5
    other.decoder.hidden = 16
    with pytest.raises(ValueError) as refused:
        run_experiment(other, workdir)
    assert "decoder.hidden: 8 there, 16 now" in str(refused.value)
    before = tiny(root, steps=4).optimizer.learning_rate
    assert f"optimizer.learning_rate: {before} there, 0.5 now" in str(refused.value)
    result = run_experiment(tiny(root, steps=6), workdir)
    assert result.step == 6
    assert [record["step"] for record in read_metrics(workdir / "metrics.jsonl")] == [*range(1, 7)]


def test_what_a_model_compares_with_is_of_its_own_encoder(root, trained, tmp_path):
    """From cached features as from images, which an encoder that learns sees anew at every save."""
    config = tiny(root)
    config.data.cache_features = False
    experiment = build_experiment(settings.resolve(config), tmp_path)
    best = load_captioner(trained[1])
    found = experiment.captioner(best.variables, {}).others
    np.testing.assert_allclose(
        found.positions, best.others.positions, atol=2e-3
    )  # stored as halves
    assert np.ptp(found.positions) > 0.1 and found.grid == best.others.grid
    config.evaluation.others = 0
    experiment = build_experiment(settings.resolve(config), tmp_path)
    assert experiment.captioner(best.variables, {}).others is None


@pytest.mark.parametrize("name", ["scenes-soft", "scenes-frames"])
def test_new_settings_have_the_old_behaviour_as_their_default(name):
    """The shipped captioners' settings, stored before many of today's existed, are still theirs."""
    stored = load_captioner(SHIPPED / name).card["config"]
    path = ROOT / "configs" / f"{name.replace('-', '_')}.py"
    now = settings.to_json(settings.resolve(runpy.run_path(str(path))["get_config"]()))
    now = json.loads(json.dumps(now))
    assert "lambda_r" in now["loss"] and "lambda_r" not in stored["loss"]
    assert list(differences(settings.with_defaults(stored), now)) == []


@pytest.mark.devices
def test_a_run_of_before_a_setting_resumes(root, trained, tmp_path):
    workdir = shutil.copytree(trained[1], tmp_path / "run")
    path = workdir / "config.json"
    stored = json.loads(path.read_text())
    del stored["encoder"]["weights"], stored["decoder"]["hard"], stored["loss"]["lambda_e"]
    del stored["self_critical"], stored["init_from"]
    path.write_text(json.dumps(stored))
    assert run_experiment(tiny(root, steps=5), workdir).step == 5
    stored["loss"]["of_once"] = None
    path.write_text(json.dumps(stored))
    with pytest.raises(ValueError, match=r"loss\.of_once: None there, no such setting now"):
        run_experiment(tiny(root, steps=6), workdir)


def test_resolved_settings_are_frozen(root):
    resolved = settings.resolve(tiny(root))
    for change in (
        lambda: setattr(resolved, "seed", 1),
        lambda: setattr(resolved.train, "steps", 9),
        lambda: setattr(resolved.decoder, "hidden", 9),
    ):
        with pytest.raises(AttributeError):
            change()


@pytest.mark.parametrize(
    ("part", "name", "value", "text"),
    [
        ("data", "max_length", 1, "data.max_length is 1; expected 2 or more"),
        ("evaluation", "beam", 0, "evaluation.beam is 0"),
        ("evaluation", "others", 1, "evaluation.others is 1; expected 0 for none, or 2"),
        ("train", "batch_size", 0, "train.batch_size is 0"),
        ("data", "train_images", -3, "data.train_images is -3; expected 0 or more"),
        ("data", "cap", -1, "data.cap is -1; expected 0 or more"),
        ("data", "image_size", -32, "data.image_size is -32; expected 0 or more"),
        ("evaluation", "images", -1, "evaluation.images is -1; expected 0 or more"),
        ("evaluation", "every", -5, "evaluation.every is -5; expected 0 or more"),
        ("evaluation", "length_penalty", math.nan, "evaluation.length_penalty is nan; expected a"),
        ("optimizer", "learning_rate", math.inf, "optimizer.learning_rate is inf; expected a fin"),
        ("decoder", "name", "gru", "unknown decoder.name 'gru'; choose one of: attention_lstm"),
        ("decoder", "dtype", "float16", "choose 'float32' or 'bfloat16'"),
        ("encoder", "name", "resnet", "encoder 'resnet' has no setting .*widths"),
        ("decoder", "reading", "argmx", "'argmx'; choose one of: expected, argmax, sample"),
        ("decoder", "expected_scope", "bacth", "expected_scope 'bacth'; choose one of: image"),
        ("decoder", "init_layers", 3, "decoder.init_layers 3; choose one of: 1, 2"),
        ("decoder", "expected_share", 7.0, r"expected_share is 7.0; expected a share in \[0, 1\]"),
        ("decoder", "output_dropout", 1.0, r"output_dropout is 1.0; expected a share in \[0, 1\)"),
        ("decoder", "hard", True, "doubly_stochastic=1.0 is a term of soft attention"),
        ("loss", "tau", -3.0, "loss.tau is -3.0; expected 0 or more"),
        ("loss", "doubly_stochastic", -1.0, "loss.doubly_stochastic is -1.0"),
        ("loss", "samples", 5, "samples=5 draws positions of hard attention"),
        ("loss", "scheduled_sampling_steps", 9, "no effect with loss.scheduled_sampling=0"),
        ("optimizer", "encoder_start", 9, "encoder_start=9 has no effect on a frozen encoder"),
        ("train", "remat", True, "this one is frozen"),
        ("evaluation", "metric", "CIDER", "unknown evaluation.metric 'CIDER'; .*BLEU-1.*METEOR"),
        ("evaluation", "published", "xu2015", "evaluation.published 'xu2015'; .*xu2015_soft"),
    ],
)
def test_settings_without_meaning_are_refused(root, part, name, value, text):
    config = tiny(root)
    setattr(getattr(config, part), name, value)
    with pytest.raises(ValueError, match=text):
        settings.resolve(config)


def test_a_trace_beyond_the_last_update_is_refused(root, tmp_path):
    config = tiny(root, steps=4)
    config.profile = "2:3"
    with pytest.raises(ValueError, match=r"profile is '2:3', updates 3 to 5, and the run has 4"):
        run_experiment(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_meteor_decides_only_where_it_can_be_measured(root, tmp_path):
    config = tiny(root)
    config.evaluation.metric = "METEOR"
    settings.resolve(config)
    with pytest.raises(ValueError, match=r"cannot be measured here: needs Java.*choose another"):
        run_experiment(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_java_that_fails_is_quoted(root, tmp_path, monkeypatch, capsys):
    program = tmp_path / "java"
    program.write_text("#!/bin/sh\necho 'no runtime here' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda name: str(program))
    config = tiny(root, steps=2, progress=True)
    config.evaluation.metric = "METEOR"
    with pytest.raises(ValueError, match=r"could not be measured: METEOR is .*no runtime here"):
        run_experiment(config, tmp_path / "decides")
    config.evaluation.metric = "CIDEr"
    capsys.readouterr()
    run_experiment(config, tmp_path / "tells")
    assert capsys.readouterr().out.count("no runtime here") == 1
    evaluated = [r for r in read_metrics(tmp_path / "tells" / "metrics.jsonl") if "validation" in r]
    assert evaluated and all("METEOR" not in record["validation"] for record in evaluated)


def test_sections_refuse_unknown_arguments():
    with pytest.raises(ValueError, match="decoder 'lstm' has no setting attention"):
        decoder_section("lstm", attention=3)
    with pytest.raises(ValueError, match="unknown encoder.name 'densenet'"):
        encoder_section("densenet")


def test_missing_weights_say_where_they_were_looked_for(root):
    config = tiny(root)
    config.encoder.weights = "nowhere.npz"
    with pytest.raises(FileNotFoundError, match="weights/nowhere.npz"):
        weights_path(settings.resolve(config))


def test_glove_rows_start_the_embedding(root, tmp_path):
    config = tiny(root)
    numbers = np.arange(8) / 8
    (tmp_path / "glove.txt").write_text("red " + " ".join(map(str, numbers)) + "\n")
    config.data.glove = str(tmp_path / "glove.txt")
    config = settings.resolve(config)
    vocabulary = build_vocabulary(config, load_splits(config.data)[0])
    with_glove = build_model(config, vocabulary, jax.random.key(0)).variables
    table = np.asarray(with_glove["params"]["decoder"]["embedding"])
    red, green = (vocabulary.entries.index(word) for word in ("red", "green"))
    np.testing.assert_allclose(table[red], numbers)
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, glove=""))
    without = build_model(config, vocabulary, jax.random.key(0)).variables
    initial = np.asarray(without["params"]["decoder"]["embedding"])
    np.testing.assert_array_equal(table[green], initial[green])


def test_glove_is_found_below_the_data_root_and_counted(root, capsys):
    config = runpy.run_path(str(ROOT / "configs" / "s2_effnet.py"))["get_config"]()
    assert config.data.glove == "glove.6B.300d.txt" and config.decoder.embedding == 300
    small = tiny(root, progress=True)
    small.data.glove = config.data.glove
    write_glove(root / "glove" / "glove.6B.300d.txt")
    vocabulary = build_vocabulary(small, load_splits(small.data)[0])
    for place in (root, root / "flickr8k"):  # either is a data root
        small.data.root = str(place)
        rows = glove_rows(small, vocabulary, np.zeros((vocabulary.size, 8)))
        np.testing.assert_array_equal(rows[vocabulary.entries.index("red")], np.arange(8))
        assert not rows[vocabulary.entries.index("green")].any()
        words = vocabulary.size - len(SPECIALS)
        said = capsys.readouterr().out
        assert said == f"2 of {words} words have a GloVe vector (glove.6B.300d.txt)\n"


def test_missing_glove_is_said_before_features_are_computed(root, tmp_path):
    config = tiny(root)
    config.data.glove = "glove.6B.50d.txt"
    with pytest.raises(FileNotFoundError) as caught:
        run_experiment(config, tmp_path / "run")
    said = str(caught.value)
    assert str(root / "glove" / "glove.6B.50d.txt") in said
    assert "https://nlp.stanford.edu/data/glove.6B.zip" in said
    assert not (tmp_path / "run").exists()


def test_scenes_need_counts():
    with pytest.raises(ValueError, match="data.train_images"):
        load_splits(DataConfig(name="scenes"))


def command(*arguments: str, **keywords) -> subprocess.Popen:
    environment = {name: value for name, value in os.environ.items() if name != "CAPJAX_DATA"}
    return subprocess.Popen(
        [sys.executable, str(ROOT / "train.py"), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**environment, "JAX_PLATFORMS": "cpu", "PATH": str(Path(sys.executable).parent)},
        **keywords,
    )


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("--config.train.batchsize=3", "it has: batch_size, accumulate"),
        ("--config.train.batch_size=many", "many"),
        ("--config.seed=0", "flickr8k/dataset_flickr8k.json"),
    ],
)
def test_wrong_usage_and_missing_data_exit_with_2(override, expected, tmp_path):
    config = ROOT / "configs" / "soft.py"
    process = command(f"--config={config}", override, cwd=tmp_path)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 2, errors
    assert expected in errors
    assert "Traceback" not in errors
    assert not list(tmp_path.iterdir())


def test_sigterm_saves_and_the_same_command_finishes(root, tmp_path):
    config = tmp_path / "small.py"
    config.write_text(
        f"import pathlib, sys\nsys.path.insert(0, {str(ROOT)!r})\n"
        "from tests.train.test_experiment import tiny\n"
        "def get_config():\n"
        f"    config = tiny(pathlib.Path({str(root)!r}))\n"
        "    config.evaluation.every = 10**6\n"
        "    return config\n"
    )
    options = (f"--config={config}", f"--workdir={tmp_path / 'run'}")
    process = command(*options, "--config.train.steps=100000", cwd=tmp_path)
    metrics = tmp_path / "run" / "metrics.jsonl"
    deadline = time.monotonic() + 120
    while not (metrics.exists() and metrics.read_text()) and process.poll() is None:
        assert time.monotonic() < deadline, "no step within two minutes"
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert "run the same command to resume" in output
    done = read_metrics(metrics)[-1]["step"]
    assert max(int(path.name) for path in (metrics.parent / "checkpoints").iterdir()) == done

    process = command(*options, f"--config.train.steps={done + 2}", cwd=tmp_path)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert "BLEU-4" in output and "tokenizer" in output
    steps = [record["step"] for record in read_metrics(metrics)]
    assert steps == list(range(1, done + 3))
