"""Shares of images, against scipy's tests, closed forms and brute force."""

import itertools

import numpy as np
import pytest
from scipy import stats

from capjax.metrics.corpus.moments import Moments
from capjax.metrics.corpus.shares import above_half, holm, wilson


@pytest.mark.parametrize(("count", "of"), [(0, 1), (0, 12), (5, 12), (12, 12), (999, 1000)])
def test_wilson_and_the_sign_test_are_those_of_scipy(count, of):
    test = stats.binomtest(count, of, 0.5, alternative="greater")
    both = stats.binomtest(count, of).proportion_ci(0.95, "wilson")
    assert wilson(count, of) == pytest.approx((both.low, both.high), abs=1e-12)
    assert above_half([count], [of])[0] == pytest.approx(test.pvalue, rel=1e-9)


def test_wilson_refuses_what_is_no_share():
    with pytest.raises(ValueError, match="got 3 of 2 images"):
        wilson(3, 2)


def test_holm_is_the_closed_test_of_bonferroni():
    """A hypothesis falls when every set that holds it falls by Bonferroni: all sets are tried."""
    for p in np.random.default_rng(0).uniform(0, 0.2, (20, 5)):
        sets = [own for n in range(1, 6) for own in itertools.combinations(range(5), n)]
        expected = [
            max(min(1.0, len(own) * min(p[list(own)])) for own in sets if place in own)
            for place in range(5)
        ]
        np.testing.assert_allclose(holm(p), expected)
    assert holm([]).shape == (0,)


def test_moments_are_those_of_the_whole_list():
    values = np.random.default_rng(1).normal(1e6, 1.0, 500)
    moments = Moments()
    for value in values:
        moments.add(value)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert moments.mean == pytest.approx(values.mean(), rel=1e-12)
    assert moments.interval() == pytest.approx((expected.low, expected.high), rel=1e-12)
    assert np.isnan(Moments(1, 2.0).interval()).all()
