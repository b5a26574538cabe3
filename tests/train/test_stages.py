"""A run that starts from another: its words and weights, its score, and the stage of rewards."""

import json

import numpy as np
import pytest

from capjax import config as settings
from capjax.captioner import load_captioner
from capjax.config import ExperimentConfig, decoder_section, encoder_section
from capjax.experiment import run_experiment
from capjax.experiment.rewards import CiderReward
from capjax.metrics.cider import CiderD
from capjax.text.vocabulary import Vocabulary
from capjax.train.losses import LossConfig
from capjax.train.self_critical import SelfCriticalConfig
from tests.train.tiny import shrink, write_dataset


def small(root, **changes) -> ExperimentConfig:
    config = ExperimentConfig(
        encoder=encoder_section("convnet", widths=(8,), residuals=(0,)),
        decoder=decoder_section("attention_lstm", hidden=8),
        loss=LossConfig(doubly_stochastic=0.0),
    )
    config = shrink(config, root)
    config.optimizer.learning_rate = 3e-2
    config.train.log_every = 1
    config.evaluation.metric = "ROUGE-L"  # CIDEr of so few captions is 0
    for name, value in changes.items():
        setattr(config, name, value)
    return config


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A run of cross-entropy: its data and its workdir."""
    folder = tmp_path_factory.mktemp("stages")
    root = write_dataset(folder / "data")
    config = small(root)
    config.train.steps = 12
    run_experiment(config, folder / "first")
    return root, folder / "first"


def records(workdir):
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def test_the_stage_of_rewards_starts_at_the_score_of_its_source(source, tmp_path):
    root, first = source
    config = small(root, init_from=str(first), self_critical=SelfCriticalConfig(samples=3), seed=5)
    config.train.steps = 2
    result = run_experiment(config, tmp_path / "second")
    start, *updates = records(tmp_path / "second")
    card = load_captioner(first).card
    assert start["step"] == 0
    assert start["validation"]["ROUGE-L"] == pytest.approx(card["validation"]["ROUGE-L"], abs=1e-9)
    assert [row["step"] for row in updates] == [1, 2]
    assert all({"reward", "reward_baseline", "advantage"} <= set(row) for row in updates)
    assert result.scores is not None
    kept = load_captioner(tmp_path / "second")
    assert kept.text.hash == load_captioner(first).text.hash
    best = max(row["validation"]["ROUGE-L"] for row in [start, *updates] if "validation" in row)
    assert kept.card["validation"]["ROUGE-L"] == pytest.approx(best)


def test_cross_entropy_can_start_from_a_run_too(source, tmp_path):
    root, first = source
    config = small(root, init_from=str(first))
    run_experiment(config, tmp_path / "again")
    before = records(first)[-1]["cross_entropy"]
    assert records(tmp_path / "again")[1]["cross_entropy"] < before + 0.3
    assert before < records(first)[0]["cross_entropy"] - 0.5  # the source had learnt


def test_another_architecture_is_refused(source, tmp_path):
    root, first = source
    config = small(root, init_from=str(first))
    config.decoder.hidden = 9
    with pytest.raises(
        ValueError, match=r"another architecture.*attention_hidden is \(8, 8\) there and \(9, 8\)"
    ):
        run_experiment(config, tmp_path / "other")
    assert not (tmp_path / "other").exists()
    config = small(root, init_from=str(first))
    config.data.image_size = 40
    with pytest.raises(ValueError, match=r"another preprocessing: size is .*32.*40"):
        run_experiment(config, tmp_path / "other")
    with pytest.raises(ValueError, match="no captioner at"):
        run_experiment(small(root, init_from="nowhere"), tmp_path / "other")


def test_a_source_that_scores_differently_now_is_refused(source, tmp_path):
    """The validation captions changed since."""
    root, first = source
    moved = write_dataset(tmp_path / "data")
    file = moved / "flickr8k" / "dataset_flickr8k.json"
    file.write_text(file.read_text().replace("there is a", "here we see some"))
    with pytest.raises(ValueError, match="had validation ROUGE-L .* before the first update"):
        run_experiment(small(moved, init_from=str(first)), tmp_path / "second")


def test_the_reward_is_cider_with_the_end_as_a_word():
    captions = [("a red square", "the red square"), ("a blue circle",)]
    text = Vocabulary.build([each for own in captions for each in own])
    image_of = np.array([0, 0, 1])
    ended = text.encode("a red square")
    tokens = np.array([[ended, [*ended[:-1], 0]], [ended, ended]])
    lengths = np.array([[4, 3], [4, 4]])
    reward = CiderReward(captions, image_of, text, end_token=True)
    found = reward(np.array([1, 2]), tokens, lengths)
    corpus = CiderD([[[*each.split(), "<end>"] for each in own] for own in captions])
    whole, cut = ["a", "red", "square", "<end>"], ["a", "red", "square"]
    np.testing.assert_allclose(found[0], corpus.scores(0, [whole, cut]))
    np.testing.assert_allclose(found[1], corpus.scores(1, [whole, whole]))
    assert found[0, 0] > found[0, 1]  # ending is worth something
    plain = CiderReward(captions, image_of, text, end_token=False)(
        np.array([1]), tokens[:1], lengths[:1]
    )
    assert plain[0, 0] == plain[0, 1]


def test_settings_are_checked(tmp_path):
    config = small(tmp_path, self_critical=SelfCriticalConfig(samples=1))
    with pytest.raises(ValueError, match="2 or more"):
        settings.resolve(config)
