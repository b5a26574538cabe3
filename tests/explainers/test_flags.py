"""Flags of maps whose entropy and distances are known."""

import json

import numpy as np
import pytest

from capjax.explainers.flags import reading_flags


def one_cell(*cells):
    maps = np.zeros((len(cells), 1, 2, 2), np.float32)
    for row, cell in enumerate(cells):
        maps[row].flat[cell] = 1
    return maps


def test_single_cells():
    flags = reading_flags(one_cell(0, 3))
    assert flags["entropy"] == [0, 0]
    assert flags["mean_distance"] == 1
    assert not flags["flat"] and not flags["degenerate"]
    assert (flags["minimum"], flags["maximum"]) == (0, 1)


def test_the_same_map_for_every_word_is_flat():
    flags = reading_flags(one_cell(2, 2, 2))
    assert flags["mean_distance"] == 0 and flags["flat"]


def test_one_word_alone_is_not_flat():
    assert not reading_flags(one_cell(1))["flat"]


def test_uniform_maps_are_degenerate_and_flat():
    flags = reading_flags(np.full((2, 1, 2, 2), 0.25, np.float32))
    assert flags["entropy"] == pytest.approx([1, 1])
    assert flags["degenerate_words"] == [0, 1] and flags["degenerate"] and flags["flat"]


def test_all_zero_maps_do_not_divide_by_zero():
    flags = reading_flags(np.zeros((2, 1, 3, 3), np.float32))
    assert flags["degenerate"] and flags["entropy"] == [0, 0]


def test_signs_count_in_distances():
    # Opposite maps: |p - (-p)| sums to 2, half of it is 1.
    maps = np.array([[0.5, -0.5], [-0.5, 0.5]], np.float32).reshape(2, 1, 1, 2)
    assert reading_flags(maps)["mean_distance"] == 1


def test_no_word_and_plain_json():
    assert reading_flags(np.zeros((0, 1, 2, 2), np.float32))["flat"] is False
    json.dumps(reading_flags(one_cell(0, 1)))


def test_log_probabilities_are_read_as_probabilities():
    """A word near zero everywhere is spread out, one that a single cell says is not."""
    everywhere = np.array([[-0.001, -0.0011], [-0.0009, -0.01]])
    one = np.array([[-20.0, -20.0], [-1.0, -20.0]])
    flags = reading_flags(np.stack([everywhere, one])[:, None].astype(np.float32))
    assert flags["entropy"][0] > 0.999 and flags["entropy"][1] < 1e-3
    assert flags["mean_distance"] == pytest.approx(0.75, abs=0.01)
    assert (flags["minimum"], flags["maximum"]) == pytest.approx((-20, -0.0009))
