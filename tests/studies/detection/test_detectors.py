"""AUC of numbers: separated ones, equal ones, and none to tell."""

import numpy as np
import pytest

from capjax.studies.detection.detectors import COMBINATION, separation_table, separations

EVERY = np.ones(12, bool)


def numbers(first, second):
    return [{"one": float(a), "other": float(b)} for a, b in zip(first, second, strict=True)]


def test_separated_numbers_are_told_and_equal_ones_are_not():
    draw = np.random.default_rng(0)
    noise = draw.normal(size=(3, 12))
    clean, attacked = numbers(noise[0], noise[1]), numbers(noise[2] + 20, noise[1])
    found = separations(clean, attacked, EVERY)
    assert found["one"]["value"] == found[COMBINATION]["value"] == 1
    assert found["other"] == {"value": 0.5, "interval": [0.5, 0.5]}
    same = separations(clean, clean, EVERY)
    assert [own["value"] for own in same.values()] == [0.5] * 3


def test_only_counted_pictures_are_told_and_none_is_said_to_be_none():
    clean, attacked = numbers(range(12), [0] * 12), numbers([-1] * 11 + [20], [0] * 12)
    found = separations(clean, attacked, np.arange(12) == 11)
    assert found["one"]["value"] == 1
    # Of one attacked picture nothing is left to fit where it is held out.
    assert found[COMBINATION]["value"] is None
    none = separations(clean, attacked, ~EVERY)
    assert all(own == {"value": None, "interval": [None, None]} for own in none.values())
    table = separation_table({"pgd": found}, {"pgd": 1})
    assert table.rows[0][:3] == ("pgd", "one", 1) and table.rows[0][-1] == 1
    assert table.to_csv().splitlines()[0] == "attack,number,AUC,from,to,attacked pictures"


def test_the_combination_is_fitted_without_the_picture_and_its_attacked_self():
    """A number that knows only which picture it is says nothing of others."""
    draw = np.random.default_rng(1)
    tag = draw.normal(size=40)
    clean, attacked = numbers(tag, tag), numbers(tag, tag)
    found = separations(clean, attacked, np.ones(40, bool))
    assert found[COMBINATION]["value"] == pytest.approx(0.5, abs=1e-12)
