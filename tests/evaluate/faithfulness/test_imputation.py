"""Imputation of many masks at once against a direct solution of each."""

import jax
import numpy as np

from capjax.evaluate.faithfulness.imputation import impute
from capjax.metrics.faithfulness import linear_imputation


def test_it_solves_what_a_direct_solver_solves():
    draw = np.random.default_rng(0)
    images = draw.uniform(-1, 1, (4, 25, 18, 3)).astype(np.float32)
    images[0] = 0.5
    rows, columns = np.mgrid[:25, :18] // 6
    cells = rows * 3 + columns
    missing = np.stack([np.isin(cells, draw.permutation(15)[:count]) for count in (12, 3, 9, 15)])
    missing[1, 10] = True
    run = jax.jit(impute)
    found = np.asarray(run(images, missing))
    np.testing.assert_allclose(found[0], 0.5, atol=5e-6)  # float32's rounding, step after step
    for row in (1, 2):
        exact = linear_imputation(images[row], missing[row])
        np.testing.assert_allclose(found[row], exact, atol=0.02)  # of values from -1 to 1
        np.testing.assert_array_equal(found[row][~missing[row]], images[row][~missing[row]])
    assert missing[3].all() and not found[3].any()
    turned = np.asarray(run(images[::-1].copy(), missing[::-1].copy()))
    np.testing.assert_allclose(turned[::-1], found, atol=1e-6)
