"""Pointing and attention correctness by hand: deltas, borders, unions, ties, crops."""

import itertools

import numpy as np
import pytest

from capjax.metrics.grounding import (
    attention_correctness,
    box_mask,
    central_crop,
    centre_hit,
    pointing_game,
    random_hit,
    temporal_pointing,
    temporal_random,
    uniform_correctness,
)
from capjax.ops.upsample import upsample
from capjax.types import Preprocessing

SIZE = (20, 30)
BOX = (10, 5, 14, 9)


def delta(row: int, column: int) -> np.ndarray:
    """A map of `SIZE` with one maximum."""
    map = np.zeros(SIZE)
    map[row, column] = 1.0
    return map


@pytest.mark.parametrize(
    ("row", "column", "hit"),
    [(7, 12, 1), (5, 10, 1), (9, 14, 1), (9, 15, 0), (10, 14, 0), (4, 10, 0), (5, 9, 0)],
)
def test_a_box_includes_both_its_ends(row, column, hit):
    assert pointing_game(delta(row, column), [BOX]) == hit
    assert box_mask([BOX], SIZE)[row, column] == hit


def test_a_box_reaches_the_last_pixel_of_the_image():
    corner = [(28, 18, 29, 19)]
    assert pointing_game(delta(19, 29), corner) == 1
    assert random_hit(SIZE, corner) == 4 / 600
    beyond = [(28, 18, 99, 99)]
    assert random_hit(SIZE, beyond) == uniform_correctness(SIZE, beyond) == 4 / 600


def test_any_of_two_boxes_is_hit_and_their_union_is_the_baseline():
    boxes = [(0, 0, 9, 9), (5, 5, 14, 14)]
    assert pointing_game(delta(2, 2), boxes) == pointing_game(delta(14, 14), boxes) == 1
    assert pointing_game(delta(2, 12), boxes) == 0
    assert random_hit(SIZE, boxes) == uniform_correctness(SIZE, boxes) == (100 + 100 - 25) / 600


@pytest.mark.parametrize(
    ("row", "column", "hit"),
    [
        (15, 10, 0),  # 15 pixels right of the box's last column: not less than 15
        (14, 10, 1),  # 14
        (10 + 9, 10 + 12, 0),  # (9, 12): exactly 15 from the corner
        (10 + 5, 10 + 14, 1),  # (5, 14): 14.87
    ],
)
def test_tolerance_is_a_disc_without_its_border(row, column, hit):
    map = np.zeros((40, 40))
    map[row, column] = 1.0
    box = [(0, 0, 10, 0)] if column == 10 else [(0, 0, 10, 10)]
    assert pointing_game(map, box, tolerance=15) == hit
    assert pointing_game(map, box) == 0


def test_tolerance_of_14_9_and_15_pixels():
    boxes = [(0, 0, 0, 0)]
    map = np.zeros((1, 20))
    map[0, 15] = 1.0
    assert pointing_game(map, boxes, tolerance=15) == 0
    assert pointing_game(map, boxes, tolerance=15.01) == 1
    assert pointing_game(map, boxes, tolerance=14.9) == 0


def test_baselines_with_tolerance_are_those_of_every_pixel():
    boxes = [BOX, (25, 0, 27, 3)]
    everywhere = [
        pointing_game(delta(row, column), boxes, tolerance=4)
        for row, column in itertools.product(*map(range, SIZE))
    ]
    assert random_hit(SIZE, boxes, tolerance=4) == pytest.approx(np.mean(everywhere))
    assert centre_hit(SIZE, boxes, tolerance=4) == everywhere[10 * 30 + 15] == 1
    assert centre_hit(SIZE, boxes) == 0
    assert centre_hit((19, 29), [(14, 9, 14, 9)]) == 1


def test_ties_take_the_first_row_by_row_or_the_mean_of_all():
    uniform = np.zeros(SIZE)
    assert pointing_game(uniform, [(0, 0, 4, 0)]) == 1
    assert pointing_game(uniform, [(1, 0, 4, 0)]) == 0
    assert pointing_game(uniform, [(1, 0, 4, 0)], ties="mean") == pytest.approx(4 / 600)
    two = delta(3, 20) + delta(7, 12)
    assert pointing_game(two, [BOX]) == 0
    assert pointing_game(two, [BOX], ties="mean") == 0.5


@pytest.mark.parametrize("resize", ["squash", "crop"])
def test_the_point_of_a_grid_is_the_maximum_of_its_upsampled_map(resize):
    """Compared with a search over the pixels; not at the border, where an upsampled map is flat."""
    shorter = None if resize == "squash" else 60
    geometry = Preprocessing((50, 50), resize, shorter).geometry((75, 125), (5, 5))
    for row, column in itertools.product(range(1, 4), repeat=2):
        cells = np.random.default_rng(0).random((5, 5))
        cells[row, column] = 2.0
        fine = upsample(cells, geometry)
        y, x = np.unravel_index(np.nanargmax(fine), fine.shape)
        near = [(x - 1, y - 1, x + 1, y + 1)]
        assert pointing_game(cells, near, geometry=geometry) == 1
        away = [(0, 0, x - 3, 74), (x + 3, 0, 124, 74), (0, 0, 124, y - 3), (0, y + 3, 124, 74)]
        assert pointing_game(cells, away, geometry=geometry) == 0


