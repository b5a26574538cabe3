"""Groups against others: brute force over pairs, and values that nobody can tell apart."""

import numpy as np
import pytest

from capjax.metrics.corpus.groups import compare_groups


def test_above_is_the_share_of_pairs_and_a_moved_group_is_told():
    draw = np.random.default_rng(0)
    codes = draw.integers(-1, 3, 200)
    values = draw.normal(size=200).round(1) + 2.0 * (codes == 1)
    values[5] = np.nan
    found = compare_groups(values, codes, least=10)
    kept = np.isfinite(values) & (codes >= 0)
    for code, own in found.items():
        inside, others = values[kept & (codes == code)], values[kept & (codes != code)]
        over = (inside[:, None] > others) + 0.5 * (inside[:, None] == others)
        assert own.above == pytest.approx(over.mean())
        assert (own.mean, own.others) == pytest.approx((inside.mean(), others.mean()))
        assert own.low < own.mean < own.high and own.images == len(inside)
    assert found[1].p < 1e-9


def test_equal_values_tell_nothing_and_small_groups_are_left_out():
    codes = np.array([0] * 30 + [1] * 30 + [2] * 3)
    found = compare_groups(np.ones(63), codes, least=10)
    assert set(found) == {0, 1} and found[0].p == 1 and found[0].above == 0.5
