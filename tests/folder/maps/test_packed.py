"""Half precision under a scale of each map: what is lost, measured against the stated bound."""

import numpy as np
import pytest

from capjax.folder.maps.packed import halved, pack, packed_as, unpack, whole

DRAW = np.random.default_rng(0)


@pytest.mark.parametrize("size", [1e-45, 3e-42, 1e-38, 1e-30, 1e-12, 1e-5, 1.0, 7e4, 1e30, 3e38])
def test_maps_of_any_size_keep_their_digits(size):
    share = DRAW.uniform(-1, 1, (50, 2, 3, 4)) * 2.0 ** -DRAW.integers(0, 30, (50, 2, 3, 4))
    maps = (size * share).astype(np.float32)
    found = whole(*halved(maps))
    assert found.dtype == np.float32 and halved(maps)[0].dtype == np.float16
    largest = np.abs(maps).max(axis=(1, 2, 3), keepdims=True).astype(np.float64)
    lost = np.abs(found.astype(np.float64) - maps)
    assert (lost <= 2.0**-11 * largest).all()
    # Not of the largest alone: of every value down to 2^-29 of it, and then of that.
    assert (lost <= 2.0**-11 * np.maximum(np.abs(maps), 2.0**-28 * largest)).all()


def test_each_map_has_a_scale_of_its_own():
    maps = np.float32([[[1e-9, -3e-9]], [[2e4, 1.0]], [[0.0, 0.0]]])
    halves, scale = halved(maps)
    assert (np.log2(scale) % 1 == 0).all() and scale[2] == 1
    assert (np.abs(halves).max(axis=(1, 2))[:2] >= 2.0**14).all()
    np.testing.assert_allclose(whole(halves, scale), maps, rtol=2.0**-11)
    assert np.abs(maps[0].astype(np.float16)).max() == 0  # what they would be without one


def test_padding_and_infinities_stay():
    maps = np.float32([[np.nan, 1e-9], [-np.inf, 5e-9], [np.nan, np.nan]])
    found = whole(*halved(maps))
    np.testing.assert_array_equal(np.isfinite(found), np.isfinite(maps))
    np.testing.assert_allclose(found, maps, rtol=2.0**-11)
    assert halved(np.zeros((0, 1, 2, 2), np.float32))[0].shape == (0, 1, 2, 2)


def test_what_is_no_map_is_left_alone_and_packing_again_changes_no_bit():
    arrays = {
        "m": DRAW.normal(size=(3, 1, 2, 2)).astype(np.float32),
        "words": np.array(["a", "b", "c"]),
        "phrases": np.array([[0, 2]], np.int32),
    }
    packed = pack(arrays)
    assert {*packed} == {*arrays, "m.scale"} and packed["words"] is arrays["words"]
    some = packed_as(packed, {"m": unpack(packed)["m"]})
    assert {*some} == {"m", "m.scale"} and some["m"] is packed["m"]