def test_a_cell_in_the_corner_points_at_its_own_centre():
    geometry = Preprocessing((40, 40)).geometry((40, 80), (2, 2))
    cells = np.zeros((2, 2))
    cells[0, 0] = 1
    assert pointing_game(cells, [(20, 10, 20, 10)], geometry=geometry) == 1
    assert pointing_game(upsample(cells, geometry), [(0, 0, 0, 0)]) == 1
    centres = [(20, 10, 20, 10), (60, 10, 60, 10), (60, 30, 60, 30)]
    flat = np.zeros((2, 2))
    assert pointing_game(flat, centres[:1], geometry=geometry) == 1
    assert pointing_game(flat, centres, geometry=geometry, ties="mean") == 0.75


def test_what_the_encoder_did_not_see_is_no_maximum():
    map = delta(7, 12)
    map[:, :10] = np.nan
    assert pointing_game(map, [BOX]) == 1
    assert attention_correctness(map[None], [BOX]) == 1
    with pytest.raises(ValueError, match="no value inside"):
        pointing_game(np.full(SIZE, np.nan), [BOX])


def test_correctness_by_hand():
    first, second = 3 * delta(7, 12) + delta(0, 0), delta(7, 12) + delta(0, 1)
    both = np.stack([first, second])
    assert attention_correctness(both, [BOX]) == pytest.approx(4 / 6)
    assert attention_correctness(both, [BOX], phrase="max") == pytest.approx(3 / 4)
    logs = np.log(both[:1] + 1e-30)
    assert attention_correctness(logs, [BOX], normalise="softmax") == pytest.approx(3 / 4)
    losses = -5 + 2 * both
    assert attention_correctness(losses, [BOX], normalise="span") == pytest.approx(4 / 6)


@pytest.mark.parametrize("normalise", ["sum", "span", "softmax"])
@pytest.mark.parametrize("phrase", ["sum", "max"])
def test_invariants_of_correctness(normalise, phrase):
    generator = np.random.default_rng(0)
    maps = generator.random((3, *SIZE))
    boxes = [(0, 0, 9, 9), (5, 5, 14, 14)]
    rule = {"phrase": phrase, "normalise": normalise}
    share = attention_correctness(maps, boxes, **rule)
    assert 0 < share < 1
    area = (100 + 100 - 25) / 600
    assert attention_correctness(np.full((3, *SIZE), 0.3), boxes, **rule) == pytest.approx(area)
    if normalise != "softmax":
        assert attention_correctness(7 * maps, boxes, **rule) == pytest.approx(share)
        within = maps * box_mask(boxes, SIZE)
        assert attention_correctness(within, boxes, **rule) == pytest.approx(1)
    else:
        assert attention_correctness(maps - 100, boxes, **rule) == pytest.approx(share)
    assert attention_correctness(maps, [*boxes, boxes[0]], **rule) == pytest.approx(share)


def test_central_crop_by_hand():
    # 300 x 200: the square [50, 250) is scaled by 256 / 200 and loses 16 pixels on each side.
    assert central_crop([(0, 0, 299, 199)], (200, 300), display=224) == ((0, 0, 223, 223),)
    # Edges (100, 50) and (151, 101): x' = (x - 50) 1.28 - 16, y' = 1.28 y - 16: (48, 48) to
    # (113.28, 113.28): the pixels 48 to 112.
    assert central_crop([(100, 50, 150, 100)], (200, 300), display=224) == ((48, 48, 112, 112),)
    # Twice the size: (96, 96) to (226.56, 226.56): the last pixel's centre 226.5 is within.
    assert central_crop([(100, 50, 150, 100)], (200, 300), display=448) == ((96, 96, 226, 226),)
    # Left of the crop, and half of it in: edges 40 and 80 become -28.8 and 22.4.
    assert central_crop([(0, 0, 61, 199)], (200, 300), display=224) == ()
    half = central_crop([(40, 50, 79, 100)], (200, 300), display=224)
    assert half == ((0, 48, 21, 112),)
    # Portrait: the square is [0, 200) x [50, 250).
    assert central_crop([(50, 100, 100, 150)], (300, 200), display=224) == ((48, 48, 112, 112),)


def test_temporal_pointing():
    relevance = np.array([0.1, 0.7, 0.7, 0.2])
    assert temporal_pointing(relevance, 1, 2) == 1
    assert temporal_pointing(relevance, 2, 4) == 0
    assert temporal_random(4, 1, 4) == 0.75
    with pytest.raises(ValueError, match=r"frames 2..4 .* 4 frames"):
        temporal_pointing(relevance, 2, 5)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: pointing_game(delta(0, 0), []), "no box"),
        (lambda: attention_correctness(delta(0, 0)[None], []), "no box"),
        (lambda: pointing_game(delta(0, 0), [BOX], ties="last"), "choose 'first' or 'mean'"),
        (lambda: attention_correctness(-delta(0, 0)[None], [BOX]), "negative values"),
        (lambda: attention_correctness(delta(0, 0)[None], [BOX], phrase="or"), "'sum' or 'max'"),
        (lambda: attention_correctness(delta(0, 0)[None], [BOX], normalise="no"), "'softmax'"),
    ],
)
def test_wrong_arguments_are_explained(call, text):
    with pytest.raises(ValueError, match=text):
        call()
