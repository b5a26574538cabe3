"""PSNR, SSIM and L1 against scikit-image and closed forms."""

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from capjax.metrics.pictures.restoration import MOST_DECIBELS, restoration

SIDE = 24


@pytest.fixture(scope="module")
def scored():
    """Pictures, filled ones, masks and scores: noise, an empty hole, one step."""
    draw = np.random.default_rng(0)
    originals = draw.integers(0, 256, (3, SIDE, SIDE, 3)).astype(np.uint8)
    originals[2] = 100
    masks = np.zeros((3, SIDE, SIDE), bool)
    masks[0, :9, 10:20] = masks[2, 4:8, 4:8] = True  # one at the border
    filled = originals.copy()
    filled[0][masks[0]] = draw.integers(0, 256, (masks[0].sum(), 3))
    filled[2][masks[2]] = 151
    scores = restoration(originals, filled, masks)
    return originals, filled, masks, {n: np.asarray(v) for n, v in scores._asdict().items()}


def test_equals_scikit_image(scored):
    originals, filled, masks, scores = scored
    for row in (0, 2):
        pair = originals[row], filled[row]
        mean, full = structural_similarity(
            *pair, channel_axis=-1, gaussian_weights=True, sigma=1.5,
            use_sample_covariance=False, data_range=255, full=True,
        )  # fmt: skip
        np.testing.assert_allclose(scores["ssim"][row], mean, atol=2e-5)
        np.testing.assert_allclose(scores["ssim_hole"][row], full[masks[row]].mean(), atol=2e-5)
        decibels = peak_signal_noise_ratio(*pair, data_range=255)
        np.testing.assert_allclose(scores["psnr"][row], decibels, rtol=1e-5)


def test_closed_forms(scored):
    originals, filled, masks, scores = scored
    np.testing.assert_allclose(scores["l1_hole"][2], 51 / 255, rtol=1e-6)
    np.testing.assert_allclose(scores["l1"][2], 51 / 255 * 16 / SIDE**2, rtol=1e-6)
    np.testing.assert_allclose(scores["psnr_hole"][2], -20 * np.log10(0.2), rtol=1e-6)
    apart = np.abs(originals[0].astype(float) - filled[0])[masks[0]].mean() / 255
    np.testing.assert_allclose(scores["l1_hole"][0], apart, rtol=1e-6)


def test_equal_pictures_and_empty_holes(scored):
    scores = scored[3]
    assert scores["psnr"][1] == MOST_DECIBELS and scores["l1"][1] == 0
    np.testing.assert_allclose(scores["ssim"][1], 1, atol=1e-6)
    for name in ("psnr_hole", "ssim_hole", "l1_hole"):
        assert np.isnan(scores[name][1])


def test_pictures_smaller_than_the_window_are_refused():
    small = np.zeros((1, 10, 40, 3), np.uint8)
    with pytest.raises(ValueError, match="40 x 10 pixels; SSIM needs 11"):
        restoration(small, small, np.zeros((1, 10, 40), bool))
