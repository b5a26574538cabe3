"""A run that starts from another: its words and weights, its score, and the stage of rewards."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from capjax.captioner import load_captioner
from capjax.config import ExperimentConfig, decoder_section, encoder_section
from capjax.config import experiment as settings
from capjax.data.boxes.object_words import ObjectWords
from capjax.experiment import run_experiment
from capjax.experiment.model import build_model
from capjax.experiment.rewards import CiderReward, ClipReward, TruthfulReward
from capjax.experiment.starting import check_start, started_from
from capjax.metrics.cider import CiderD
from capjax.text.vocabulary import Vocabulary
from capjax.train.checkpoint import digest
from capjax.train.objectives.losses import LossConfig
from capjax.train.self_critical import SelfCriticalConfig
from capjax.weights import load_text_encoder
from tests.text.small_clip import small_clip
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
    measured = {"reward", "reward_baseline", "advantage", "reward_seconds", "teraflops_per_device"}
    assert all(measured <= set(row) for row in updates)
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


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        ("activation", "relu", "another decoder: activation is tanh there, relu here"),
        ("output", "deep", "another decoder: output is deep_tanh there, deep here"),
        ("init_activation", "linear", "another decoder: init_activation is tanh there"),
    ],
)
def test_another_decoder_of_the_same_shapes_is_refused(source, tmp_path, field, value, text):
    root, first = source
    config = small(root, init_from=str(first))
    config.decoder[field] = value
    with pytest.raises(ValueError, match=text):
        run_experiment(config, tmp_path / "other")


def test_what_is_for_training_alone_may_differ(source):
    root, first = source
    config = small(root, init_from=str(first))
    config.decoder.update(hard=True, output_dropout=0.3, initialisation="sat", reading="argmax")
    config.encoder.update(dtype="bfloat16")
    config = settings.resolve(config)
    captioner = load_captioner(first)
    model = build_model(config, captioner.text, jax.random.key(1))
    started = started_from(model, captioner)
    assert digest(started.variables) == digest(captioner.variables)


def test_the_first_score_is_compared_where_it_can_be(source):
    root, first = source
    captioner = load_captioner(first)
    kept = dataclasses.replace(captioner, card={**captioner.card, "validation": {"ROUGE-L": 0.2}})
    config = small(root, init_from="runs/first")
    assert check_start(config, kept, {"ROUGE-L": 0.2019}) == ", as when it was saved (0.2000)"
    with pytest.raises(ValueError, match=r"had validation ROUGE-L 0\.2000 .* 0\.2021 before"):
        check_start(config, kept, {"ROUGE-L": 0.2021})
    poor = dataclasses.replace(captioner, card={**captioner.card, "validation": {"ROUGE-L": 5e-4}})
    assert check_start(config, poor, {"ROUGE-L": 7e-4}) == ", as when it was saved (0.0005)"
    config.decoder.dtype, config.evaluation.clip_text = "bfloat16", "hf:openai/clip"
    config.evaluation.beam, config.evaluation.search = 1, "huggingface"
    config.decoder.reading = "argmax"
    said = check_start(config, kept, {"ROUGE-L": 0.9})
    assert said.startswith("; not compared with the 0.2000 it was saved with: ")
    for change in (
        "decoder.reading was 'expected', is 'argmax'",
        "evaluation.search was 'beam', is 'huggingface'",
        "evaluation.beam was 2, is 1",
        "decoder.dtype was 'float32', is 'bfloat16'",
        "evaluation.clip_text was '', is 'hf:openai/clip'",
    ):
        assert change in said
    unscored = dataclasses.replace(captioner, card={})
    said = check_start(config, unscored, {"ROUGE-L": 0.9})
    assert said == "; not compared: runs/first does not say its own"


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


def test_a_penalty_is_taken_off_for_every_object_word_that_is_not_there():
    captions = [("a dog and a cat",), ("a man on a bench",), ("a dog on a bench",)]
    text = Vocabulary.build([each for own in captions for each in own])
    words = ObjectWords({(name,): (name,) for name in ("dog", "cat", "bench")} | {("man",): ()})
    shown = [frozenset({"dog"}), frozenset({"bench"}), None]
    said = ["a dog and a cat", "a man and a bench", "a dog on a dog"]
    wrong = [[1, 1, 0], [2, 0, 2], [0, 0, 0]]  # by hand; nobody knows what the last one shows
    rows = [text.encode(sentence) for sentence in said]
    lengths = np.tile([len(row) for row in rows], (3, 1))
    tokens = np.full((3, 3, lengths.max()), text.encode("cat")[0])  # beyond the end nothing counts
    for place, row in enumerate(rows):
        tokens[:, place, : len(row)] = row

    def plain(ids, tokens, lengths):
        return np.arange(9.0).reshape(3, 3)

    image_of = np.array([0, 0, 1, 2])
    reward = TruthfulReward(plain, 0.25, words, shown, image_of, text)
    found = reward(np.array([1, 2, 3]), tokens, lengths)
    np.testing.assert_array_equal(found, np.arange(9.0).reshape(3, 3) - 0.25 * np.array(wrong))


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    pytest.importorskip("tokenizers")
    return small_clip(tmp_path_factory.mktemp("clip"))


@pytest.mark.parametrize("over", ["mean", "max"])
def test_the_reward_may_be_the_similarity_to_the_references(clip, over):
    captions = [("A red square.", "the red square"), ("a blue circle",)]
    text = Vocabulary.build([each for own in captions for each in own])
    encoder = load_text_encoder(clip)
    reward = ClipReward(captions, np.array([0, 0, 1]), text, encoder, references=over)
    written = ["a red square", "blue circle"]
    tokens = np.full((2, 2, 6), text.eos)
    lengths = np.zeros((2, 2), int)
    for place, sentence in enumerate(written):
        ids = text.encode(sentence)
        tokens[:, place, : len(ids)] = ids
        lengths[:, place] = len(ids)
    found = reward(np.array([1, 2]), tokens, lengths)

    def cosine(one, other):
        left, right = encoder.encode([one])[0], encoder.encode([other])[0]
        return left @ right / np.linalg.norm(left) / np.linalg.norm(right)

    for image, references in enumerate((("a red square", "the red square"), ("a blue circle",))):
        for place, sentence in enumerate(written):
            cosines = [cosine(sentence, each) for each in references]
            expected = max(cosines) if over == "max" else np.mean(cosines)
            assert found[image, place] == pytest.approx(expected, abs=1e-5)
    if over == "max":
        assert found[0, 0] == pytest.approx(1.0, abs=1e-5)


def test_references_are_encoded_once(clip, monkeypatch):
    captions = [("a red square",), ("a blue circle",), ("a green star",)]
    text = Vocabulary.build([each for own in captions for each in own])
    encoder = load_text_encoder(clip)
    seen = []
    encode = type(encoder).encode
    monkeypatch.setattr(
        type(encoder), "encode", lambda self, texts: (seen.extend(texts), encode(self, texts))[1]
    )
    reward = ClipReward(captions, np.arange(3), text, encoder)
    tokens = np.tile(np.array(text.encode("a red circle")), (2, 1, 1))
    lengths = np.full((2, 1), 4)
    first = reward(np.array([0, 1]), tokens, lengths)
    second = reward(np.array([1, 0]), tokens, lengths)
    np.testing.assert_allclose(first, second[::-1], atol=1e-6)
    assert seen == ["a red square", "a blue circle", "a red circle", "a red circle"]


@pytest.mark.slow
def test_a_stage_of_clips_reward(source, clip, tmp_path):
    root, first = source
    stage = SelfCriticalConfig(samples=3, reward="CLIP", clip_text=str(clip))
    config = small(root, init_from=str(first), self_critical=stage)
    config.train.steps = 3
    run_experiment(config, tmp_path / "second")
    rewards = [row["reward"] for row in records(tmp_path / "second") if "reward" in row]
    assert len(rewards) == 3 and all(-1 <= reward <= 1 for reward in rewards)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"reward": "BLEU"}, "unknown self_critical.reward 'BLEU'; choose one of: CIDEr, CLIP"),
        ({"reward": "CLIP"}, "the reward 'CLIP' needs a CLIP"),
        ({"clip_text": "folder"}, "and no other does"),
        ({"clip_references": "sum"}, "unknown self_critical.clip_references 'sum'"),
        ({"hallucination_penalty": -1.0}, "hallucination_penalty is -1.0; expected 0 or more"),
        ({"samples": 0, "hallucination_penalty": 1.0}, "and self_critical.samples is 0"),
    ],
)
def test_the_settings_of_a_reward_are_checked(fields, message):
    with pytest.raises(ValueError, match=message):
        SelfCriticalConfig(**{"samples": 2, **fields}).check()


@pytest.mark.parametrize(
    ("part", "field", "value"),
    [
        ("loss", "doubly_stochastic", 1.0),
        ("loss", "label_smoothing", 0.1),
        ("loss", "lone_position", 0.5),
        ("loss", "scheduled_sampling", 0.2),
        ("train", "remat", True),
    ],
)
def test_what_the_stage_of_rewards_would_not_read_is_refused(tmp_path, part, field, value):
    config = small(tmp_path, self_critical=SelfCriticalConfig(samples=2))
    config.optimizer.encoder_learning_rate = 1e-3
    settings.resolve(config)
    setattr(getattr(config, part), field, value)
    with pytest.raises(ValueError, match=f"on a reward alone, without {part}.{field}={value}"):
        settings.resolve(config)


def test_settings_are_checked(tmp_path):
    config = small(tmp_path, self_critical=SelfCriticalConfig(samples=1))
    with pytest.raises(ValueError, match="2 or more"):
        settings.resolve(config)
