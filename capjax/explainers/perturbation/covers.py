"""What covers a part of a picture that is taken away."""

from typing import Literal, get_args

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from capjax.captioner import CaptionNet

Cover = Literal["mean", "zero", "blur"]
"""The colour that the encoder's normalisation takes for zero, which is the mean of the pictures it
was trained on; black; or the picture itself, blurred."""

BLUR = 10 / 224
"""Standard deviation of the blur, of the shorter side (Fong & Vedaldi 2017: 10 pixels of 224)."""


def cover(
    net: CaptionNet, pictures: Float[Array, "B F H W 3"], kind: Cover
) -> Float[Array, "B F H W 3"]:
    """What is seen of pictures on the 0..255 scale where they are covered."""
    if kind == "mean":
        return jnp.broadcast_to(jnp.asarray(net.mean, jnp.float32), pictures.shape)
    if kind == "zero":
        return jnp.zeros_like(pictures)
    height, width = pictures.shape[2:4]
    sigma = BLUR * min(height, width)
    rows, columns = (jnp.asarray(_blur(side, sigma)) for side in (height, width))
    down = jnp.einsum("yh,bfhwc->bfywc", rows, pictures, precision="highest")
    return jnp.einsum("xw,bfywc->bfyxc", columns, down, precision="highest")


def check_fill(fill: str) -> None:
    """Refuses a cover that there is none of."""
    if fill not in get_args(Cover):
        raise ValueError(f"got fill={fill}; choose one of: {', '.join(get_args(Cover))}")


def _blur(side: int, sigma: float) -> Float[np.ndarray, "side side"]:
    """A Gaussian about each pixel, of the pixels that there are: every row sums to one."""
    places = np.arange(side)
    shares = np.exp(-0.5 * np.square((places[:, None] - places) / sigma))
    return (shares / shares.sum(axis=1, keepdims=True)).astype(np.float32)
