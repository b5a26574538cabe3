"""A pretrained ViT-GPT2 is trained further on photographs, or only scored."""

import json
import runpy
from pathlib import Path

import pytest

from capjax.captioner import load_captioner
from capjax.config import experiment as settings
from capjax.decoding import HuggingFaceBeam, describe
from capjax.experiment import run_experiment
from capjax.weights.vit_gpt2.captioner import load_vit_gpt2
from tests.golden import vit_gpt2_outputs as golden
from tests.train.tiny import shrink, write_dataset
from tests.weights.vit_gpt2_folder import write_folder

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("transformers") / "model")


def small(name, folder, root):
    """A config of ours, with the architecture of the small model."""
    config = shrink(runpy.run_path(str(CONFIGS / f"{name}.py"))["get_config"](), root)
    sizes = {"width": golden.WIDTH, "layers": golden.LAYERS, "heads": golden.HEADS}
    config.encoder.update(mlp=golden.MLP, **sizes)
    config.decoder.update(mlp=golden.MLP, positions=32, start_token=330, **sizes)
    config.init_from = str(folder)
    config.evaluation.metric = "ROUGE-L"
    return config


def records(workdir):
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_the_loss_falls_on_twenty_photographs(folder, shared_data, tmp_path):
    config = small("vitgpt2_finetune", folder, shared_data)
    config.data.name = "coco_shared"
    config.data.train_images, config.data.validation_images = 20, 4
    config.train.batch_size, config.train.steps, config.train.log_every = 16, 30, 5
    config.optimizer.learning_rate = config.optimizer.encoder_learning_rate = 3e-3
    config.optimizer.warmup_steps = 5
    config.evaluation.every = 30
    result = run_experiment(config, tmp_path)
    losses = [row["cross_entropy"] for row in records(tmp_path) if "cross_entropy" in row]
    assert losses[-1] < 0.7 * losses[0]
    assert result.scores["card"]["decoding"] == describe(HuggingFaceBeam(2), 25)
    assert load_captioner(tmp_path).text == load_vit_gpt2(folder).text


def test_without_an_epoch_the_captioner_is_scored_and_kept(folder, tmp_path):
    config = small("s1_vitgpt2", folder, write_dataset(tmp_path / "data"))
    config.train.steps = 0
    result = run_experiment(config, tmp_path / "run")
    assert (result.reason, result.step, result.best_step) == ("finished", 0, 0)
    assert result.scores["card"]["decoding"] == describe(HuggingFaceBeam(2), 15)
    kept, source = load_captioner(tmp_path / "run"), load_vit_gpt2(folder)
    assert kept.text == source.text and kept.net.encoder == source.net.encoder
    assert result.scores["card"]["model_hash"] == kept.hash
    assert [row["step"] for row in records(tmp_path / "run")] == [0]


def test_nothing_to_learn_and_nothing_to_score_is_refused(tmp_path):
    config = shrink(runpy.run_path(str(CONFIGS / "s1_vitgpt2.py"))["get_config"](), tmp_path)
    config.train.steps = 0
    with pytest.raises(ValueError, match="epochs is 0, which scores a captioner; name it"):
        settings.resolve(config)
    config.train.steps, config.evaluation.search = 1, "widest"
    with pytest.raises(ValueError, match="unknown evaluation.search 'widest'; choose one of: beam"):
        settings.resolve(config)
