"""The figures of images in "Top-down Visual Saliency Guided by Captions" (Ramanishka et al. 2017).

Red is high and blue is low, each map on a scale of its own (eq 8); the asterisk is on the highest
cell. Maps with values of both signs, which that paper has none of, are blue below zero, red above.
"""

import dataclasses
import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from capjax.types import Explanation, Geometry
from capjax.viz import parts
from capjax.viz.figures import SIGNED_CMAP, draw_map, new_figure_class, reduced
from capjax.viz.overlay import drawn
from capjax.viz.strips import pictures

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
LINE = 0.24
"""Height of a line of text in inches."""
LETTERS = 12.0
"""Letters in an inch of text, on average."""


@dataclasses.dataclass(frozen=True)
class _Row:
    """One sentence with its panels."""

    pixels: UInt8[np.ndarray, "H W 3"]
    geometry: Geometry
    part: parts.Parts
    boxes: Mapping[int, Sequence[Box]]
    sentence: str

    @property
    def width(self) -> float:
        """Of a panel, in inches."""
        height, width = self.geometry.original
        return PANEL * float(np.clip(width / height, 0.4, 3.0))


def plot_queries(
    images: Photograph | Sequence[Photograph],
    explanations: Sequence[Explanation],
    *,
    boxes: Sequence[Mapping[int, Sequence[Box]]] | None = None,
    columns: int = 5,
    cmap: str = RED_TO_BLUE,
    alpha: float = 0.5,
    smooth: float = 0.0,
) -> "Figure":
    """Figure 3: a row a query, a panel a phrase of it, the query underneath.

    A panel has its phrase at the top left, the phrase's map over the photograph, an asterisk at the
    map's maximum (the centre of the highest cell) and, where given, boxes in white.

        explained = capjax.explain(captioner, image, methods=["caption_guided"],
                                   query="[a small red circle] left of [a blue star]")
        plot_queries(image, [explained[0]["caption_guided"]])

    Args:
      images: the photograph of all queries, or one a query.
      explanations: one a query; one without phrases has a panel a word.
      boxes: for each query, panel number (from 0) -> boxes to draw in it.
      columns: most panels in a line; more are broken into lines of equal length.
      cmap: any matplotlib colour map, for maps of one sign.
      alpha: opacity of the map.
      smooth: see `ops.upsample`.

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
    rows = []
    for index, (image, explanation, own) in enumerate(
        zip(images, explanations, boxes, strict=True)
    ):
        part = (parts.phrases if explanation.phrases else parts.words)(explanation)
        letter = f"({chr(ord('a') + index)}) " if 1 < len(explanations) <= 26 else ""
        rows.append(_row(image, explanation, part, own, letter))
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
) -> "Figure":
    """Figure 4: the predicted caption word by word, the caption underneath.

    Panels and arguments are those of `plot_queries`, a panel a word. Words like "a" and "is" may
    seem to be grounded sharply; that is their scale, since each map spans all colours.
    """
    row = _row(image, explanation, parts.words(explanation), boxes or {})
    return _draw([row], columns, smooth, {"cmap": cmap, "alpha": alpha})


def _row(
    image: Photograph,
    explanation: Explanation,
    part: parts.Parts,
    boxes: Mapping[int, Sequence[Box]],
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
    return _Row(pixels, explanation.geometry, part, boxes, sentence)


def _draw(rows: Sequence[_Row], columns: int, smooth: float, look: Mapping[str, Any]) -> "Figure":
    """Rows under each other, placed in inches: photographs of different shapes stay in line."""
    counts = [len(row.part.labels) for row in rows]
    lines = [math.ceil(count / columns) for count in counts]
    across = [math.ceil(count / line) for count, line in zip(counts, lines, strict=True)]
    width = GAP + max(n * (row.width + GAP) for n, row in zip(across, rows, strict=True))
    sentences = [textwrap.wrap(row.sentence, max(12, int(width * LETTERS))) for row in rows]
    height = sum(
        line * (PANEL + GAP) + LINE * len(text) + 2 * GAP
        for line, text in zip(lines, sentences, strict=True)
    )
    figure = new_figure_class()(figsize=(width, height), dpi=100)
    top = height
    for row, columns, text in zip(rows, across, sentences, strict=True):
        size = (int(row.pixels.shape[0]), int(row.pixels.shape[1]))
        place, bars = drawn(row.part.maps[:, 0], row.geometry, size=size, smooth=smooth)
        own = {**look, "cmap": SIGNED_CMAP if bars.signed else look["cmap"]}
        for index in range(len(row.part.labels)):
            column = index % columns
            top -= PANEL + GAP if column == 0 else 0.0
            left = GAP + column * (row.width + GAP)
            axis = figure.add_axes((left / width, top / height, row.width / width, PANEL / height))
            _panel(axis, row, index, None if bars.degenerate[index] else place[index], own)
        for line in text:
            top -= LINE
            figure.text(
                GAP / width, (top + LINE / 2) / height, line, fontsize=11, va="center_baseline"
            )
        top -= 2 * GAP
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
    axis.text(
        0.02,
        0.975,
        textwrap.fill(label, max(8, int(row.width * LETTERS))),
        transform=axis.transAxes,
        va="top",
        fontsize=10,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 2.0},
    )
    axis.set(xlim=(0, width), ylim=(height, 0), aspect="auto")
    axis.set_axis_off()
