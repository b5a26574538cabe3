"""Formulas of faithfulness against the reference's golden numbers, enumeration and closed forms."""

import itertools

import numpy as np
import pytest
from scipy.stats import spearmanr

from capjax.metrics import faithfulness as metric


def deletion_auc(weights, order):
    """Of an additive score: what is left of `weights` as they go in this order."""
    return float(metric.auc(np.sum(weights) - np.cumsum([0.0, *np.array(weights)[list(order)]])))


def order_of(values):
    return np.argsort(metric.removal_ranks(np.array(values)))


def test_auc_has_the_golden_value():
    assert metric.auc(np.array([1, 0.2, 0.1, 0])) == pytest.approx(0.266667, abs=1e-6)
    with pytest.raises(ValueError, match="curves of 1 points"):
        metric.auc(np.ones((3, 1)))


def test_the_perfect_map_deletes_best_of_all_orders():
    weights = (0.1, 0.2, 0.3, 0.4)  # G-20
    assert deletion_auc(weights, order_of(weights)) == pytest.approx(0.375)
    assert deletion_auc(weights, order_of([-w for w in weights])) == pytest.approx(0.625)
    six = np.random.default_rng(0).dirichlet(np.ones(6))
    every = [deletion_auc(six, order) for order in itertools.permutations(range(6))]
    assert deletion_auc(six, order_of(six)) == pytest.approx(min(every))
    backwards = order_of(six)[::-1]
    assert deletion_auc(six, backwards) == pytest.approx(max(every))
    assert deletion_auc(six, order_of(six)) + deletion_auc(six, backwards) == pytest.approx(1)


def test_equal_values_go_in_the_order_of_the_cells():
    ranks = metric.removal_ranks(np.array([[1.0, 2, 1, 2], [0, 0, 0, 0]]))
    np.testing.assert_array_equal(ranks, [[2, 0, 3, 1], [0, 1, 2, 3]])


def test_imputation_has_the_golden_value_and_keeps_constants_and_ramps():
    nine = np.arange(1.0, 10).reshape(3, 3, 1)
    centre = np.zeros((3, 3), bool)
    centre[1, 1] = True
    assert metric.linear_imputation(nine, centre)[1, 1, 0] == pytest.approx(5)  # G-24
    missing = np.random.default_rng(0).random((7, 8)) < 0.7
    constant = np.full((7, 8, 2), 0.3)
    np.testing.assert_allclose(metric.linear_imputation(constant, missing), constant)
    rows, columns = np.mgrid[:7, :8].astype(float)
    ramp = (2 * rows - 3 * columns)[..., None]
    inside = np.zeros((7, 8), bool)
    inside[1:-1, 1:-1] = True
    np.testing.assert_allclose(metric.linear_imputation(ramp, inside), ramp, atol=1e-9)


def test_a_missing_pixel_is_the_mean_of_its_neighbours_also_at_the_border():
    draw = np.random.default_rng(1)
    image, missing = draw.random((5, 6, 3)), draw.random((5, 6)) < 0.6
    filled = metric.linear_imputation(image, missing)
    np.testing.assert_array_equal(filled[~missing], image[~missing])
    for row, column in zip(*np.nonzero(missing), strict=True):
        total, weight = np.zeros(3), 0.0
        for down, across in itertools.product((-1, 0, 1), repeat=2):
            at = row + down, column + across
            if (down or across) and 0 <= at[0] < 5 and 0 <= at[1] < 6:
                own = 1 / 12 if down and across else 1 / 6
                total, weight = total + own * filled[at], weight + own
        np.testing.assert_allclose(filled[row, column], total / weight, atol=1e-9)
    again = [
        metric.linear_imputation(image, missing, noise=0.1, draw=np.random.default_rng(seed))
        for seed in (0, 0, 1)
    ]
    np.testing.assert_array_equal(again[0], again[1])
    assert 0.05 < np.std((again[2] - filled)[missing]) < 0.2
    with pytest.raises(ValueError, match="every pixel is missing"):
        metric.linear_imputation(image, np.ones((5, 6), bool))
    with pytest.raises(ValueError, match="pass draw"):
        metric.linear_imputation(image, missing, noise=0.1)


def test_infidelity_of_a_linear_score_with_its_gradient_is_zero():
    draw = np.random.default_rng(2)
    slope, moves = draw.normal(size=9), draw.normal(size=(40, 9))
    changes = moves @ slope
    assert metric.infidelity(slope, moves, changes) == pytest.approx(0)
    wrong = slope + np.eye(9)[0]
    assert metric.infidelity(wrong, moves, changes) == pytest.approx(np.mean(moves[:, 0] ** 2))


