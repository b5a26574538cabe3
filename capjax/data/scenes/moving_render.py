"""Draws a moving scene frame by frame, with the box of every object in every frame.

Each action leaves a mark in every frame of it that nothing else leaves, as comics do it: an object
that jumps hangs above its shadow; one that slides, rises or falls pulls streaks behind it; one that
spins turns between two arrows; one that shakes trembles between bars; one that glows has a halo,
one that sparkles little stars around it; one that splits comes apart down the middle and closes
again. Background and distractors stand still, so that frames differ by what happens alone.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image, ImageDraw, ImageFilter

from capjax.data.scenes.grammar import Thing
from capjax.data.scenes.moving_grammar import MARGIN, TRAVEL, Event, Plot, displacement
from capjax.data.scenes.render import SUPERSAMPLING, background, coverage, paint

Colour = Float[np.ndarray, "3"]
Layer = Float[np.ndarray, "H W"]
Box = tuple[int, int, int, int]

_LINE = 2.0  # width of the marks, pixels
_DARK = 130  # mean of a background that is drawn on with lighter marks


@dataclass(frozen=True)
class _Look:
    """How a thing looks in one frame.

    Attributes:
        thing: at its place and angle.
        gap: pixels between its two halves.
        verb: what it does, empty at rest.
        origin: (x, y) of the place where the action began.
        moment: share of the action that is over, above 0 and below 1.
        number: frames of the action before this one.
    """

    thing: Thing
    gap: int = 0
    verb: str = ""
    origin: tuple[float, float] = (0.0, 0.0)
    moment: float = 0.0
    number: int = 0


def render(
    plot: Plot, rng: np.random.Generator, numbers: Sequence[int] | None = None
) -> tuple[UInt8[np.ndarray, "F H W 3"], Int[np.ndarray, "N F 4"]]:
    """Frames of ``plot`` and the box of each thing in each of them.

    A box is (x0, y0, x1, y1), both ends inclusive, of the pixels that the thing itself covers by
    half or more; the marks of its action are not part of it.

    Args:
        plot: what happens.
        rng: source of the background and of shades, in the state that `sample_plot` left.
        numbers: of the frames to draw; `None` for all.
    """
    numbers = range(plot.frames) if numbers is None else numbers
    size = plot.height, plot.width
    still = background(rng, *size)
    bright = float(still.mean()) > _DARK
    boxes = np.zeros((len(plot.things), len(numbers), 4), int)
    actors = []
    for index, thing in enumerate(plot.things):
        # The texture of moving things is plain: one pixel of it is all of it.
        fill, edge = (part.reshape(-1, 3)[0] for part in paint(thing, rng, 1, 1))
        if thing.mentioned:
            actors.append((index, _looks(plot, index), fill, edge))
        else:
            boxes[index] = _draw_body(still, _Look(thing), fill, edge)
    frames = np.empty((len(numbers), *size, 3), np.uint8)
    last: tuple[_Look, ...] = ()
    for row, number in enumerate(numbers):
        looks = tuple(own[number] for _, own, _, _ in actors)
        if looks == last:
            frames[row], boxes[:, row] = frames[row - 1], boxes[:, row - 1]
            continue
        canvas, last = still.copy(), looks
        for (index, _, fill, edge), look in zip(actors, looks, strict=True):
            _draw_marks(canvas, look, fill, bright=bright)
            body = fill + 0.3 * (255 - fill) if look.verb == "glows" else fill
            boxes[index, row] = _draw_body(canvas, look, body, edge)
        frames[row] = np.clip(canvas + 0.5, 0, 255).astype(np.uint8)
    return frames, boxes


def _looks(plot: Plot, index: int) -> list[_Look]:
    """How thing `index` looks in every frame."""
    thing = plot.things[index]
    looks: list[_Look] = []
    for event in (event for event in plot.events if event.actor == index):
        looks += [_Look(thing)] * (event.start - len(looks))
        length = event.end - event.start
        looks += [_act(thing, event, number, length) for number in range(length)]
        dx, dy = displacement(event.verb, thing.diameter)
        thing = replace(thing, x=thing.x + dx, y=thing.y + dy)
    return looks + [_Look(thing)] * (plot.frames - len(looks))


def _act(thing: Thing, event: Event, number: int, length: int) -> _Look:
    """A thing in frame `number` of the `length` frames of what it does."""
    moment = (number + 1) / (length + 1)
    swell = math.sin(math.pi * moment)
    look = _Look(thing, 0, event.verb, (thing.x, thing.y), moment, number)
    if event.verb == "jumps":
        lift = TRAVEL * thing.diameter * (0.4 + 0.6 * swell)
        return replace(look, thing=replace(thing, y=thing.y - lift))
    if event.verb == "spins":
        return replace(look, thing=replace(thing, angle=thing.angle + 2 * math.pi * moment))
    if event.verb == "shakes":
        shift = thing.diameter * (0.08 if number % 2 else -0.08)
        return replace(look, thing=replace(thing, x=thing.x + shift))
    if event.verb == "splits":
        half = max(2, round(thing.diameter * (0.08 + 0.1 * swell)))
        return replace(look, gap=2 * half)
    dx, dy = displacement(event.verb, thing.diameter)
    eased = moment * moment * (3 - 2 * moment)
    return replace(look, thing=replace(thing, x=thing.x + eased * dx, y=thing.y + eased * dy))


def _draw_body(canvas: Float[np.ndarray, "H W 3"], look: _Look, fill: Colour, edge: Colour) -> Box:
    """Draws the thing itself and returns its box."""
    covered = np.zeros(canvas.shape[:2], bool)
    left, top, cover, rim = coverage(look.thing)
    middle = min(max(round(look.thing.x) - left, 0), cover.shape[1])
    halves = [(0, cover.shape[1], 0)]
    if look.gap:
        halves = [(0, middle, -look.gap // 2), (middle, cover.shape[1], look.gap // 2)]
    for first, end, shift in halves:
        rows = slice(top, top + cover.shape[0])
        columns = slice(left + first + shift, left + end + shift)
        window = canvas[rows, columns]
        own, outline = (
            part[: window.shape[0], first : first + window.shape[1], None] for part in (cover, rim)
        )
        window += own * (fill - window)
        window += outline * (edge - window)
        covered[rows, columns] |= own[..., 0] >= 0.5
    down, across = np.flatnonzero(covered.any(axis=1)), np.flatnonzero(covered.any(axis=0))
    return int(across[0]), int(down[0]), int(across[-1]), int(down[-1])


def _draw_marks(
    canvas: Float[np.ndarray, "H W 3"], look: _Look, fill: Colour, *, bright: bool
) -> None:
    """Draws what shows the action, below the thing itself."""
    if not look.verb or look.verb == "splits":
        return
    colour = fill * 0.85 if bright else fill + 0.35 * (255 - fill)
    if look.verb == "glows":
        amount = _halo(look.thing, canvas.shape[:2])
        canvas += amount[..., None] * (colour - canvas)
        return
    pen = _Pen(canvas.shape[:2])
    if look.verb == "jumps":
        radius, (x, y) = look.thing.diameter / 2, look.origin
        pen.ellipse(x, y + 1.05 * radius, 0.95 * radius, 0.24 * radius + 1)
        canvas -= 0.6 * pen.layer()[..., None] * canvas
        return
    _MARKS[look.verb.split()[0]](pen, look)
    canvas += pen.layer()[..., None] * (colour - canvas)


def _halo(thing: Thing, size: tuple[int, int]) -> Layer:
    """Light around a thing that fades outwards."""
    left, top, cover, _ = coverage(thing)
    whole = np.zeros(size, np.float32)
    window = whole[top : top + cover.shape[0], left : left + cover.shape[1]]
    window += cover[: window.shape[0], : window.shape[1]]
    blurred = Image.fromarray((255 * whole).astype(np.uint8)).filter(ImageFilter.GaussianBlur(3.5))
    return np.clip(2.2 * np.asarray(blurred, np.float32) / 255, 0, 0.85)


class _Pen:
    """Draws antialiased marks; lengths in pixels of the frame."""

    def __init__(self, size: tuple[int, int]) -> None:
        height, width = size
        self._image = Image.new("L", (width * SUPERSAMPLING, height * SUPERSAMPLING))
        self._draw = ImageDraw.Draw(self._image)

    def line(self, *points: tuple[float, float]) -> None:
        scaled = [(SUPERSAMPLING * x, SUPERSAMPLING * y) for x, y in points]
        self._draw.line(scaled, fill=255, width=round(SUPERSAMPLING * _LINE), joint="curve")

    def polygon(self, *points: tuple[float, float]) -> None:
        self._draw.polygon([(SUPERSAMPLING * x, SUPERSAMPLING * y) for x, y in points], fill=255)

    def ellipse(self, x: float, y: float, across: float, down: float) -> None:
        corners = (x - across, y - down, x + across, y + down)
        self._draw.ellipse([SUPERSAMPLING * corner for corner in corners], fill=255)

    def layer(self) -> Layer:
        return np.asarray(self._image.reduce(SUPERSAMPLING), np.float32) / 255


def _streaks(pen: _Pen, look: _Look) -> None:
    """Three lines on the side that the thing comes from."""
    thing, radius = look.thing, look.thing.diameter / 2
    dx, dy = displacement(look.verb, thing.diameter)
    moved = math.hypot(thing.x - look.origin[0], thing.y - look.origin[1])
    back_x, back_y = -dx / math.hypot(dx, dy), -dy / math.hypot(dx, dy)
    near, far = 1.1 * radius + 1, 1.1 * radius + MARGIN - 1 + 0.7 * moved
    for offset in (-0.62 * radius, 0.0, 0.62 * radius):
        ends = [
            (thing.x + back_x * reach - back_y * offset, thing.y + back_y * reach + back_x * offset)
            for reach in (near, far)
        ]
        pen.line(*ends)


def _arrows(pen: _Pen, look: _Look) -> None:
    """Two arrows that chase each other around the thing."""
    radius = 0.55 * look.thing.diameter + 4.5
    centre = look.thing.x, look.thing.y
    for half in (0.0, math.pi):
        start = half + 2 * math.pi * look.moment
        turns = [start + math.radians(105) * k / 10 for k in range(11)]
        pen.line(*(_around(centre, radius, turn) for turn in turns))
        tip = _around(centre, radius, turns[-1] + 4.5 / radius)
        pen.polygon(
            tip,
            _around(centre, radius - 3, turns[-1] - 0.5 / radius),
            _around(centre, radius + 3, turns[-1] - 0.5 / radius),
        )


def _bars(pen: _Pen, look: _Look) -> None:
    """Two upright bars on either side of the place where the thing trembles."""
    (x, y), radius = look.origin, look.thing.diameter / 2
    for side in (-1, 1):
        for beyond, share in ((2.0, 0.8), (5.5, 0.5)):
            place, half = x + side * (1.2 * radius + beyond), share * radius
            pen.line((place, y - half), (place, y + half))


def _stars(pen: _Pen, look: _Look) -> None:
    """Six little stars around the thing that grow and shrink in turn."""
    centre, radius = (look.thing.x, look.thing.y), 0.55 * look.thing.diameter + 4
    for number in range(6):
        x, y = _around(centre, radius, math.pi * (number / 3 + 1 / 6))
        size = 4.0 if (number + look.number) % 2 else 2.8
        corners = []
        for corner in range(8):
            reach = (size, 0.3 * size)[corner % 2]
            corners.append(_around((x, y), reach, math.pi * corner / 4))
        pen.polygon(*corners)


def _around(centre: tuple[float, float], radius: float, turn: float) -> tuple[float, float]:
    return centre[0] + radius * math.cos(turn), centre[1] + radius * math.sin(turn)


_MARKS = {
    "slides": _streaks,
    "rises": _streaks,
    "falls": _streaks,
    "spins": _arrows,
    "shakes": _bars,
    "sparkles": _stars,
}
