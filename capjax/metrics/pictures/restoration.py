"""How near a filled picture comes to the one that was there: PSNR, SSIM and L1.

Over the whole picture, where all that was left alone counts as right, and inside the hole alone.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, UInt8

from capjax.ops.image import gaussian_blur

REACH, SIGMA = 5, 1.5
"""Of SSIM's Gaussian window: 11 x 11 pixels."""
K1, K2 = 0.01, 0.03
MOST_DECIBELS = 100.0
"""PSNR of equal pictures, which is infinite: finite, so that means of it exist."""


class Restoration(NamedTuple):
    """Scores of filled pictures, float32 [B] each; those `_hole` are over the hole's pixels.

    Attributes:
      psnr, psnr_hole: decibels, at most `MOST_DECIBELS`; higher is better.
      ssim, ssim_hole: mean of the structural similarity at each pixel, at most 1; higher is better.
      l1, l1_hole: mean absolute difference, as a share of the range; lower is better.
    """

    psnr: Array
    ssim: Array
    l1: Array
    psnr_hole: Array
    ssim_hole: Array
    l1_hole: Array


@jax.jit
def restoration(
    originals: UInt8[Array, "B H W 3"],
    filled: UInt8[Array, "B H W 3"],
    masks: Bool[Array, "B H W"],
) -> Restoration:
    """Scores of each picture against its original; NaN inside a hole that is empty.

    SSIM is that of Wang et al. 2004 with a Gaussian window and population covariances, the mean
    over channels, and equals scikit-image's `structural_similarity(gaussian_weights=True,
    sigma=1.5, use_sample_covariance=False)`: over the whole picture a window's reach is left out
    along the border; in the hole the border counts, with the picture mirrored beyond it.

    Args:
      originals, filled: [B H W 3] uint8, with sides of at least 11.
      masks: [B H W] the holes.

    Raises:
      ValueError: pictures smaller than SSIM's window.
    """
    height, width = originals.shape[1:3]
    if min(height, width) <= 2 * REACH:
        raise ValueError(
            f"got pictures of {width} x {height} pixels; SSIM needs {2 * REACH + 1} each way"
        )
    x, y = (pictures.astype(jnp.float32) / 255 for pictures in (originals, filled))
    hole = masks[..., None].astype(jnp.float32)
    similar = _similarity(x, y)
    inner = similar[:, REACH : height - REACH, REACH : width - REACH]
    squares, absolute = (x - y) ** 2, jnp.abs(x - y)
    whole = (1, 2, 3)
    return Restoration(
        psnr=_decibels(squares.mean(whole)),
        ssim=inner.mean(whole),
        l1=absolute.mean(whole),
        psnr_hole=_decibels(_within(squares, hole)),
        ssim_hole=_within(similar, hole),
        l1_hole=_within(absolute, hole),
    )


def _within(values: Float[Array, "B H W C"], hole: Float[Array, "B H W 1"]) -> Float[Array, " B"]:
    """Means over the pixels of the hole."""
    count = hole.sum((1, 2, 3)) * values.shape[-1]
    return (values * hole).sum((1, 2, 3)) / jnp.where(count > 0, count, jnp.nan)


def _decibels(square: Float[Array, " B"]) -> Float[Array, " B"]:
    """PSNR of mean squared differences; NaN stays."""
    found = -10 * jnp.log10(jnp.maximum(square, 10 ** (-MOST_DECIBELS / 10)))
    return jnp.where(jnp.isnan(square), jnp.nan, found)


def _similarity(x: Float[Array, "B H W C"], y: Float[Array, "B H W C"]) -> Float[Array, "B H W C"]:
    """SSIM at each pixel of pictures from 0 to 1."""
    # Around the middle of the range, squares lose less to rounding when the means are taken off.
    x, y = x - 0.5, y - 0.5
    mean_x, mean_y, xx, yy, xy = (
        gaussian_blur(values, SIGMA, REACH, border="symmetric")
        for values in (x, y, x * x, y * y, x * y)
    )
    variances = xx - mean_x**2 + yy - mean_y**2
    covariance = xy - mean_x * mean_y
    luminance_x, luminance_y = mean_x + 0.5, mean_y + 0.5
    numerator = (2 * luminance_x * luminance_y + K1**2) * (2 * covariance + K2**2)
    return numerator / ((luminance_x**2 + luminance_y**2 + K1**2) * (variances + K2**2))