def test_infidelity_of_maps_of_any_unit_is_that_of_their_best_factor():
    draw = np.random.default_rng(2)
    maps, masks = draw.normal(size=(2, 5)), (draw.random((30, 5)) < 0.5).astype(float)
    maps[1] = 0
    changes = draw.normal(size=(2, 30))
    found = metric.scaled_infidelity(1e-3 * maps, masks, changes)
    near = min(metric.infidelity(a * maps[0], masks, changes[0]) for a in np.linspace(-2, 2, 4001))
    np.testing.assert_allclose(found, [near, np.mean(changes[1] ** 2)], rtol=1e-6)


def test_relative_infidelity_knows_no_unit_and_no_zero_and_rewards_no_size():
    draw = np.random.default_rng(3)
    slope, masks = draw.normal(size=30), (draw.random((400, 30)) < 0.5).astype(float)
    changes = masks @ slope
    maps = np.stack([slope, 7 * slope - 3, -slope, np.full(30, 2.0), draw.random(30)])
    found = metric.relative_infidelity(maps, masks, np.stack([changes] * 5))
    np.testing.assert_allclose(found[:4], [0, 0, 1, 1], atol=1e-9)
    assert 0.7 < found[4] <= 1
    assert metric.relative_infidelity(slope, masks, np.zeros(400)) == 0


def test_max_sensitivity_is_the_largest_share():
    maps = np.array([[3.0, 4], [0, 0], [0, 0]])
    near = np.array([[[3, 4.5], [0, 0], [0, 1]], [[4, 4], [0, 0], [0, 0]]])
    np.testing.assert_allclose(metric.max_sensitivity(maps, near), [0.2, 0, np.inf])


def test_sparsity_and_entropy_have_closed_forms():
    maps = np.array([[1.0, -1, 1, 1], [0, -2, 0, 0], [0, 0, 0, 0], [1, 3, 0, 0]])
    # By the definition: mean absolute difference over twice the mean.
    sizes = np.abs(maps[3])
    literal = np.abs(sizes[:, None] - sizes).mean() / 2 / sizes.mean()
    np.testing.assert_allclose(metric.gini(maps), [0, 0.75, 0, literal])
    quarter = -(np.log(0.25) * 0.25 + np.log(0.75) * 0.75) / np.log(4)
    np.testing.assert_allclose(metric.map_entropy(maps), [1, 0, 1, quarter])


def test_rank_correlation_is_spearmans():
    one = np.array([3, 1, 4, 1.5, 5, 9, 2, 6])  # G-29
    other = np.array([2, 7, 1, 8, 2.5, 8.5, 1.7, 3])
    assert metric.rank_correlation(one, other) == pytest.approx(0.095238, abs=1e-6)
    ties = np.array([1.0, 1, 2, 3, 3, 3, 0, 1])
    assert metric.rank_correlation(one, ties) == pytest.approx(spearmanr(one, ties).statistic)
    flat = np.zeros(8)
    assert metric.rank_correlation(flat, one) == 0 and metric.rank_correlation(flat, flat) == 1


def test_words_differ_as_much_as_their_orders():
    up = np.arange(6.0)
    assert metric.words_distance(np.stack([up, up**3])) == pytest.approx(0)
    assert metric.words_distance(np.stack([up, -up, up])) == pytest.approx(4 / 3)
    assert np.isnan(metric.words_distance(up[None]))


def test_structural_similarity_is_that_of_its_paper():
    draw = np.random.default_rng(4)
    one, other = draw.random((2, 6, 7))
    assert metric.structural_similarity(one, 5 * one - 2) == pytest.approx(1)
    first, second = ((m - m.min()) / np.ptp(m) for m in (one, other))
    places = np.arange(-5, 6)  # within 3.5 deviations
    kernel = np.exp(-(places**2) / (2 * 1.5**2))
    weights = np.outer(kernel, kernel) / kernel.sum() ** 2
    padded = [np.pad(m, 5, mode="symmetric") for m in (first, second)]
    values = []
    for row, column in np.ndindex(6, 7):
        x, y = (m[row : row + 11, column : column + 11] for m in padded)
        mean_x, mean_y = np.sum(weights * x), np.sum(weights * y)
        spread = [np.sum(weights * m * m) - mean**2 for m, mean in ((x, mean_x), (y, mean_y))]
        common = np.sum(weights * x * y) - mean_x * mean_y
        top = (2 * mean_x * mean_y + 1e-4) * (2 * common + 9e-4)
        values.append(top / (mean_x**2 + mean_y**2 + 1e-4) / (sum(spread) + 9e-4))
    assert metric.structural_similarity(one, other) == pytest.approx(np.mean(values))
