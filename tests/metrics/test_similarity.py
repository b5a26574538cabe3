"""The validation score "CLIP-text", by a small seeded CLIP."""

import json

import numpy as np
import pytest

from capjax.config import experiment as settings
from capjax.experiment import run_experiment
from capjax.experiment.run import FINAL_FILE
from capjax.metrics.similarity import CaptionSimilarity, load_clip
from capjax.train.records import read_metrics
from tests.text.small_clip import small_clip
from tests.train.test_experiment import tiny
from tests.train.tiny import write_dataset

pytest.importorskip("tokenizers")
REFERENCES = (("A red square.", "there is a red square"), ("A green thing!",))


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return small_clip(tmp_path_factory.mktemp("clip"))


def cosine(encoder, one, other):
    a, b = (encoder.encode([text])[0].astype(np.float64) for text in (one, other))
    return a @ b / np.sqrt((a @ a) * (b @ b))


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
