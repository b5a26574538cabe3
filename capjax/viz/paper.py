"""The figures of images in "Top-down Visual Saliency Guided by Captions" (Ramanishka et al. 2017).

Red is high and blue is low, each map on a scale of its own (eq 8); the asterisk is on the highest
cell. Maps with values of both signs, which that paper has none of, are blue below zero, red above.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from capjax.explainers.scaling import Values
from capjax.types import Explanation, Geometry
from capjax.viz import parts
from capjax.viz.figures import SIGNED_CMAP, draw_map, new_figure_class, reduced
from capjax.viz.fonts.figure_text import FigureText
from capjax.viz.fonts.lettering import FontFiles
from capjax.viz.overlay import drawn
from capjax.viz.strips import WIDEST, fitted, pictures

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Box = tuple[float, float, float, float]
"""(x0, y0, x1, y1) in pixels of the original photograph."""
Photograph = UInt8[np.ndarray, "H W 3"] | Image.Image

RED_TO_BLUE = "turbo"
PANEL = 2.0
"""Height of a panel in inches."""
GAP = 0.06
LABEL, SENTENCE = 10, 11
"""Sizes of letters, in points."""
LONGEST_WORD = 1.6
"""In inches: a longer word of a label is cut into lines."""


@dataclasses.dataclass(frozen=True)
class _Row:
    """One sentence with its panels."""

    pixels: UInt8[np.ndarray, "H W 3"]
    geometry: Geometry
    part: parts.Parts
    boxes: Mapping[int, Sequence[Box]]
    sentence: str
    text: FigureText

    @property
    def panel(self) -> tuple[float, float]:
        """Width and height of a panel, in inches."""
        height, width = self.geometry.original
        return fitted((width, height), PANEL)

    @property
    def column(self) -> float:
        """Width of a panel and its label, in inches."""
        words = {word for label in self.part.labels for word in label.split()}
        widest = max(self.text.width(word, LABEL) for word in words)
        return max(self.panel[0], min(widest, LONGEST_WORD) + 0.15)


def plot_queries(
    images: Photograph | Sequence[Photograph],
    explanations: Sequence[Explanation],
    *,
    boxes: Sequence[Mapping[int, Sequence[Box]]] | None = None,
    columns: int = 5,
    cmap: str = RED_TO_BLUE,
    alpha: float = 0.5,
    smooth: float = 0.0,
    values: Values | None = None,
    font: FontFiles | None = None,
) -> "Figure":
    """Figure 3: a row a query, a panel a phrase of it, the query underneath.

    A panel has its phrase at the top left, the phrase's map over the photograph, an asterisk at the
    map's maximum (the centre of the highest cell) and, where given, boxes in white.

        explained = capjax.explain(captioner, image, methods=["caption_guided"],
                                   query="[a small red circle] left of [a blue star]")
        plot_queries(image, [explained[0]["caption_guided"]])

    Args:
      images: the photograph of all queries, or one a query.
      explanations: one a query; one without phrases or other targets has a panel a word.
      boxes: for each query, panel number (from 0) -> boxes to draw in it.
      columns: most panels in a line; more are broken into lines of equal length.
      cmap: any matplotlib colour map, for maps of one sign.
      alpha: opacity of the map.
      smooth: see `ops.upsample`.
      values: what the colours span: "raw", as the paper has it, or "exp" of maps that are
        logarithms; default: of those "exp", see `scaling.natural_values`.
      font: a file with letters that no font of this machine has, or several in order of preference.

    Raises:
      ValueError: as many images or boxes as queries missing, or the maps of clips.
      ImportError: matplotlib is not installed.
    """
    if isinstance(images, (np.ndarray, Image.Image)):
        images = [images] * len(explanations)
    boxes = [{}] * len(explanations) if boxes is None else boxes
    if not explanations or not len(images) == len(explanations) == len(boxes):
        raise ValueError(
            f"got {len(explanations)} queries, {len(images)} images and {len(boxes)} tables of "
            "boxes; expected one of each a query, and at least one query"
        )
    new_figure_class()  # says how to get matplotlib
    text = FigureText.of(font)
    rows = []
    for index, (image, explanation, own) in enumerate(
        zip(images, explanations, boxes, strict=True)
    ):
        part = parts.in_figures(explanation).shown(explanation, values)
        letter = f"({chr(ord('a') + index)}) " if 1 < len(explanations) <= 26 else ""
        rows.append(_row(image, explanation, part, own, text, letter))
    return _draw(rows, columns, smooth, {"cmap": cmap, "alpha": alpha})


def plot_caption(
    image: Photograph,
    explanation: Explanation,
    *,
    boxes: Mapping[int, Sequence[Box]] | None = None,
    columns: int = 5,
    cmap: str = RED_TO_BLUE,
    alpha: float = 0.5,
    smooth: float = 0.0,
    values: Values | None = None,
    font: FontFiles | None = None,
) -> "Figure":
    """Figure 4: the predicted caption word by word, the caption underneath.

    Panels and arguments are those of `plot_queries`, a panel a word. Words like "a" and "is" may
    seem to be grounded sharply; that is their scale, since each map spans all colours.
    """
    new_figure_class()  # says how to get matplotlib
    part = parts.words(explanation).shown(explanation, values)
    row = _row(image, explanation, part, boxes or {}, FigureText.of(font))
    return _draw([row], columns, smooth, {"cmap": cmap, "alpha": alpha})


def _row(
    image: Photograph,
    explanation: Explanation,
    part: parts.Parts,
    boxes: Mapping[int, Sequence[Box]],
    text: FigureText,
    letter: str = "",
) -> _Row:
    if part.frames != 1 or len(pictures(image)) != 1:
        raise ValueError(
            f"got maps of {part.frames} frames; this figure is of photographs, clips are drawn by "
            "plot_clip"
        )
    if not part.labels:
        raise ValueError("got a sentence without words; there is nothing to draw")
    unknown = sorted(set(boxes) - set(range(len(part.labels))))
    if unknown:
        raise ValueError(
            f"got boxes for the panels {unknown}; there are {len(part.labels)}, counted from 0: "
            f"{', '.join(part.labels)}"
        )
    sentence = letter + " ".join(explanation.words)
    pixels = reduced(pictures(image)[0])
    return _Row(pixels, explanation.geometry, part, boxes, sentence, text)


def _draw(rows: Sequence[_Row], columns: int, smooth: float, look: Mapping[str, Any]) -> "Figure":
    """Rows under each other, placed in inches: photographs of different shapes stay in line."""
    counts = [len(row.part.labels) for row in rows]
    most = [max(1, int(columns * WIDEST * PANEL / row.column)) for row in rows]  # of panoramas
    lines = [math.ceil(count / min(columns, own)) for count, own in zip(counts, most, strict=True)]
    across = [math.ceil(count / line) for count, line in zip(counts, lines, strict=True)]
    width = GAP + max(n * (row.column + GAP) for n, row in zip(across, rows, strict=True))
    sentences = [row.text.wrapped(row.sentence, SENTENCE, width - 2 * GAP) for row in rows]
    room = [row.text.height(text, SENTENCE) for row, text in zip(rows, sentences, strict=True)]
    height = sum(
        line * (row.panel[1] + GAP) + own + 2 * GAP
        for row, line, own in zip(rows, lines, room, strict=True)
    )
    figure = new_figure_class()(figsize=(width, height), dpi=100)
    top = height
    for row, columns, sentence, own in zip(rows, across, sentences, room, strict=True):
        size = (int(row.pixels.shape[0]), int(row.pixels.shape[1]))
        place, bars = drawn(row.part.maps[:, 0], row.geometry, size=size, smooth=smooth)
        inks = {**look, "cmap": SIGNED_CMAP if bars.signed else look["cmap"]}
        wide, high = row.panel
        for index in range(len(row.part.labels)):
            column = index % columns
            top -= high + GAP if column == 0 else 0.0
            left = GAP + column * (row.column + GAP)
            axis = figure.add_axes((left / width, top / height, wide / width, high / height))
            _panel(axis, row, index, None if bars.degenerate[index] else place[index], inks)
        text = figure.text(GAP / width, (top - GAP / 2) / height, sentence, va="top")
        row.text.put(text, SENTENCE)
        top -= own + 2 * GAP
    return figure


def _panel(
    axis: "Axes", row: _Row, index: int, place: np.ndarray | None, look: Mapping[str, Any]
) -> None:
    """One map; the subplot's coordinates are the original photograph's pixels."""
    from matplotlib.patches import Rectangle
    from matplotlib.patheffects import AbstractPathEffect, withStroke

    height, width = row.geometry.original
    extent = (0, width, height, 0)
    shadow: list[AbstractPathEffect] = [withStroke(linewidth=3.4, foreground="black")]
    axis.imshow(row.pixels, extent=extent)
    if place is not None:
        draw_map(axis, place, extent=extent, **look)
    for x0, y0, x1, y1 in row.boxes.get(index, ()):
        frame = Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor="white", linewidth=1.8)
        frame.set_path_effects(shadow)
        axis.add_patch(frame)
    if place is not None:
        x0, y0, x1, y1 = row.geometry.cell_box(*row.part.peak(index, 0))
        axis.plot(
            *((x0 + x1) / 2, (y0 + y1) / 2),
            color="white",
            marker=(6, 2, 0),
            markersize=12,
            markeredgewidth=1.8,
            path_effects=shadow,
        )
    label = row.part.labels[index] + ("" if place is not None else " (constant)")
    text = axis.text(
        0.04 / row.panel[0],
        1 - 0.05 / row.panel[1],
        row.text.wrapped(label, LABEL, row.column - 0.1),
        transform=axis.transAxes,
        va="top",
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 2.0},
    )
    row.text.put(text, LABEL)
    axis.set(xlim=(0, width), ylim=(height, 0), aspect="auto")
    axis.set_axis_off()
