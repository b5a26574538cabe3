"""Two captioners whose sentences, and their embeddings, are known."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from capjax.evaluate.against.comparing import SENTENCE_BLEU, compare, paired
from capjax.evaluate.against.options import short_names
from capjax.evaluate.against.telling import format_comparison, image_rows
from capjax.metrics.captions import bleu_counts, score_captions, sentence_bleu
from capjax.metrics.intervals import difference, drawn_weights, measured, spearman
from capjax.metrics.similarity import CaptionSimilarity
from capjax.viz.scores.gallery import gallery

REFERENCES = (
    ("a man rides a red wave", "the man rides"),
    ("two dogs play with a ball",),
    ("a red bus",),
    ("a dog on the grass",),
)
KEYS = ("wave.jpg", "dogs.jpg", "bus.jpg", "grass.jpg")
RIGHT = tuple(own[0] for own in REFERENCES)
CONSTANT = ("a red bus",) * 4


class Counted:
    """An "encoder": each sentence lies on an axis of its own, so that cosines are 0 or 1."""

    name, net = "counted", None

    def encode(self, texts):
        known = [text for own in REFERENCES for text in own]
        return np.array([[float(text == other) for other in known] for text in texts], np.float32)


@pytest.fixture
def pair(monkeypatch):
    """One that repeats the first reference, and one that always says the same; without Java."""
    monkeypatch.setenv("PATH", "")
    similarity = CaptionSimilarity(Counted(), REFERENCES)
    return paired(KEYS, REFERENCES, {"right": RIGHT, "constant": CONSTANT}, similarity)


def test_scores_of_both_and_paired_differences(pair):
    scores = compare(pair)
    for side, said in (("model", RIGHT), ("against", CONSTANT)):
        corpus = score_captions(
            dict(enumerate(REFERENCES)), dict(enumerate(said)), metrics=("BLEU", "ROUGE-L", "CIDEr")
        )
        for name in ("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "ROUGE-L", "CIDEr"):
            assert scores["metrics"][name][side]["value"] == pytest.approx(corpus[name])
    bert = scores["metrics"]["BERT"]
    # The first caption equals one of its image's two references; the constant is right once in 4.
    assert bert["model"]["value"] == pytest.approx((1 / 2 + 3) / 4)
    assert bert["against"]["value"] == pytest.approx(1 / 4)
    gains = np.array([0.5, 1.0, 0.0, 1.0])
    assert bert["difference"]["value"] == pytest.approx(gains.mean())
    means = np.concatenate([own @ gains / 4 for own in drawn_weights(KEYS).weights()])
    assert bert["difference"]["interval"] == pytest.approx(np.percentile(means, [2.5, 97.5]))
    assert (scores["similarity"], scores["encoder"], scores["same"]) == ("BERT", "counted", 0.25)
    assert scores["distributions"]["BERT, each with the other"] == [0, 0, 0, 0.25, 1]
    assert any("METEOR is unavailable" in note for note in scores["notes"])


def test_a_captioner_against_itself_differs_by_nothing(monkeypatch):
    monkeypatch.setenv("PATH", "")
    scores = compare(paired(KEYS, REFERENCES, {"one": CONSTANT, "other": CONSTANT}))
    nothing = {"value": 0.0, "interval": [0.0, 0.0]}
    assert all(own["difference"] == nothing for own in scores["metrics"].values())
    assert scores["correlations"][f"{SENTENCE_BLEU} of both"]["value"] == pytest.approx(1)
    assert scores["same"] == 1 and scores["similarity"] is None
    assert any("--similarity=minilm" in note for note in scores["notes"])


def test_best_and_worst(pair):
    found = {one.heading: one.numbers for one in pair.extremes(5)}
    assert found == {
        "best of right": (1, 2),
        "worst of right": (0, 3),
        "best of constant": (2, 0),
        "worst of constant": (3, 1),
    }
    assert all(len(one.numbers) == 1 for one in pair.extremes(1))


def test_told_as_text_and_rows(pair):
    text = format_comparison(compare(pair), ("right", "constant"))
    assert "right against constant on 4 images" in text and "the same caption of 25%" in text
    assert "right - constant" in text and "BERT by counted" in text
    head, first, *_ = image_rows(pair)
    row = dict(zip(head, first, strict=True))
    assert row["model: caption"] == RIGHT[0] and row["against: caption"] == CONSTANT[0]
    which = [f"model: {name}, BERT by counted" for name in ("first", "mean", "best")]
    assert [row[name] for name in which] == [1, 0.5, 1]
    assert row["each with the other, BERT by counted"] == 0


@pytest.mark.parametrize(
    ("caption", "reference", "score"),
    [
        ("a dog runs", "a dog runs", 1),
        ("a dog runs", "a dog runs fast", np.exp(1 - 4 / 3)),
        ("a cat sits", "a dog runs", (1 / 3 * 1 / 3 * 1 / 2 * 1) ** (1 / 4)),
        ("two cats", "a dog runs", 0),
        ("", "a dog runs", 0),
    ],
)
def test_sentence_bleu_is_smoothed(caption, reference, score):
    assert sentence_bleu(bleu_counts([[reference]], [caption])) == pytest.approx(score)


def test_rank_correlation_of_weighted_items():
    """Golden G-29, and for whole weights that of the list with copies, ties and all."""
    one = np.array([3, 1, 4, 1.5, 5, 9, 2, 6])
    other = np.array([2, 7, 1, 8, 2.5, 8.5, 1.7, 3])
    assert spearman(one, other)(np.ones((1, 8))) == pytest.approx(0.095238, abs=1e-6)
    tied = np.array([1, 1, 2, 2, 2, 3, 4, 4.0])
    weights = np.random.default_rng(0).integers(0, 4, (5, 8))
    expected = [spearmanr(np.repeat(one, w), np.repeat(tied, w)).statistic for w in weights]
    np.testing.assert_allclose(spearman(one, tied)(weights.astype(float)), expected, atol=1e-12)
    assert np.isnan(spearman(one, np.ones(8))(np.ones((1, 8)))).all()
    same = measured(difference(spearman(one, tied), spearman(one, tied)), drawn_weights(range(8)))
    assert same == {"value": 0.0, "interval": [0.0, 0.0]}


@pytest.mark.parametrize(
    ("names", "short"),
    [
        (("runs/a/", "hf:owner/b"), ("a", "b")),
        (("runs/one/model", "runs/two/model"), ("runs/one/model", "runs/two/model")),
        (("photographs", "photographs"), ("photographs", "photographs (against)")),
    ],
)
def test_names_tell_the_two_apart(names, short):
    assert short_names(*names) == short


def test_a_gallery_needs_a_photograph():
    with pytest.raises(ValueError, match="no photograph"):
        gallery({}, title="", about="")
