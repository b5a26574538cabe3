"""Where maps lie, against closed forms and scipy."""

import numpy as np
import pytest
from scipy import stats

from capjax.metrics.corpus.places import (
    bias,
    border_weights,
    centre_weights,
    distances,
    rank_correlations,
)


@pytest.mark.parametrize("grid", [(1, 1), (2, 3), (7, 7), (14, 9), (3, 4)])
def test_a_uniform_map_has_no_bias(grid):
    uniform = np.full(grid, 1 / np.prod(grid))
    assert centre_weights(grid).mean() == pytest.approx(0.25)
    assert bias(uniform, centre_weights(grid)) == pytest.approx(1)
    assert bias(uniform, border_weights(grid)) == pytest.approx(1)


def test_all_in_the_middle_is_four_times_uniform_and_nothing_at_the_border():
    middle = np.zeros((5, 5))
    middle[2, 2] = 1
    assert bias(middle, centre_weights((5, 5))) == pytest.approx(4)
    assert bias(middle, border_weights((5, 5))) == 0
    corner = np.roll(middle, (2, 2), (0, 1))
    assert bias(corner, centre_weights((5, 5))) == 0
    assert bias(corner, border_weights((5, 5))) == pytest.approx(25 / 16)


def test_distances_and_correlations_are_those_of_scipy():
    draw = np.random.default_rng(0)
    one, other = draw.dirichlet(np.ones(6), (2, 4))
    other[1, :3] = other[1, 0]  # ties
    expected = [stats.spearmanr(a, b).statistic for a, b in zip(one, other, strict=True)]
    np.testing.assert_allclose(rank_correlations(one, other), expected)
    assert np.isnan(rank_correlations(np.ones((1, 6)), other[:1])).all()
    apart = distances(one, other)
    assert apart[2, 3] == pytest.approx(np.maximum(one[2] - other[3], 0).sum())
    assert distances(np.eye(2), np.eye(2)) == pytest.approx(1 - np.eye(2))
