"""Lines over two axes, drawn with Pillow alone: reports and commands need no matplotlib."""

import math
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from capjax.studies.contract import Curve

SHARPNESS = 2
"""Pixels of the picture for each one that it is shown with."""
WIDTH, HEIGHT = 460, 280
LEFT, RIGHT, TOP, BOTTOM = 58, 14, 14, 46
LINE, LEGEND = 18, 20
LETTERS = 12
MARGIN = 8
"""From the first and last tick of an axis to its ends: points there lie inside."""
COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf")
CORNERS = (0, 4, 3, 6, 5, 8)
"""Of the marks of each line; 0 is a circle."""
THIN, WIDER = 2, 2
"""Width of a line, and how much wider it is for each later one that meets it at a mark."""
MARK, LARGER = 3.5, 1.5
"""The same of the radius of marks."""
INK, PALE, PAPER = "#222222", "#dddddd", "#ffffff"
TICKS = 5


def line_chart(curve: Curve) -> Image.Image:
    """One line a name, with a mark at every value; upwards from 0, to 1 at least.

    A line is wider than those that are drawn over its marks, so that it shows where they cover it.
    `SHARPNESS` times as large as it should be shown.
    """
    legend = LEGEND * len(curve.lines) if len(curve.lines) > 1 else 0
    size = (WIDTH * SHARPNESS, (HEIGHT + legend) * SHARPNESS)
    image = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(LETTERS * SHARPNESS)
    lines = list(curve.lines.values())
    points = [point for line in lines for point in line]
    across = _ticks([x for x, _ in points])
    up = _ticks([0.0, 1.0, *(y for _, y in points)])

    def at(x: float, y: float) -> tuple[float, float]:
        wide, high = WIDTH - LEFT - RIGHT - 2 * MARGIN, HEIGHT - TOP - BOTTOM - 2 * MARGIN
        column = LEFT + MARGIN + wide * (x - across[0]) / (across[-1] - across[0])
        row = TOP + MARGIN + high * (1 - (y - up[0]) / (up[-1] - up[0]))
        return column * SHARPNESS, row * SHARPNESS

    def write(place: tuple[float, float], text: str, anchor: str, colour: str = INK) -> None:
        draw.text(place, text, fill=colour, font=font, anchor=anchor)

    gap = 6 * SHARPNESS
    left, right = LEFT * SHARPNESS, (WIDTH - RIGHT) * SHARPNESS
    floor = (HEIGHT - BOTTOM) * SHARPNESS
    for tick in up:
        _, row = at(across[0], tick)
        draw.line([(left, row), (right, row)], fill=PALE, width=SHARPNESS)
        write((left - gap, row), f"{tick:g}", "rm")
    for tick in across:
        column, _ = at(tick, up[0])
        draw.line([(column, floor), (column, floor + gap / 2)], fill=INK, width=SHARPNESS)
        write((column, floor + gap), f"{tick:g}", "ma")
    draw.line([(left, floor), (right, floor)], fill=INK, width=SHARPNESS)
    for number, (name, line) in enumerate(curve.lines.items()):
        colour = COLOURS[number % len(COLOURS)]
        over = sum(not set(line).isdisjoint(other) for other in lines[number + 1 :])
        places = [at(x, y) for x, y in line]
        width = (THIN + WIDER * over) * SHARPNESS
        draw.line(places, fill=colour, width=width, joint="curve")
        radius = (MARK + LARGER * over) * SHARPNESS
        for place in places:
            _mark(draw, place, radius, number, colour)
        if legend:
            row = (HEIGHT + LEGEND * (number + 0.4)) * SHARPNESS
            draw.line([(left, row), (left + LINE * SHARPNESS, row)], fill=colour, width=4)
            _mark(draw, (left + LINE * SHARPNESS / 2, row), MARK * SHARPNESS, number, colour)
            write((left + (LINE + 6) * SHARPNESS, row), name, "lm")
    middle = (LEFT + (WIDTH - LEFT - RIGHT) / 2) * SHARPNESS
    write((middle, (HEIGHT - 6) * SHARPNESS), curve.across, "md")
    _write_upwards(image, curve.up, font)
    return image


def _mark(
    draw: ImageDraw.ImageDraw,
    place: tuple[float, float],
    radius: float,
    number: int,
    colour: str,
) -> None:
    corners = CORNERS[number % len(CORNERS)]
    if corners:
        draw.regular_polygon((*place, radius), corners, fill=colour)
    else:
        draw.circle(place, radius, fill=colour)


def _write_upwards(
    image: Image.Image, text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont
) -> None:
    high = (HEIGHT - TOP - BOTTOM) * SHARPNESS
    strip = Image.new("RGB", (high, LINE * SHARPNESS), PAPER)
    place = (high / 2, LINE * SHARPNESS / 2)
    ImageDraw.Draw(strip).text(place, text, fill=INK, font=font, anchor="mm")
    image.paste(strip.rotate(90, expand=True), (2 * SHARPNESS, TOP * SHARPNESS))


def _ticks(values: Sequence[float]) -> list[float]:
    """Round numbers from below the least value to above the largest."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    if high <= low:
        low, high = low - 1, high + 1
    rough = (high - low) / TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(step * number, 10) for number in range(first, last + 1)]
