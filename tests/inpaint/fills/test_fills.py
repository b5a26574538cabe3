"""Every fill on small pictures: what holds of all, and closed forms and peers of each."""

import cv2
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from skimage.restoration import inpaint_biharmonic

from capjax.inpaint.fills.biharmonic import Biharmonic
from capjax.inpaint.fills.blur import Blur
from capjax.inpaint.fills.contract import without_holes
from capjax.inpaint.fills.named import FILLS, named_fill
from capjax.inpaint.fills.opencv import NavierStokes, Telea
from capjax.inpaint.fills.plate import Plate
from capjax.inpaint.thin_plate import thin_plate

HEIGHT, WIDTH = 30, 40
ANY_SIZE = [fill for name, fill in FILLS.items() if name != "gated"]


def pictures() -> tuple[np.ndarray, np.ndarray]:
    """Three noisy pictures: a hole inside and one in a corner, a hole on two borders, no hole."""
    images = np.random.default_rng(0).integers(0, 256, (3, HEIGHT, WIDTH, 3)).astype(np.uint8)
    masks = np.zeros((3, HEIGHT, WIDTH), bool)
    masks[0, 8:20, 10:24] = masks[0, :3, :4] = True
    masks[1, 12:, 15:] = True
    return images, masks


every = pytest.mark.parametrize("fill", ANY_SIZE, ids=lambda fill: fill.NAME)


@every
def test_only_holes_change_and_nothing_removed_is_seen(fill):
    images, masks = pictures()
    given = images.copy(), masks.copy()
    filled = fill(images, masks)
    assert filled.dtype == np.uint8 and filled.shape == images.shape
    np.testing.assert_array_equal(filled[~masks], images[~masks])
    assert (filled != images)[masks].mean() > 0.9
    np.testing.assert_array_equal(images, given[0])  # nor is what was given
    np.testing.assert_array_equal(masks, given[1])
    other = np.where(masks[..., None], 255 - images, images)
    np.testing.assert_array_equal(fill(other, masks), filled)
    alone = fill(images[1:2], masks[1:2])[0].astype(int)  # neighbours in the batch change nothing
    assert np.abs(alone - filled[1]).max() <= (1 if fill.NAME == "plate" else 0)


@every
def test_one_colour_stays_one_colour(fill):
    images = np.empty((1, HEIGHT, WIDTH, 3), np.uint8)
    images[...] = (10, 128, 250)
    masks = pictures()[1][:1]
    removed = np.where(masks[..., None], 77, images).astype(np.uint8)
    apart = np.abs(fill(removed, masks).astype(int) - images).max()
    assert apart <= (3 if fill.NAME == "telea" else 1)  # OpenCV's own error, on any plain picture


@every
def test_what_cannot_be_filled_is_refused(fill):
    images, masks = pictures()
    with pytest.raises(ValueError, match="mask 1 covers all"):
        fill(images, masks | (np.arange(3) == 1)[:, None, None])
    with pytest.raises(ValueError, match="float32.*expected images uint8"):
        fill(images.astype(np.float32), masks)
    with pytest.raises(ValueError, match="True = remove"):
        fill(images, masks.astype(np.uint8))
    with pytest.raises(ValueError, match="clips are filled frame by frame"):
        fill(images[None], masks[None])


def test_mean_is_that_of_the_known_pixels():
    images, masks = pictures()
    expected = np.rint(images[0][~masks[0]].astype(float).mean(axis=0))
    assert (named_fill("mean")(images, masks)[0][masks[0]] == expected).all()


def test_blur_is_a_normalised_convolution_where_enough_is_known():
    images = pictures()[0][:1]
    masks = np.zeros(images.shape[:3], bool)
    masks[:, 14:16, 20:22] = True  # more than half of each kernel is known
    filled = Blur(sigma=2.0)(images, masks)
    known = (~masks[0]).astype(float)
    blurred = [
        gaussian_filter(values, 2.0, mode="constant", radius=6)
        for values in (*np.moveaxis(images[0] * known[..., None], -1, 0), known)
    ]
    expected = np.stack([values / blurred[3] for values in blurred[:3]], axis=-1)
    assert np.abs(filled[0] - expected)[masks[0]].max() < 0.51


