"""Words and phrases with their maps, and which frames matter to them."""

import dataclasses

import numpy as np
import pytest

from capjax.types import SentenceTarget
from capjax.viz import parts
from tests.viz.sentences import explained, single_cells

MAPS = single_cells((2, 0, 3), (0, 1, 2), (1, 3, 3), frames=3)


def test_words_then_phrases() -> None:
    relevance = np.array([[-3, -2, -1], [-1, -5, -6], [-2, -2, -4]], np.float32)
    both = parts.all_parts(explained("a red kite", MAPS, phrases=((1, 3),), frame_maps=relevance))
    assert both.labels == ("a", "red", "kite", "red kite") and both.frames == 3
    assert both.spans == ((0, 1), (1, 2), (2, 3), (1, 3))
    np.testing.assert_array_equal(both.relevance[3], relevance[1] + relevance[2])
    np.testing.assert_allclose(both.score, [-1, -2, -3, -5])
    np.testing.assert_array_equal(both.maps[3], MAPS[1] + MAPS[2])
    # In the order of time; of equal frames the earlier.
    assert both.most_relevant(1).tolist() == [[2], [0], [0], [0]]
    assert both.most_relevant(2).tolist() == [[1, 2], [0, 1], [0, 1], [0, 1]]
    assert both.most_relevant(9).tolist() == [[0, 1, 2]] * 4
    assert both.peak(0, 2) == (0, 3) and both.peak(0, 0) == (0, 0)


def test_relevance_of_frames_is_else_the_mean_of_their_maps() -> None:
    found = parts.all_parts(explained("a red kite", MAPS, phrases=((0, 2),)))
    expected = np.concatenate([MAPS, MAPS[:2].sum(axis=0, keepdims=True)]).mean(axis=(2, 3))
    np.testing.assert_allclose(found.relevance, expected, rtol=1e-6)
    assert parts.phrases(explained("a red kite", MAPS)).labels == ()


def test_other_targets_come_last_and_bring_scores_of_their_own() -> None:
    asked = (
        SentenceTarget("every “a”", (0, 2), -4.0),
        SentenceTarget("red rather than blue", (1,), 2.5, contrast=True),
    )
    whole = dataclasses.replace(
        explained("a red a", MAPS, phrases=((0, 2),)),
        targets=asked,
        target_maps=MAPS[:2] + 1,
        target_frames=np.ones((2, 3), np.float32),
    )
    found = parts.all_parts(whole)
    assert found.labels == ("a", "red", "a", "a red", "every “a”", "red rather than blue")
    assert found.spans[3:] == ((0, 2), (0, 1), (1, 2))
    np.testing.assert_allclose(found.score[3:], [-3, -4, 2.5])
    np.testing.assert_array_equal(found.maps[4:], MAPS[:2] + 1)
    np.testing.assert_array_equal(found.relevance[4:], 1)
    assert parts.in_figures(whole).labels == found.labels[3:]
    with pytest.raises(ValueError, match="for 2 targets"):
        parts.targets(dataclasses.replace(whole, target_maps=None))


def test_maps_that_do_not_fit_are_refused() -> None:
    whole = explained("a red kite", MAPS, phrases=((0, 2),))
    with pytest.raises(ValueError, match=r"for 1 phrases; expected \[1 F h w\]"):
        parts.phrases(dataclasses.replace(whole, phrase_maps=None))
    with pytest.raises(ValueError, match="one value a word and frame"):
        parts.words(dataclasses.replace(whole, frame_maps=np.zeros((3, 2))))
    with pytest.raises(ValueError, match="for 2 words"):
        parts.words(dataclasses.replace(whole, words=("a", "red")))
