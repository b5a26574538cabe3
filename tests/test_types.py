"""The contracts: features, and geometry at odd sizes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from capjax.types import Features, Geometry, Preprocessing


def grid_features():
    values = np.arange(2 * 3 * 4 * 2, dtype=np.float32).reshape(2, 3, 4, 2)
    return values, Features.from_grid(jnp.asarray(values))


def test_positions_are_row_major():
    values, features = grid_features()
    assert features.grid == (3, 4)
    np.testing.assert_array_equal(features.positions[1, 0, 1 * 4 + 2], values[1, 1, 2])


def test_pooled_is_the_mean_over_valid_positions_only():
    values, features = grid_features()
    np.testing.assert_allclose(features.pooled, values.mean((1, 2)))
    valid = np.zeros((2, 1, 12), bool)
    valid[:, 0, 5] = True
    np.testing.assert_allclose(features.replace(valid=jnp.asarray(valid)).pooled, values[:, 1, 1])


def test_only_keeps_one_position_and_drops_the_rest():
    values, features = grid_features()
    features = features.replace(extra=jnp.ones((2, 1, 2)))
    for index in range(12):
        one = jax.jit(lambda p: features.only(0, p))(index)
        assert one.positions.shape == (2, 1, 1, 2)
        assert one.extra.shape == (2, 0, 2)
        np.testing.assert_array_equal(one.pooled, values.reshape(2, 12, 2)[:, index])


def test_only_gradient_reaches_one_position():
    _, features = grid_features()

    def total(positions):
        return features.replace(positions=positions).only(0, 7).pooled.sum()

    gradient = np.asarray(jax.grad(total)(features.positions))
    assert np.flatnonzero(gradient.sum((0, 1, 3))).tolist() == [7]


SIZES = [(300, 400), (123, 457), (640, 97), (224, 224)]


@pytest.mark.parametrize("original", SIZES)
@pytest.mark.parametrize(
    "preprocessing",
    [
        Preprocessing((224, 224)),
        Preprocessing((96, 128)),
        Preprocessing((224, 224), resize="crop", shorter=256),
    ],
)
def test_cells_and_pixels_agree(original, preprocessing):
    geometry = preprocessing.geometry(original, (7, 5))
    for row in range(7):
        for column in range(5):
            x0, y0, x1, y1 = geometry.cell_box(row, column)
            centre = ((x0 + x1) / 2, (y0 + y1) / 2)
            assert geometry.pixel_to_cell(*centre) == (row, column)
            assert geometry.pixel_to_cell(x0 + 1e-6, y0 + 1e-6) == (row, column)
            assert geometry.pixel_to_cell(x1 - 1e-6, y1 - 1e-6) == (row, column)


def test_squash_covers_the_whole_photograph():
    geometry = Preprocessing((224, 224)).geometry((300, 400), (14, 14))
    assert geometry.cell_box(0, 0)[:2] == (0.0, 0.0)
    np.testing.assert_allclose(geometry.cell_box(13, 13)[2:], (400, 300))


def test_crop_leaves_the_borders_unseen():
    geometry = Preprocessing((224, 224), resize="crop", shorter=256).geometry((256, 512), (2, 2))
    assert geometry.crop == (16, 144, 224, 224)
    assert geometry.pixel_to_cell(143.9, 100) is None
    assert geometry.pixel_to_cell(144.1, 15.9) is None
    assert geometry.pixel_to_cell(144.1, 16.1) == (0, 0)
    assert geometry.pixel_to_cell(367.9, 239.9) == (1, 1)


@pytest.mark.parametrize("original", SIZES)
def test_grid_coordinates_are_integers_at_cell_centres(original):
    geometry = Preprocessing((224, 224)).geometry(original, (7, 5))
    rows, columns = geometry.grid_coordinates()
    assert rows.shape == (original[0],)
    assert columns.shape == (original[1],)
    for row in range(7):
        x0, y0, x1, y1 = geometry.cell_box(row, 0)
        centre = (y0 + y1) / 2 - 0.5  # index of the pixel whose centre lies there
        np.testing.assert_allclose(np.interp(centre, np.arange(original[0]), rows), row, atol=1e-9)


def test_geometry_survives_json():
    geometry = Preprocessing((224, 224), resize="crop", shorter=256).geometry((256, 512), (2, 2))
    assert Geometry.from_json(geometry.to_json()) == geometry


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"resize": "pad"}, "unknown resize 'pad'"),
        ({"resample": "nearest"}, "unknown resample 'nearest'"),
        ({"resize": "crop"}, "needs shorter >= 224; got shorter=None"),
    ],
)
def test_bad_preprocessing_is_named(fields, text):
    with pytest.raises(ValueError, match=text):
        Preprocessing((224, 224), **fields)
