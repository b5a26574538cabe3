"""Upsampling against literal interpolation and SciPy's blur; colour bars; colours over pixels."""

import numpy as np
import pytest
import scipy.ndimage
from PIL import Image

from capjax.ops.upsample import ARCTIC_SMOOTHING, SGRVINOD_SMOOTHING
from capjax.types import Geometry, Preprocessing
from capjax.viz import colour_bars, levels, paint, upsample
from capjax.viz.colormaps import STOPS, colour_table

SQUASH = Preprocessing((64, 64))
CROP = Preprocessing((64, 64), "crop", shorter=72)
GEOMETRIES = {
    "landscape": SQUASH.geometry((60, 100), (4, 4)),
    "portrait": SQUASH.geometry((101, 57), (4, 4)),
    "enlarged": SQUASH.geometry((33, 20), (3, 3)),
    "cropped landscape": CROP.geometry((60, 100), (4, 4)),
    "cropped portrait": CROP.geometry((120, 70), (4, 4)),
    "non-square grid": Preprocessing((64, 96)).geometry((80, 50), (2, 5)),
}


def whole(height: int, width: int, grid: tuple[int, int]) -> Geometry:
    """A grid that covers an image of this size, nothing resized or cropped."""
    return Geometry((height, width), (height, width), (0, 0, height, width), grid)


