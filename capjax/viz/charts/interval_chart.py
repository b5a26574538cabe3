"""Values with their intervals along one axis, drawn with Pillow alone."""

from collections.abc import Mapping, Sequence

from PIL import Image, ImageDraw, ImageFont

from capjax.viz.charts.line_chart import (
    COLOURS,
    INK,
    LEGEND,
    LETTERS,
    LINE,
    PALE,
    PAPER,
    SHARPNESS,
)

WIDTH, LEFT, RIGHT, TOP, BOTTOM = 420, 12, 24, 14, 46
"""Of the axis, and around it."""
ROW, GAP = 13, 9
"""Height of one value, and between two names."""
TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)

Interval = tuple[float, float, float]
"""Value, lower and upper end."""


def interval_chart(
    series: Mapping[str, Mapping[str, Interval]], across: str, *, middle: float = 0.5
) -> Image.Image:
    """A point and a line for each value of each series, from 0 to 1, names to the left.

    `SHARPNESS` times as large as it should be shown.

    Args:
      series: name of a series -> name of a row -> interval; rows that a series lacks stay empty.
      across: what the axis shows.
      middle: where a line is drawn, that of chance.

    Raises:
      ValueError: no value at all.
    """
    names = list(dict.fromkeys(name for own in series.values() for name in own))
    if not names:
        raise ValueError("got no values to draw; give one series with one value or more")
    font = ImageFont.load_default(LETTERS * SHARPNESS)
    margin = LEFT * 2 + max(font.getlength(name) for name in names) / SHARPNESS
    block = ROW * len(series) + GAP
    legend = LEGEND * len(series)
    high = TOP + block * len(names) + BOTTOM
    size = (round((margin + WIDTH + RIGHT) * SHARPNESS), (high + legend) * SHARPNESS)
    image = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(image)

    def at(value: float, row: float) -> tuple[float, float]:
        return (margin + WIDTH * value) * SHARPNESS, row * SHARPNESS

    def write(place: tuple[float, float], text: str, anchor: str) -> None:
        draw.text(place, text, fill=INK, font=font, anchor=anchor)

    foot = TOP + block * len(names)
    for tick in TICKS:
        draw.line([at(tick, TOP), at(tick, foot)], fill=PALE, width=SHARPNESS)
        write(at(tick, foot + 6), f"{tick:g}", "ma")
    draw.line([at(middle, TOP), at(middle, foot)], fill=INK, width=SHARPNESS)
    for number, name in enumerate(names):
        top = TOP + block * number
        centre = top + (block - GAP) / 2 + GAP / 2
        write(((margin - LEFT) * SHARPNESS, centre * SHARPNESS), name, "rm")
        for place, own in enumerate(series.values()):
            if name in own:
                row = top + GAP / 2 + ROW * (place + 0.5)
                _mark(draw, [at(value, row) for value in own[name]], COLOURS[place % len(COLOURS)])
    write(at(0.5, high - 6), across, "md")
    for place, name in enumerate(series):
        row = (high + LEGEND * (place + 0.4)) * SHARPNESS
        left = margin * SHARPNESS
        colour = COLOURS[place % len(COLOURS)]
        draw.line([(left, row), (left + LINE * SHARPNESS, row)], fill=colour, width=4)
        write((left + (LINE + 6) * SHARPNESS, row), name, "lm")
    return image


def _mark(draw: ImageDraw.ImageDraw, places: Sequence[tuple[float, float]], colour: str) -> None:
    (column, row), low, high = places
    draw.line([low, high], fill=colour, width=2 * SHARPNESS)
    reach = 3.5 * SHARPNESS
    draw.ellipse([column - reach, row - reach, column + reach, row + reach], fill=colour)