def test_blur_reaches_the_middle_of_holes_wider_than_its_kernel():
    images = np.empty((1, HEIGHT, WIDTH, 3), np.uint8)
    images[:, :, : WIDTH // 2], images[:, :, WIDTH // 2 :] = 40, 200
    masks = np.zeros((1, HEIGHT, WIDTH), bool)
    masks[:, 1:-1, 1:-1] = True
    row = Blur(sigma=2.0)(images, masks)[0, HEIGHT // 2, :, 0].astype(int)
    assert (np.diff(row) >= 0).all()  # from dark to bright without a wave
    assert row[3] < 70 and row[-4] > 170 and 100 < row[WIDTH // 2] < 140


@pytest.mark.parametrize(
    ("fill", "way"), [(Telea(), cv2.INPAINT_TELEA), (NavierStokes(radius=5), cv2.INPAINT_NS)]
)
def test_opencv_sees_the_holed_picture(fill, way):
    images, masks = pictures()
    blank = without_holes(images[:2], masks[:2])
    filled = fill(images, masks)
    for row in range(2):
        peer = cv2.inpaint(blank[row], masks[row].astype(np.uint8), fill.radius, way)
        np.testing.assert_array_equal(filled[row][masks[row]], peer[masks[row]])


def test_biharmonic_continues_planes_and_equals_its_library():
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    plane = np.stack([2 * rows + 3 * columns, 5 * rows, 200 - 4 * columns], -1).astype(np.uint8)
    images, masks = pictures()
    masks[0, :3, :4] = False
    filled = Biharmonic()(np.stack([plane, *images[1:]]), masks)
    assert np.abs(filled[0].astype(int) - plane).max() <= 1
    peer = inpaint_biharmonic(images[1], masks[1], split_into_regions=True, channel_axis=-1)
    assert np.abs(filled[1] - np.clip(peer, 0, 1) * 255).max() < 0.51
    with pytest.raises(ValueError, match="biharmonic.most"):
        Biharmonic(most=10)(images, masks)


def test_plate_continues_planes_and_is_nearly_what_biharmonic_solves():
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    plane = np.stack([2 * rows + 3 * columns, 5 * rows, 200 - 4 * columns], -1).astype(np.uint8)
    masks = np.zeros((1, HEIGHT, WIDTH), bool)
    masks[0, 8:20, 10:24] = True
    assert np.abs(Plate()(plane[None], masks)[0].astype(int) - plane).max() <= 1
    waves = 128 + 90 * np.sin(rows / 6) * np.cos(columns / 8)
    smooth = np.repeat(waves[..., None], 3, axis=-1).astype(np.uint8)
    peer = 255 * inpaint_biharmonic(smooth, masks[0], channel_axis=-1)
    ours = Plate(steps=256, tension=0.0)(smooth[None], masks)[0].astype(float)
    spread = np.ptp(smooth[masks[0]])
    assert np.abs(ours - peer)[masks[0]].max() < 0.1 * spread
    assert np.abs(ours - smooth)[masks[0]].mean() < 0.05 * spread


def test_tension_holds_noise_down():
    """Bending alone carries the slopes of a noisy rim into the hole."""
    random = np.random.default_rng(3)
    images = np.rint(random.normal(128, 10, (8, HEIGHT, WIDTH, 3))).astype(np.uint8)
    masks = np.zeros((8, HEIGHT, WIDTH), bool)
    masks[:, 8:20, 10:24] = True
    bent, tense = (
        np.abs(Plate(tension=tension)(images, masks)[masks] - 128.0).mean()
        for tension in (0.0, 0.3)
    )
    assert tense < 0.8 * bent


def test_padding_a_plate_moves_what_touches_the_border_alone():
    rows, columns = np.mgrid[:70, :90]  # padded to 96 x 96
    waves = 128 + 60 * np.sin(rows / 9) * np.cos(columns / 12)
    image = np.repeat(waves[..., None], 3, axis=-1).astype(np.uint8)
    masks = np.zeros((2, 70, 90), bool)
    masks[0, 20:40, 25:55] = masks[1, 40:, 50:] = True
    inside, corner = Plate()(np.stack([image, image]), masks)
    unpadded = thin_plate(jnp.asarray(image[None], jnp.float32), masks[:1, ..., None])
    assert np.abs(inside - np.asarray(unpadded)[0]).max() < 0.51  # rounded
    peer = 255 * np.clip(inpaint_biharmonic(image, masks[1], channel_axis=-1), 0, 1)
    errors = [np.abs(own - image.astype(float))[masks[1]].mean() for own in (corner, peer)]
    assert errors[0] <= errors[1]


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (Blur, {"sigma": 0.1}),
        (Blur, {"enough": 0.0}),
        (Plate, {"steps": 0}),
        (Plate, {"tension": 1.5}),
        (Telea, {"radius": 0.0}),
        (Biharmonic, {"most": 0}),
    ],
)
def test_options_that_make_no_sense_are_refused(kind, options):
    with pytest.raises(ValueError, match="got .*; expected"):
        kind(**options)


def test_unknown_fills_are_refused():
    with pytest.raises(ValueError, match="choose from: mean, blur, plate, telea"):
        named_fill("exemplar")
