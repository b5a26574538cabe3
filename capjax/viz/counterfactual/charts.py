"""Charts of many counterfactuals: importance against what objects are like, and who is told apart.

Drawn with Pillow alone, as all charts of commands are.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageDraw, ImageFont

from capjax.metrics.intervals import format_measured
from capjax.studies.contract import Cell
from capjax.studies.counterfactual.summary import Objects, rank_interval, told_apart
from capjax.viz.charts.interval_chart import interval_chart
from capjax.viz.charts.line_chart import COLOURS, INK, LETTERS, PALE, PAPER, SHARPNESS

SIDE, GAP, HEAD, COLUMNS = 210, 46, 34, 3
"""Pixels of a panel, between two, above it; panels in a row."""
POINT = 2.2


def scatter_panels(
    likenesses: Mapping[str, Float[np.ndarray, " N"]],
    objects: Objects,
    measure: str,
) -> Image.Image:
    """One panel for each thing that objects are like: importance upwards, objects that the caption
    names in colour. Above each stands Spearman's correlation with its interval.

    What is known of no object has no panel. Shares of the picture are spread by logarithm.
    `SHARPNESS` times as large as it should be shown.

    Args:
      likenesses: name -> of each object.
      objects: of one run.
      measure: of the first fill's importance.
    """
    values = next(iter(objects.importance.values()))[measure]
    there = {name: np.isfinite(own) & np.isfinite(values) for name, own in likenesses.items()}
    likenesses = {name: own for name, own in likenesses.items() if there[name].any()}
    rows = -(-len(likenesses) // COLUMNS)
    width = COLUMNS * (SIDE + GAP) + GAP
    high = rows * (SIDE + GAP + HEAD) + 2 * HEAD
    image = Image.new("RGB", (width * SHARPNESS, high * SHARPNESS), PAPER)
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(LETTERS * SHARPNESS)
    inks = [_ink(named) for named in objects.places["named"]]
    text = f"{measure}, of objects that the caption names"
    _write(draw, font, (GAP, HEAD / 2), text, COLOURS[0])
    ahead = font.getlength(text + "  ") / SHARPNESS
    _write(draw, font, (GAP + ahead, HEAD / 2), "and of others", INK)
    for number, (name, own) in enumerate(likenesses.items()):
        across = np.log10(np.maximum(own, 1e-4)) if name.startswith("share of") else own
        kept = there[name]
        left = GAP + (number % COLUMNS) * (SIDE + GAP)
        top = 2 * HEAD + (number // COLUMNS) * (SIDE + GAP + HEAD)
        x, y = (_spread(each[kept]) for each in (across, values))
        draw.rectangle(_box(left, top, SIDE), outline=PALE, width=SHARPNESS)
        chosen = [ink for ink, known in zip(inks, kept, strict=True) if known]
        for place, rise, ink in zip(x, y, chosen, strict=True):
            centre = left + SIDE * place, top + SIDE * (1 - rise)
            draw.ellipse(_box(centre[0] - POINT, centre[1] - POINT, 2 * POINT), fill=ink)
        found = format_measured(rank_interval((across[kept], values[kept]), objects, kept))
        title = name + (" (log)" if name.startswith("share of") else "")
        _write(draw, font, (left, top - 22), title, INK)
        _write(draw, font, (left, top - 8), f"Spearman {found}", INK)
        ends = f"{own[kept].min():.2g} to {own[kept].max():.2g}"
        _write(draw, font, (left, top + SIDE + 10), ends, INK)
    return image


def _ink(named: Cell) -> str:
    return COLOURS[0] if named else INK


def _spread(values: Float[np.ndarray, " N"]) -> Float[np.ndarray, " N"]:
    """Places from 0.04 to 0.96 of a panel."""
    length = np.ptp(values) if len(values) else 0.0
    places: np.ndarray = 0.04 + 0.92 * (values - values.min(initial=np.inf)) / (length or 1.0)
    return places


def _box(left: float, top: float, side: float) -> tuple[float, float, float, float]:
    ends = left, top, left + side, top + side
    return (
        ends[0] * SHARPNESS,
        ends[1] * SHARPNESS,
        ends[2] * SHARPNESS,
        ends[3] * SHARPNESS,
    )


def _write(
    draw: ImageDraw.ImageDraw,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    at: tuple[float, float],
    text: str,
    ink: str,
) -> None:
    draw.text((at[0] * SHARPNESS, at[1] * SHARPNESS), text, fill=ink, font=font, anchor="lm")


def told_apart_chart(objects: Objects) -> Image.Image | None:
    """AUC of mentioned against other objects by each measure, one colour a fill; None where there
    are no two kinds of objects."""
    series: dict[str, dict[str, tuple[float, float, float]]] = {}
    for (fill, outline, measure), own in told_apart(objects).items():
        ends = own["AUC"]["value"], *own["AUC"]["interval"]
        if outline == "all" and None not in ends:
            series.setdefault(fill, {})[measure] = ends
    title = "AUC with 95 % interval: mentioned objects from others"
    return interval_chart(series, title) if series else None
