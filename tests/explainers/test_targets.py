"""Targets as padded arrays."""

import numpy as np
import pytest

from capjax.explainers.targets import Contrast, Keyword, Phrase, Sentence, Word, compile_targets
from capjax.types import NO_TOKEN


def test_targets_become_padded_arrays():
    weights, alternatives = compile_targets(
        [
            [Word(0), Phrase(1, 3)],
            [Sentence()],
            [Contrast(1, 9)],
            [None, Keyword(((0, 1), (2, 4)))],
        ],
        lengths=[3, 2, 2, 4],
        padded=4,
    )
    np.testing.assert_array_equal(
        weights,
        [
            [[1, 0, 0, 0], [0, 1, 1, 0]],
            [[1, 1, 0, 0], [0, 0, 0, 0]],
            [[0, 1, 0, 0], [0, 0, 0, 0]],
            [[0, 0, 0, 0], [1, 0, 1, 1]],
        ],
    )
    assert alternatives[2, 0].tolist() == [NO_TOKEN, 9, NO_TOKEN, NO_TOKEN]
    assert (alternatives[[0, 1, 3]] == NO_TOKEN).all()


def test_a_target_outside_the_caption_is_named():
    with pytest.raises(ValueError, match=r"tokens 3\.\.3 are outside a caption of 3 tokens"):
        compile_targets([[Word(3)]], lengths=[3], padded=5)
