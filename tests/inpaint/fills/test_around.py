"""Cutting, filling and pasting: exact geometry, with fills whose results are known."""

import dataclasses

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt

from capjax.inpaint.fills.around import Around
from capjax.inpaint.fills.contract import Fill, Trained
from capjax.inpaint.fills.mean import Mean


@dataclasses.dataclass(frozen=True)
class Red(Fill):
    """Paints red; keeps what it was given."""

    NAME = "red"
    side: int | None = None
    seen: list = dataclasses.field(default_factory=list)

    @property
    def trained(self):
        return None if self.side is None else Trained(self.side, self.side // 2)

    def paint(self, images, masks):
        self.seen.append((images, masks))
        red = np.zeros_like(images)
        red[..., 0] = 255
        return red


def noise(height: int, width: int) -> np.ndarray:
    # Nothing is as red as the fill.
    return np.random.default_rng(1).integers(0, 200, (height, width, 3)).astype(np.uint8)


def square(height: int, width: int, top: int, left: int, side: int) -> np.ndarray:
    mask = np.zeros((height, width), bool)
    mask[top : top + side, left : left + side] = True
    return mask


@pytest.mark.parametrize("side", [None, 16, 40])
@pytest.mark.parametrize(
    ("shape", "place"),
    [
        ((60, 90), (20, 30, 10)),
        ((60, 90), (0, 0, 7)),  # in a corner
        ((60, 90), (55, 40, 5)),  # at the lower border
        ((8, 8), (2, 3, 2)),
        ((12, 90), (0, 10, 12)),  # from border to border
    ],
)
def test_the_grown_mask_alone_changes_and_all_of_it(side, shape, place):
    image, mask = noise(*shape), square(*shape, *place)
    around = Around(dilate=2, feather=1)
    found = around.each(Red(side), [image], [mask])[0]
    distance = distance_transform_edt(~mask)
    np.testing.assert_array_equal(found.changed, distance <= 2)
    np.testing.assert_array_equal(found.image[distance > 2], image[distance > 2])
    assert (found.image[mask] == (255, 0, 0)).all()  # nothing of the object shines through
    rim = (distance <= 2) & ~mask
    assert (found.image[..., 0][rim] > image[..., 0][rim]).all()


def test_the_rim_fades_in():
    image, mask = noise(40, 40), square(40, 40, 15, 15, 8)
    found = Around(dilate=3, feather=3)(Red(), image[None], mask[None])[0]
    row = found[18, 10:17, 0].astype(float), image[18, 10:17, 0].astype(float)
    share = (row[0] - row[1]) / (255 - row[1])
    np.testing.assert_allclose(share, [0, 0, 0.25, 0.5, 0.75, 1, 1], atol=0.01)


def test_objects_of_all_sizes_are_one_batch_and_do_not_touch_each_other():
    images = [noise(60, 90), noise(30, 30), noise(50, 20), noise(20, 20)]
    masks = [square(60, 90, 5, 5, 30), square(30, 30, 2, 2, 3), square(50, 20, 20, 6, 9)]
    masks.append(np.zeros((20, 20), bool))
    fill, around = Red(16), Around(dilate=1, feather=1)
    together = around.each(fill, images, masks)
    assert [seen.shape for seen, _ in fill.seen] == [(3, 16, 16, 3)]
    for image, mask, found in zip(images, masks, together, strict=True):
        alone = around.each(fill, [image], [mask])[0]
        np.testing.assert_array_equal(found.image, alone.image)
    np.testing.assert_array_equal(together[3].image, images[3])  # an empty mask is the identity
    assert not together[3].changed.any() and not together[3].oversize


def test_what_a_trained_fill_sees_has_nothing_of_what_is_removed():
    image, mask = noise(60, 90), square(60, 90, 10, 20, 30)
    other = np.where(mask[..., None], 255, image).astype(np.uint8)
    fill = Red(16)
    for picture in (image, other):
        Around(dilate=0, feather=0).each(fill, [picture], [mask])
    (seen, hole), (seen_other, _) = fill.seen
    np.testing.assert_array_equal(seen, seen_other)
    # 60 pixels seen as 16: the hole of half the side takes half of them, and partly covered ones.
    assert seen.shape == (1, 16, 16, 3) and 8 <= hole[0].any(axis=0).sum() <= 9


def test_known_pixels_at_the_rim_of_a_hole_keep_their_colour():
    image, mask = np.zeros((64, 64, 3), np.uint8), square(64, 64, 2, 2, 32)
    image[:, 44:] = 255  # so that the mean colour, which stands in the hole, is not black
    fill = Red(32)
    Around(dilate=0, feather=0).each(fill, [image], [mask])
    seen, hole = (own[0] for own in fill.seen[0])
    assert hole[1:17, 1:17].all() and hole.sum() == 16 * 16
    assert not seen[:, :20][~hole[:, :20]].any() and (seen[:, 24:] == 255).all()


def test_small_objects_are_cut_at_the_trained_size_and_large_ones_at_twice_their_own():
    fill, around = Red(32), Around(dilate=0, feather=0)
    image = noise(100, 200)
    around.each(fill, [image], [square(100, 200, 50, 60, 4)])
    seen, hole = fill.seen[-1]
    known = ~hole[0]
    np.testing.assert_array_equal(seen[0][known], image[36:68, 46:78][known])  # pixel for pixel
    assert not around.each(fill, [image], [square(100, 200, 25, 60, 50)])[0].oversize
    assert fill.seen[-1][1][0].sum() == 16 * 16  # half of each side
    wide = np.zeros((100, 200), bool)
    wide[40:60, 20:180] = True  # its context does not fit into the picture
    assert around.each(fill, [image], [wide])[0].oversize


def test_far_parts_have_crops_of_their_own_and_near_ones_share():
    image = noise(64, 200)
    mask = square(64, 200, 10, 10, 8) | square(64, 200, 10, 150, 8)
    fill, around = Red(16), Around(dilate=0, feather=0)
    found = around.each(fill, [image], [mask])[0]
    assert fill.seen[-1][0].shape[0] == 2
    near = square(64, 200, 10, 10, 8) | square(64, 200, 10, 21, 8)
    around.each(fill, [image], [near])
    assert fill.seen[-1][0].shape[0] == 1
    assert (found.image[mask] == (255, 0, 0)).all()
    np.testing.assert_array_equal(found.image[~mask], image[~mask])


def test_the_mean_is_that_of_the_surroundings():
    image = np.zeros((100, 300, 3), np.uint8)
    image[:, 150:] = 200
    mask = square(100, 300, 40, 30, 20)
    assert (Around()(Mean(), image[None], mask[None])[0][mask] == 0).all()


def test_what_cannot_be_filled_is_refused_by_name():
    image = noise(8, 8)
    full, half = np.ones((8, 8), bool), square(8, 8, 0, 0, 6)
    with pytest.raises(ValueError, match="covers all of the picture, so"):
        Around()(Mean(), image[None], full[None])
    assert "dilate it by less" in Around().refusal(half)
    assert Around(dilate=0, feather=0).refusal(half) is None
    assert Around().refusal(np.zeros((8, 8), bool)) is None
    with pytest.raises(ValueError, match="wider rim would show"):
        Around(dilate=2, feather=3)
    for option in ({"dilate": -1}, {"context": 1.0}):
        with pytest.raises(ValueError, match="got around"):
            Around(**option)
