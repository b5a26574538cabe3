"""The paper's figures as files: phrases or words with boxes, frames of clips, animations."""

import dataclasses
import pathlib
import tempfile
import threading
from collections.abc import Mapping, Sequence
from typing import IO, Any, Literal, get_args

import numpy as np
from jaxtyping import UInt8

from capjax.types import Explanation
from capjax.viz import parts
from capjax.viz.animation import save_animation
from capjax.viz.clips import OMITTED, plot_clip
from capjax.viz.figures import new_figure_class
from capjax.viz.fonts.lettering import Lettering
from capjax.viz.paper import Box, plot_caption, plot_queries

FigureFormat = Literal["pdf", "png", "svg"]

ANIMATION = "gif"
"""Suffix of an animation's file."""

_SAVING: dict[str, dict[str, Any]] = {
    # Without the date the same figure is the same file.
    "pdf": {"metadata": {"CreationDate": None}},
    "svg": {"metadata": {"Date": None}},
    "png": {"dpi": 200},
}
_DRAWING = threading.Lock()
"""matplotlib draws in one thread at a time."""


@dataclasses.dataclass(frozen=True)
class FigureFiles:
    """How figures are written.

    Attributes:
      format: "pdf", "png" or "svg".
      font: a file with letters that no font of this machine has.

    Raises:
      ValueError: an unknown format, or a file that is no font.
      FileNotFoundError: there is no such font.
      ImportError: matplotlib is not installed; the text says how to get it.
    """

    format: FigureFormat = "pdf"
    font: str | None = None

    def __post_init__(self) -> None:
        if self.format not in _SAVING:
            known = ", ".join(get_args(FigureFormat))
            raise ValueError(f"unknown format {self.format!r}; choose one of: {known}")
        Lettering.of(self.font)
        new_figure_class()

    @property
    def look(self) -> dict[str, Any]:
        """How figures are drawn: the font where it is given."""
        return {} if self.font is None else {"font": self.font}

    def kinds(self, explanation: Explanation) -> tuple[str, ...]:
        """Suffixes of what is drawn of a sentence: none where it has no word to show."""
        if not _shown(explanation):
            return ()
        return (self.format, ANIMATION) if explanation.maps.shape[1] > 1 else (self.format,)

    def write(
        self,
        stream: IO[bytes],
        suffix: str,
        picture: UInt8[np.ndarray, "*F H W 3"],
        explanation: Explanation,
        *,
        boxes: Mapping[int, Sequence[Box]] | None = None,
        seconds: Sequence[float] | None = None,
    ) -> None:
        """Draws one of the `kinds` and writes it.

        Of a photograph: a panel a phrase, keyword or contrast (`plot_queries`), or a word where
        none was asked about (`plot_caption`). Of a clip: the most relevant frames of each word
        (`plot_clip`), or all frames one after the other (`save_animation`).

        Args:
          stream: that takes the file's content.
          suffix: one of the `kinds`.
          picture: whole and upright, [H W 3], of a clip [F H W 3].
          explanation: of it.
          boxes: panel number -> boxes to draw in it, of a photograph.
          seconds: [F] when each frame of a clip is shown.
        """
        if suffix == ANIMATION:
            with tempfile.TemporaryDirectory() as folder:
                path = pathlib.Path(folder) / f"clip.{ANIMATION}"
                save_animation(path, picture, explanation, font=self.font)
                stream.write(path.read_bytes())
            return
        with _DRAWING:
            if explanation.maps.shape[1] > 1:
                words = {explanation.words[index].lower() for index in _shown(explanation)}
                omit = OMITTED if words - OMITTED else ()
                figure = plot_clip(picture, explanation, seconds=seconds, omit=omit, font=self.font)
            elif parts.beside_words(explanation).labels:
                drawn = [boxes or {}]
                figure = plot_queries(picture, [explanation], boxes=drawn, font=self.font)
            else:
                figure = plot_caption(picture, explanation, boxes=boxes, font=self.font)
            figure.savefig(stream, format=self.format, **_SAVING[self.format])


def panels(explanation: Explanation) -> tuple[tuple[int, int], ...]:
    """The words of each panel of a photograph's figure, as (first word, last word + 1)."""
    return parts.in_figures(explanation).spans


def _shown(explanation: Explanation) -> list[int]:
    """Words that a figure can show: those of a photograph all, of a clip those that were read."""
    if explanation.maps.shape[1] == 1:
        return list(range(len(explanation.words)))
    return [index for index, score in enumerate(explanation.score) if not np.isnan(score)]
