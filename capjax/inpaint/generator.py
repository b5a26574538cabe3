"""The two-stage generator of the gated inpainter (Yu et al. 2019, arXiv 1806.03589, §3).

The first stage fills holes coarsely. The second refines that picture in two branches, one of
dilated convolutions and one of contextual attention, which meet before the last layers.
"""

import functools
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Bool, Float, Int

from capjax.encoders.encoder import for_one_call
from capjax.inpaint.contextual_attention import BUDGET, contextual_attention
from capjax.inpaint.gated import Activation, GatedConvolution, twice_as_large
from capjax.inpaint.thin_plate import thin_plate
from capjax.ops.image import resize

MULTIPLE = 8
"""Of which both sides of a picture must be multiples."""

MaskResize = Literal["two_step", "one_step"]
Start = Literal["grey", "plate"]

PASSING, NOTHING = 4.0, 1e-6
"""Scales of first weights with which gated layers pass on what they are shown, and a last one next
to nothing, where a picture is added to."""


class Inpainted(NamedTuple):
    """What the generator makes of pictures with holes.

    Attributes:
      coarse: [B H W 3] float32 in [-1, 1], the first stage's picture, outside holes too.
      refined: [B H W 3] float32 in [-1, 1], the second stage's.
      offsets: [B H/8 W/8 2] where contextual attention looks, in cells of eight pixels; None where
        they were not asked for.
    """

    coarse: Float[Array, "B H W 3"]
    refined: Float[Array, "B H W 3"]
    offsets: Int[Array, "B h w 2"] | None


