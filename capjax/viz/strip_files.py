"""Word strips as files: their format, and how large their pictures are."""

import dataclasses
from collections.abc import Mapping
from typing import IO, Any, Literal, get_args

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from capjax.types import Explanation
from capjax.viz.fonts.lettering import Lettering
from capjax.viz.strips import word_strip

StripFormat = Literal["jpeg", "webp", "png"]

SUFFIXES: dict[str, str] = {"jpeg": "jpg", "webp": "webp", "png": "png"}

_SAVING: dict[str, dict[str, Any]] = {
    # A colour at every pixel: small coloured text stays sharp.
    "jpeg": {"quality": 85, "subsampling": 0},
    "webp": {"quality": 80, "method": 2},
    "png": {"compress_level": 1},
}
_LONGEST = {"jpeg": 65_500, "webp": 16_383, "png": 2**31 - 1}
"""Pixels of a side that a format can hold; a larger strip is reduced to it."""


@dataclasses.dataclass(frozen=True)
class StripFiles:
    """How strips are written.

    Attributes:
      format: "jpeg" (None), about a fifth of "png"; "webp" is half of that again and takes ten
        times as long to write; "png" loses nothing.
      height: of each picture of a strip, in pixels; None for `strips.IMAGE_HEIGHT`, of clips
        `strips.FRAME_HEIGHT`.
      font: a file with letters that no font of this machine has.

    Raises:
      ValueError: an unknown format, or a file that is no font.
      FileNotFoundError: there is no such font.
    """

    format: StripFormat | None = None
    height: int | None = None
    font: str | None = None

    def __post_init__(self) -> None:
        if self._format not in SUFFIXES:
            known = ", ".join(get_args(StripFormat))
            raise ValueError(f"unknown format {self.format!r}; choose one of: {known}")
        Lettering.of(self.font)

    @property
    def _format(self) -> str:
        return self.format or "jpeg"

    @property
    def suffix(self) -> str:
        """Of a file's name, without its dot."""
        return SUFFIXES[self._format]

    @property
    def look(self) -> dict[str, Any]:
        """How strips are drawn: height and font where they are given."""
        given = {"height": self.height, "font": self.font}
        return {name: value for name, value in given.items() if value is not None}

    def accept(self, suffix: str, look: Mapping[str, Any]) -> bool:
        """Whether an existing strip looks as asked for; None asks for nothing."""
        asked = self.look
        own = {name: look.get(name) for name in asked}
        return own == asked and (self.format is None or suffix == self.suffix)

    def write(
        self,
        stream: IO[bytes],
        photograph: UInt8[np.ndarray, "*F H W 3"] | Image.Image,
        explanation: Explanation,
    ) -> None:
        """Draws the strip of one method and writes it."""
        strip = word_strip(photograph, explanation, height=self.height, font=self.font)
        strip.thumbnail((_LONGEST[self._format],) * 2, Image.Resampling.LANCZOS)
        strip.save(stream, self._format, **_SAVING[self._format])
