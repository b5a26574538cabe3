"""AUC by all pairs."""

import numpy as np
import pytest

from capjax.metrics.separation import auc


def test_auc_is_that_of_all_pairs_with_ties_and_weights():
    draw = np.random.default_rng(0)
    scores, truth = np.round(draw.normal(size=80), 1), draw.integers(0, 2, 80).astype(float)
    good, bad = scores[truth == 1], scores[truth == 0]
    pairs = np.mean((good[:, None] > bad) + 0.5 * (good[:, None] == bad))
    assert auc(scores, truth)[0] == pytest.approx(pairs)
    weights = draw.integers(0, 3, (1, 80)).astype(float)
    repeated = np.repeat(np.arange(80), weights[0].astype(int))
    found = auc(scores, truth, weights)[0]
    assert found == pytest.approx(auc(scores[repeated], truth[repeated])[0])
    assert np.isnan(auc(scores, np.ones(80))[0])