class Generator(nn.Module):
    """Fills holes in pictures: 42 gated convolutions, 4,052,478 parameters at `cnum` 48.

    Deviations from the released program: pictures are RGB (released weights, which see BGR, are
    turned around when they are read, see `capjax.inpaint.released`), and every picture has its own
    mask.

    Attributes:
      cnum: channels of the first convolution, before its gate; a multiple of four. 48 as released.
      fuse: whether contextual attention favours neighbouring patches for neighbouring places; the
        released program does, its usual port to PyTorch does not.
      mask_resize: how contextual attention sees the mask: "two_step" reduces it by 4 and then by
        2, as released, "one_step" by 8, as the port does. They differ in some cells.
      start: what the first stage is shown in holes: "grey", as released; or "plate", the
        known pixels continued with little bending (`capjax.inpaint.thin_plate`). Then each stage
        adds to what it is shown in holes, at first nothing, instead of painting a picture, and
        the first weights are such that gates let most through: training begins where the best
        of the classical fills end. The released weights do not fit.
      tension: of that plate (see `capjax.inpaint.thin_plate`); 0 bends alone.
      budget: bytes that the scores of contextual attention may take, about, of all pictures that a
        program is traced for; nothing else depends on it, so it is not saved.
      dtype: of activations and products; parameters, softmax and pictures are float32.
    """

    cnum: int = 48
    fuse: bool = True
    mask_resize: MaskResize = "two_step"
    start: Start = "grey"
    tension: float = 0.0
    budget: int = for_one_call(BUDGET)
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        images: Float[Array, "B H W 3"],
        masks: Float[Array, "B H W 1"],
        offsets: bool = False,
    ) -> Inpainted:
        """Both stages' pictures; `composite` puts them into the holes.

        Args:
          images: RGB in [-1, 1]; what is in holes is not looked at.
          masks: 1 in holes, 0 elsewhere.
          offsets: whether to tell where contextual attention looks.

        Raises:
          ValueError: shapes do not fit, sides are no multiples of 8, or a setting means nothing.
        """
        self._check(images, masks)
        hole = masks > 0.5
        known = jnp.where(hole, 0.0, images.astype(jnp.float32))
        shown = thin_plate(known, hole, tension=self.tension) if self._adds else known
        coarse = self._coarse(shown, hole)
        pasted = jnp.where(hole, coarse, known)
        refined, found = self._refined(pasted, hole, offsets)
        return Inpainted(coarse, refined, found)

    @property
    def _adds(self) -> bool:
        """Whether stages add to the picture that they are shown."""
        return self.start == "plate"

    def _coarse(
        self, shown: Float[Array, "B H W 3"], hole: Bool[Array, "B H W 1"]
    ) -> Float[Array, "B H W 3"]:
        marks = jnp.concatenate([jnp.ones_like(shown[..., :1]), hole.astype(shown.dtype)], axis=-1)
        x = jnp.concatenate([shown, marks], axis=-1)
        narrow, wide = 2 * self.cnum, 4 * self.cnum
        x = self._gated(x, "conv1", self.cnum, side=5)
        x = self._gated(x, "conv2_downsample", narrow, stride=2)
        x = self._gated(x, "conv3", narrow)
        x = self._gated(x, "conv4_downsample", wide, stride=2)
        x = self._gated(x, "conv5", wide)
        x = self._gated(x, "conv6", wide)
        x = self._dilated(x, "conv{}_atrous")
        x = self._gated(x, "conv11", wide)
        x = self._gated(x, "conv12", wide)
        return self._drawn(x, "conv", shown, hole)

    def _refined(
        self, pasted: Float[Array, "B H W 3"], hole: Bool[Array, "B H W 1"], offsets: bool
    ) -> tuple[Float[Array, "B H W 3"], Int[Array, "B h w 2"] | None]:
        narrow, wide = 2 * self.cnum, 4 * self.cnum
        x = self._gated(pasted, "xconv1", self.cnum, side=5)
        x = self._gated(x, "xconv2_downsample", self.cnum, stride=2)
        x = self._gated(x, "xconv3", narrow)
        x = self._gated(x, "xconv4_downsample", narrow, stride=2)
        x = self._gated(x, "xconv5", wide)
        x = self._gated(x, "xconv6", wide)
        imagined = self._dilated(x, "xconv{}_atrous")

        x = self._gated(pasted, "pmconv1", self.cnum, side=5)
        x = self._gated(x, "pmconv2_downsample", self.cnum, stride=2)
        x = self._gated(x, "pmconv3", narrow)
        x = self._gated(x, "pmconv4_downsample", wide, stride=2)
        x = self._gated(x, "pmconv5", wide)
        x = self._gated(x, "pmconv6", wide, activation="relu")
        attended = contextual_attention(
            x,
            x,
            matching_holes(hole, self.mask_resize),
            fuse=self.fuse,
            offsets=offsets,
            budget=self.budget,
        )
        x = self._gated(attended.values, "pmconv9", wide)
        x = self._gated(x, "pmconv10", wide)

        x = jnp.concatenate([imagined, x], axis=-1)
        x = self._gated(x, "allconv11", wide)
        x = self._gated(x, "allconv12", wide)
        return self._drawn(x, "allconv", pasted, hole), attended.offsets

    def _dilated(self, x: Float[Array, "B h w C"], name: str) -> Float[Array, "B h w C"]:
        """Four convolutions that see ever further, of rates 2, 4, 8 and 16."""
        for number, rate in zip(range(7, 11), (2, 4, 8, 16), strict=True):
            x = self._gated(x, name.format(number), 4 * self.cnum, rate=rate)
        return x

    def _drawn(
        self,
        x: Float[Array, "B h w C"],
        name: str,
        shown: Float[Array, "B H W 3"],
        hole: Bool[Array, "B H W 1"],
    ) -> Float[Array, "B H W 3"]:
        """A picture of a map of a quarter of its sides, or `shown` with that added in holes.

        Only in holes: where nothing need be added, an absolute error would hold all at nothing.
        """
        x = self._gated(twice_as_large(x), f"{name}13_upsample", 2 * self.cnum)
        x = self._gated(x, f"{name}14", 2 * self.cnum)
        x = self._gated(twice_as_large(x), f"{name}15_upsample", self.cnum)
        x = self._gated(x, f"{name}16", self.cnum // 2)
        x = self._gated(x, f"{name}17", 3, activation=None, scale=NOTHING)
        x = x.astype(jnp.float32)
        if self._adds:
            return jnp.where(hole, cut_off(shown + 2.0 * jnp.tanh(0.5 * x)), shown)
        return jnp.tanh(x)

    def _gated(
        self,
        x: Float[Array, "B h w C"],
        name: str,
        width: int,
        *,
        side: int = 3,
        stride: int = 1,
        rate: int = 1,
        activation: Activation | None = "elu",
        scale: float = PASSING,
    ) -> Float[Array, "B h2 w2 D"]:
        own = scale if self._adds else None
        layer = GatedConvolution(width, side, stride, rate, activation, self.dtype, own, name=name)
        y: Array = layer(x)
        return y

    def _check(self, images: Array, masks: Array) -> None:
        if self.start not in ("grey", "plate"):
            raise ValueError(f"got start={self.start!r}; choose grey or plate")
        if not 0 <= self.tension <= 1:
            raise ValueError(f"got tension={self.tension}; expected 0 to 1")
        if self.cnum < 4 or self.cnum % 4:
            raise ValueError(f"got cnum={self.cnum}; expected a multiple of 4, as 48")
        if images.ndim != 4 or images.shape[-1] != 3 or masks.shape != (*images.shape[:3], 1):
            raise ValueError(
                f"got images {images.shape} and masks {masks.shape}; expected [B H W 3] and "
                "[B H W 1]"
            )
        height, width = images.shape[1:3]
        if height % MULTIPLE or width % MULTIPLE or not height * width:
            raise ValueError(
                f"got pictures of {height}x{width}; both sides must be multiples of {MULTIPLE}: "
                "crop or resize them first"
            )


def matching_holes(hole: Bool[Array, "B H W 1"], mask_resize: MaskResize) -> Bool[Array, "B h w"]:
    """Masks as contextual attention sees them, an eighth as high and wide.

    Raises:
      ValueError: there is no such way of resizing.
    """
    if mask_resize not in ("two_step", "one_step"):
        raise ValueError(f"got mask_resize={mask_resize!r}; choose two_step or one_step")
    height, width = hole.shape[1:3]
    smaller = functools.partial(resize, method="nearest", coordinates="align_corners")
    x = hole.astype(jnp.float32)
    if mask_resize == "two_step":
        x = smaller(x, (height // 4, width // 4))
    return smaller(x, (height // MULTIPLE, width // MULTIPLE))[..., 0] > 0.5


def cut_off(picture: Float[Array, "B H W 3"]) -> Float[Array, "B H W 3"]:
    """What lies in [-1, 1], with the gradient of the picture itself.

    A plate overshoots beside bright and dark edges. The gradient of a mere cut is zero there, so
    that these pixels would never learn.
    """
    kept = jax.lax.stop_gradient(jnp.clip(picture, -1.0, 1.0))
    return kept + (picture - jax.lax.stop_gradient(picture))


def composite(
    filled: Float[Array, "B H W 3"],
    images: Float[Array, "B H W 3"],
    masks: Float[Array, "B H W 1"],
) -> Float[Array, "B H W 3"]:
    """`filled` in holes, `images` elsewhere, to the bit."""
    return jnp.where(masks > 0.5, filled, images)
