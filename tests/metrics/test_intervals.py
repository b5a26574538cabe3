"""Averages by hand; bootstrap intervals against the normal closed form and a literal one."""

import numpy as np
import pytest

from capjax.metrics.intervals import (
    bootstrap_intervals,
    drawn_weights,
    measured,
    summarise,
)


def test_interval_of_independent_items_is_that_of_the_normal_law():
    hits = np.random.default_rng(1).random(2000) < 0.3
    share = hits.mean()
    half = 1.96 * np.sqrt(share * (1 - share) / 2000)
    ((low, high),) = bootstrap_intervals(hits[None], range(2000), resamples=4000)
    assert low == pytest.approx(share - half, abs=0.1 * half)
    assert high == pytest.approx(share + half, abs=0.1 * half)


def test_items_of_one_image_count_as_one_draw():
    hits = np.random.default_rng(1).random(500) < 0.3
    ((low, high),) = bootstrap_intervals(hits[None], range(500), seed=2)
    copies = np.repeat(hits, 4)[None]
    together = bootstrap_intervals(copies, np.repeat(np.arange(500), 4).tolist(), seed=2)
    np.testing.assert_allclose(together, [[low, high]])
    ((apart_low, apart_high),) = bootstrap_intervals(copies, range(2000), seed=2)
    assert apart_high - apart_low < 0.6 * (high - low)


def test_same_as_drawing_images_one_by_one():
    generator = np.random.default_rng(3)
    images = [f"image {i}" for i in generator.integers(40, size=150)]
    scores = generator.random((2, 150))
    names = list(dict.fromkeys(images))
    means = []
    for _ in range(3000):
        drawn = generator.choice(len(names), size=len(names))
        items = [i for d in drawn for i in range(150) if images[i] == names[d]]
        means.append(scores[:, items].mean(axis=1))
    expected = np.percentile(means, [2.5, 97.5], axis=0).T
    found = bootstrap_intervals(scores, images, resamples=3000)
    np.testing.assert_allclose(found, expected, atol=0.005)
    np.testing.assert_array_equal(found, bootstrap_intervals(scores, images, resamples=3000))


def test_micro_macro_and_several_categories():
    summary = summarise(
        {"hit": [1, 0, 1, 1], "centre": [0, 0, 0, 1]},
        ["a", "a", "b", "c"],
        [("animals", "other"), ("animals",), ("people",), ("people",)],
        order=("people", "animals", "other", "scene"),
    )
    assert summary["hit"] == 0.75 and summary["centre"] == 0.25
    assert (summary["n"], summary["images"]) == (4, 3)
    assert list(summary["categories"]) == ["people", "animals", "other"]
    by_name = {name: own["hit"] for name, own in summary["categories"].items()}
    assert by_name == {"people": 1, "animals": 0.5, "other": 1}
    assert summary["macro"]["hit"] == pytest.approx(2.5 / 3)
    assert summary["categories"]["people"]["n"] == 2
    low, high = summary["interval"]["hit"]
    assert 0 <= low < 0.75 < high <= 1


def test_nothing_to_average_is_an_error():
    with pytest.raises(ValueError, match="at least one item"):
        bootstrap_intervals(np.zeros((1, 0)), [])


def test_whole_images_are_drawn(monkeypatch):
    images = ["a", "a", "b", "c"]
    at_once = drawn_weights(images, resamples=50)
    (weights,) = at_once.weights()
    np.testing.assert_array_equal(weights[:, 0], weights[:, 1])
    np.testing.assert_array_equal(weights[:, [0, 2, 3]].sum(axis=1), np.full(50, 3.0))
    values = np.array([0.0, 0, 1, 1])
    found = measured(lambda own: own @ values / own.sum(axis=1), at_once)
    monkeypatch.setattr("capjax.metrics.intervals.BLOCK", 17)
    drawn = drawn_weights(images, resamples=50)
    blocks = list(drawn.weights())
    assert max(own.size for own in blocks) <= 17 and drawn.counts.nbytes == 50 * 3 * 2
    np.testing.assert_array_equal(np.concatenate(blocks), weights)
    assert measured(lambda own: own @ values / own.sum(axis=1), drawn) == found
    assert found["value"] == 0.5 and found["interval"][0] < 0.5 < found["interval"][1]
