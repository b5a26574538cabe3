"""Occlusion (Zeiler & Fergus 2014): what is lost where a window slides over the picture."""

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from capjax.captioner import CaptionNet
from capjax.explainers.contract import InParts, Maps, clips
from capjax.explainers.perturbation.copies import Parts, covered, scores, whole
from capjax.explainers.perturbation.covers import Cover, check_fill, cover
from capjax.explainers.request import Request


@dataclasses.dataclass(frozen=True)
class Occlusion(InParts):
    """How much of the score is lost by windows over a pixel: the mean over those that cover it.

    Positive where the words need what is there. Windows begin every `stride` pixels; the last ones
    may reach beyond the picture, and every pixel is covered. A window covers one frame of a clip.

    Attributes:
      window: side in pixels; none: a quarter of the picture's shorter side.
      stride: pixels from one window to the next; none: half a window.
      fill: what covers: "mean" is the colour that the encoder takes for zero, "zero" is black,
        "blur" is the picture itself, blurred.
    """

    window: int | None = None
    stride: int | None = None
    fill: Cover = "mean"

    NAME = "occlusion"
    COST = "one pass of encoder and decoder a window"
    SOURCE = "Zeiler & Fergus 2014, section 4.2; a mean over windows, as Captum has it"

    def __post_init__(self) -> None:
        check_fill(self.fill)
        for name in ("window", "stride"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"got {name}={value}; expected pixels, 1 or more")

    def parts(self, request: Request) -> int:
        """A few windows a part."""
        return self._windows(request).parts.count

    def start(self, net: CaptionNet, variables: Any, request: Request) -> Array:
        """No scores [B S Q N]."""
        return self._windows(request).parts.room(*request.weights.shape[:3])

    def step(
        self, net: CaptionNet, variables: Any, request: Request, tally: Array, index: Int[Array, ""]
    ) -> Array:
        """With the scores behind the windows of part `index`."""
        windows, pictures = self._windows(request), clips(self, request)
        shown = ~windows.covering(windows.parts.samples(index))[None]
        copies = covered(pictures, cover(net, pictures, self.fill), shown)
        return windows.parts.put(tally, scores(net, variables, request, copies), index)

    def finish(
        self, net: CaptionNet, variables: Any, request: Request, tally: Array
    ) -> dict[str, Maps]:
        """What the windows over each pixel lose, on the grid of the pixels."""
        windows = self._windows(request)
        lost = whole(net, variables, request)[:, None] - tally[:, : windows.parts.number]
        return {self.NAME: Maps(windows.means(jnp.moveaxis(lost, 1, -1)))}

    def _windows(self, request: Request) -> "Windows":
        frames, height, width = clips(self, request).shape[1:-1]
        window = self.window or max(1, min(height, width) // 4)
        stride = self.stride or max(1, window // 2)
        if stride > window:
            raise ValueError(
                f"got stride={stride} with window={window}; expected a stride of at most a window, "
                "so that every pixel is covered"
            )
        return Windows((frames, height, width), window, stride)


@dataclasses.dataclass(frozen=True)
class Windows:
    """Squares that cover a picture, or each frame of a clip; numbered frame by frame, row by row.

    Attributes:
      size: (F, H, W) of the picture.
      side, stride: in pixels.
    """

    size: tuple[int, int, int]
    side: int
    stride: int

    @property
    def numbers(self) -> tuple[int, int, int]:
        """Frames, and windows down and across."""
        frames, *sides = self.size
        down, across = (1 + max(0, -(-(side - self.side) // self.stride)) for side in sides)
        return frames, down, across

    @property
    def parts(self) -> Parts:
        """All of them."""
        return Parts.even(int(np.prod(self.numbers)))

    def covering(self, numbers: Int[Array, " K"]) -> Bool[Array, "K F H W"]:
        """The pixels that windows cover; none beyond the last window."""
        _, down, across = self.numbers
        frame, row, column = numbers // (down * across), numbers // across % down, numbers % across
        rows, columns = (jnp.asarray(own) for own in self._spans())
        frames = frame[:, None] == jnp.arange(self.size[0])[None]  # [K F]
        return (
            frames[..., None, None] & rows[row][:, None, :, None] & columns[column][:, None, None]
        )

    def means(self, values: Float[Array, "*N S"]) -> Float[Array, "*N F H W"]:
        """The mean, at every pixel, of the values of the windows that cover it."""
        rows, columns = (own / own.sum(axis=0) for own in self._spans())
        apart = values.reshape(*values.shape[:-1], *self.numbers)
        return jnp.einsum(
            "...frc,ry,cx->...fyx",
            *(apart, rows.astype(np.float32), columns.astype(np.float32)),
            precision="highest",
        )

    def _spans(self) -> tuple[Bool[np.ndarray, "rows H"], Bool[np.ndarray, "columns W"]]:
        spans = []
        for count, pixels in zip(self.numbers[1:], self.size[1:], strict=True):
            begin = self.stride * np.arange(count)[:, None]
            place = np.arange(pixels)
            spans.append((begin <= place) & (place < begin + self.side))
        return spans[0], spans[1]
