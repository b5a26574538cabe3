"""Means over cells, against loops over pixels."""

import numpy as np
import pytest

from capjax.explainers.cells import on_cells
from capjax.types import Explanation, Preprocessing


def explanation(maps, **others):
    geometry = Preprocessing((60, 70)).geometry((120, 90), maps.shape[-2:])
    words = tuple(f"w{index}" for index in range(len(maps)))
    spans = tuple((index, index + 1) for index in range(len(maps)))
    return Explanation(maps, words, spans, np.zeros(len(maps)), "x", geometry, **others)


@pytest.mark.parametrize(
    ("fine", "coarse"), [((6, 8), (3, 4)), ((7, 10), (3, 4)), ((6, 4), (4, 4))]
)
def test_means_are_over_areas(fine, coarse):
    maps = np.random.default_rng(0).normal(size=(2, 3, *fine)).astype(np.float32)
    many = np.repeat(np.repeat(maps, coarse[0], axis=2), coarse[1], axis=3)
    shape = (2, 3, coarse[0], fine[0], coarse[1], fine[1])
    expected = many.reshape(shape).mean(axis=(3, 5))
    found = on_cells(
        explanation(maps, phrase_maps=maps[:1], phrases=((0, 2),), flags={"y": 1}), coarse
    )
    np.testing.assert_allclose(found.maps, expected, atol=1e-6)
    np.testing.assert_allclose(found.phrase_maps, expected[:1], atol=1e-6)
    assert found.geometry.grid == coarse and found.geometry.original == (120, 90)
    assert found.maps.dtype == np.float32
    assert found.flags["maximum"] == pytest.approx(expected.max(), abs=1e-6)
    assert found.flags["minimum"] == pytest.approx(expected.min(), abs=1e-6) and found.flags["y"]


def test_the_error_of_a_mean_is_that_of_values_that_err_together():
    draw = np.random.default_rng(0)
    shape = draw.uniform(1, 2, (1, 1, 4, 4))
    maps = shape * draw.normal(size=(4000, 1, 1, 1, 1))  # samples of a map
    ones = np.ones((1, 1, 4, 4), np.float32)
    found = on_cells(explanation(ones, error=shape.astype(np.float32)), (2, 2))
    means = maps.reshape(4000, 2, 2, 2, 2).mean(axis=(2, 4))
    np.testing.assert_allclose(found.error[0, 0], means.std(axis=0), rtol=0.05)


def test_what_is_no_finer_stays():
    own = explanation(np.ones((1, 1, 4, 4), np.float32))
    assert on_cells(own, (4, 4)) is own and on_cells(own, (8, 8)) is own