def literal(cells: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Bilinear interpolation pixel by pixel, from the definition of the resize and the crop."""
    (height, width), (rows, columns) = geometry.original, cells.shape
    top, left, crop_height, crop_width = geometry.crop
    out = np.full((height, width), np.nan)
    for y in range(height):
        for x in range(width):
            v = (y + 0.5) / height * geometry.resized[0] - top  # in pixels of the crop
            u = (x + 0.5) / width * geometry.resized[1] - left
            if not (0 <= v <= crop_height and 0 <= u <= crop_width):
                continue
            row = min(max(v / crop_height * rows - 0.5, 0), rows - 1)
            column = min(max(u / crop_width * columns - 0.5, 0), columns - 1)
            i, j = int(row), int(column)
            i2, j2 = min(i + 1, rows - 1), min(j + 1, columns - 1)
            f, g = row - i, column - j
            above = cells[i, j] * (1 - g) + cells[i, j2] * g
            below = cells[i2, j] * (1 - g) + cells[i2, j2] * g
            out[y, x] = above * (1 - f) + below * f
    return out


@pytest.mark.parametrize("name", GEOMETRIES)
def test_same_as_literal_interpolation(name: str) -> None:
    geometry = GEOMETRIES[name]
    maps = np.random.default_rng(0).normal(size=(2, *geometry.grid))
    fine = upsample(maps, geometry)
    assert fine.shape == (2, *geometry.original)
    for own, expected in zip(fine, maps, strict=True):
        np.testing.assert_allclose(own, literal(expected, geometry), atol=1e-5)


def test_golden_two_by_two() -> None:
    expected = [
        [0, 0.25, 0.75, 1],
        [0.5, 0.75, 1.25, 1.5],
        [1.5, 1.75, 2.25, 2.5],
        [2, 2.25, 2.75, 3],
    ]
    fine = upsample(np.array([[0.0, 1.0], [2.0, 3.0]]), whole(4, 4, (2, 2)))
    np.testing.assert_allclose(fine, expected, atol=1e-6)


@pytest.mark.parametrize("smooth", [0.0, SGRVINOD_SMOOTHING, 0.5])
@pytest.mark.parametrize("name", GEOMETRIES)
def test_a_single_cell_lands_on_its_own_pixels(name: str, smooth: float) -> None:
    geometry = GEOMETRIES[name]
    for row, column in np.ndindex(*geometry.grid):
        cells = np.zeros(geometry.grid)
        cells[row, column] = 1.0
        fine = upsample(cells, geometry, smooth=smooth)
        y, x = np.unravel_index(np.nanargmax(fine), fine.shape)
        x0, y0, x1, y1 = geometry.cell_box(row, column)
        assert x0 <= x + 0.5 <= x1 and y0 <= y + 0.5 <= y1


@pytest.mark.parametrize("name", GEOMETRIES)
def test_nothing_is_drawn_where_the_encoder_saw_nothing(name: str) -> None:
    geometry = GEOMETRIES[name]
    fine = upsample(np.ones(geometry.grid), geometry)
    for (y, x), value in np.ndenumerate(fine):
        assert np.isnan(value) == (geometry.pixel_to_cell(x + 0.5, y + 0.5) is None)


def test_a_smaller_copy_of_the_photograph() -> None:
    """Each pixel of a copy at half size is the mean of the four it replaces."""
    geometry = CROP.geometry((120, 200), (4, 4))
    cells = np.add.outer(np.arange(4.0), 3 * np.arange(4.0))  # linear, so that the mean is exact
    large, small = upsample(cells, geometry), upsample(cells, geometry, size=(60, 100))
    mean = large.reshape(60, 2, 100, 2).mean((1, 3))
    inner = (slice(12, 48), slice(40, 60))
    np.testing.assert_allclose(small[inner], mean[inner], atol=1e-4)


@pytest.mark.parametrize("smooth", [0.0, SGRVINOD_SMOOTHING, 0.6])
def test_mass_of_a_centred_blob_is_kept(smooth: float) -> None:
    cells = np.zeros((9, 7))
    cells[3:6, 2:5] = [[1, 2, 1], [2, 5, 3], [0, 1, 1]]
    fine = upsample(cells, whole(9 * 8, 7 * 8, (9, 7)), smooth=smooth)
    np.testing.assert_allclose(fine.sum() / 64, cells.sum(), rtol=1e-3)


def test_blur_is_that_of_the_published_figures() -> None:
    """Upscaled 16 times and blurred with sigma = 20 pixels, reflected at the border."""
    cells = np.random.default_rng(1).random((5, 7))
    geometry = whole(5 * 16, 7 * 16, (5, 7))
    expected = scipy.ndimage.gaussian_filter(literal(cells, geometry), 20, mode="reflect")
    np.testing.assert_allclose(
        upsample(cells, geometry, smooth=ARCTIC_SMOOTHING), expected, atol=1e-5
    )


def test_maps_of_another_grid_are_refused() -> None:
    with pytest.raises(ValueError, match=r"grid is \(4, 4\)"):
        upsample(np.zeros((2, 4, 5)), GEOMETRIES["landscape"])


def test_bars_of_each_scope() -> None:
    maps = np.array([[[0.1, 0.2]], [[0.3, 0.7]]], np.float32)
    word = colour_bars(maps, "word")
    np.testing.assert_allclose([word.low, word.high], [[0.1, 0.3], [0.2, 0.7]])
    sentence = colour_bars(maps, "sentence")
    np.testing.assert_allclose([sentence.low, sentence.high], [[0.1, 0.1], [0.7, 0.7]])
    raw = colour_bars(maps, "raw")
    np.testing.assert_allclose([raw.low, raw.high], [[0, 0], [0.7, 0.7]])
    run = colour_bars(maps, "raw", limits=(0.0, 2.0))
    np.testing.assert_allclose(levels(maps, run), maps / 2)
    np.testing.assert_allclose(levels(maps, word), [[[0, 1]], [[0, 1]]], atol=1e-6)
    with pytest.raises(ValueError, match="unknown scope 'image'"):
        colour_bars(maps, "image")  # type: ignore[arg-type]


def test_signed_bars_have_zero_in_the_middle() -> None:
    maps = np.array([[[-1.0, 0.0, 3.0]], [[0.5, 1.0, 0.0]]], np.float32)
    bars = colour_bars(maps, "word")
    assert bars.signed
    np.testing.assert_allclose([bars.low, bars.high], [[-3, -1], [3, 1]])
    np.testing.assert_allclose(levels(maps, bars), [[[1 / 3, 0.5, 1]], [[0.75, 1, 0.5]]], atol=1e-6)


@pytest.mark.parametrize("scope", ["word", "sentence", "raw"])
def test_maps_of_one_sign_span_their_own_values(scope: str) -> None:
    """Log-probabilities are no evidence against a word: none is drawn in blue."""
    maps = np.array([[[-9.0, -3.0]], [[-2.0, -1.0]]], np.float32)
    bars = colour_bars(maps, scope)  # type: ignore[arg-type]
    assert not bars.signed and not bars.degenerate.any()
    ends = {
        "word": ([-9, -2], [-3, -1]),
        "sentence": ([-9, -9], [-1, -1]),
        "raw": ([-9] * 2, [0] * 2),
    }
    np.testing.assert_allclose((bars.low, bars.high), ends[scope])
    assert not colour_bars(np.append(maps, [[[1e-7, -1.0]]], axis=0)).signed  # rounding above zero
    assert colour_bars(np.append(maps, [[[0.1, -1.0]]], axis=0)).signed
    assert not colour_bars(np.maximum(-maps, 0)).signed
    # A scale for a whole run is signed when the run is, whatever these maps are.
    assert colour_bars(maps, "raw", limits=(-9.0, 2.0)).signed


@pytest.mark.parametrize("smooth", [0.0, ARCTIC_SMOOTHING])
def test_maps_without_contrast_are_flagged(smooth: float) -> None:
    noise = np.random.default_rng(0).normal(size=(3, 3))
    maps = np.stack(
        [
            np.full((3, 3), 1 / 9),
            np.zeros((3, 3)),
            (1 + 1e-7 * noise) / 9,  # what a softmax of equal scores looks like
            np.arange(9.0).reshape(3, 3),
            np.full((3, 3), np.nan),
            np.array([[np.inf, 0, 0]] * 3),
        ]
    )
    fine = upsample(maps[:4], whole(48, 48, (3, 3)), smooth=smooth)
    assert colour_bars(fine).degenerate.tolist() == [True, True, True, False]
    bars = colour_bars(maps)
    assert bars.degenerate.tolist() == [True, True, True, False, True, True]
    assert np.isfinite(levels(maps, bars)[:4]).all()
    # Among other words a constant map has a place on the common bar.
    assert colour_bars(maps, "sentence").degenerate.tolist() == [False] * 4 + [True] * 2
    assert colour_bars(maps[:1], "sentence").degenerate.all()
    assert colour_bars(-maps[:1]).degenerate.all()
    for scope in ("word", "sentence", "raw"):
        assert colour_bars(maps[4:], scope).degenerate.all()
        assert colour_bars(maps[:0], scope).degenerate.shape == (0,)


@pytest.mark.parametrize("name", STOPS)
def test_colour_tables(name: str) -> None:
    table = colour_table(name)
    assert table.shape == (256, 3) and table.dtype == np.uint8
    for end, stop in ((0, STOPS[name][0]), (255, STOPS[name][-1])):
        assert "#" + bytes(table[end]).hex() == stop
    if name == "signed":
        assert np.ptp(table[127:129].astype(int)) <= 6  # zero is grey
    else:
        light = table @ np.array([0.2126, 0.7152, 0.0722])
        assert (np.diff(light) >= -0.5).all()


def test_unknown_colours_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown colour map 'jet'"):
        colour_table("jet")


def test_colours_over_pixels() -> None:
    photograph = Image.new("RGB", (3, 1), (200, 100, 0))
    place = np.array([[0.0, 1.0, np.nan]])
    assert np.asarray(paint(photograph, place, cmap="gray", alpha=0.8)).tolist() == [
        [[40, 20, 0], [244, 224, 204], [146, 121, 96]]
    ]
    opaque = np.asarray(paint(photograph, place, cmap="heat", alpha=1.0))
    assert opaque[0, :2].tolist() == colour_table("heat")[[0, 255]].tolist()
    zero = np.asarray(paint(photograph, np.full((1, 3), 0.5), alpha=0.8, signed=True))
    assert np.abs(zero.astype(int) - np.asarray(photograph)).max() <= 0.12 * 0.8 * 255 + 1
