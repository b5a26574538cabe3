"""Draws a scene: antialiased shapes with textures over a muted background, and their masks."""

import functools
import math
from collections.abc import Collection

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image, ImageDraw

from capjax.data.scenes.grammar import Layout, Thing

SUPERSAMPLING = 4
_PALETTE = {
    "red": (214, 40, 40),
    "orange": (245, 130, 20),
    "yellow": (250, 214, 30),
    "green": (46, 150, 60),
    "cyan": (60, 205, 215),
    "blue": (38, 80, 200),
    "purple": (128, 50, 170),
    "pink": (250, 130, 180),
}
_BACKGROUNDS = (  # muted, so that colour belongs to objects
    (238, 234, 224),
    (222, 226, 230),
    (205, 212, 200),
    (214, 202, 190),
    (92, 98, 108),
    (70, 72, 76),
    (60, 66, 78),
    (84, 78, 74),
)

Polygon = tuple[tuple[float, float], ...]


def _circle(radius: float, x: float = 0.0) -> Polygon:
    turns = [2 * math.pi * k / 40 for k in range(40)]
    return tuple((x + radius * math.cos(t), radius * math.sin(t)) for t in turns)


def _star() -> Polygon:
    corners = []
    for k in range(10):
        radius, turn = (1.05, 0.46)[k % 2], -math.pi / 2 + math.pi * k / 5
        corners.append((radius * math.cos(turn), 0.06 + radius * math.sin(turn)))
    return tuple(corners)


def _heart() -> Polygon:
    points = []
    for k in range(44):
        t = 2 * math.pi * k / 44
        x = math.sin(t) ** 3
        y = 13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)
        points.append((x, -(y + 2.5) / 15.0))
    return tuple(points)


def _moon() -> Polygon:
    """The unit disc without the disc of radius 0.85 around (0.6, 0)."""
    x = (1 - 0.85**2 + 0.6**2) / (2 * 0.6)  # where the two circles meet
    outer = math.atan2(math.sqrt(1 - x * x), x)
    inner = math.atan2(math.sqrt(1 - x * x), x - 0.6)
    far = [outer + (2 * math.pi - 2 * outer) * k / 30 for k in range(31)]
    near = [(2 * math.pi - inner) - (2 * math.pi - 2 * inner) * k / 24 for k in range(25)]
    return tuple((math.cos(t) + 0.15, math.sin(t)) for t in far) + tuple(
        (0.75 + 0.85 * math.cos(t), 0.85 * math.sin(t)) for t in near
    )


_CROSS: Polygon = (
    (-0.33, -1), (0.33, -1), (0.33, -0.33), (1, -0.33), (1, 0.33), (0.33, 0.33),
    (0.33, 1), (-0.33, 1), (-0.33, 0.33), (-1, 0.33), (-1, -0.33), (-0.33, -0.33),
)  # fmt: skip
_ARROW: Polygon = (
    (-1, -0.3), (0.05, -0.3), (0.05, -0.85), (1, 0), (0.05, 0.85), (0.05, 0.3), (-1, 0.3),
)  # fmt: skip

# Outline, then holes, in a unit square from -1 to 1 with y downwards.
_OUTLINES: dict[str, tuple[Polygon, ...]] = {
    "circle": (_circle(0.97),),
    "square": (((-0.88, -0.88), (0.88, -0.88), (0.88, 0.88), (-0.88, 0.88)),),
    "triangle": (((0, -0.95), (1, 0.85), (-1, 0.85)),),
    "star": (_star(),),
    "cross": (_CROSS,),
    "ring": (_circle(1.0), _circle(0.6)),
    "heart": (_heart(),),
    "moon": (_moon(),),
    "diamond": (((0, -1), (0.68, 0), (0, 1), (-0.68, 0)),),
    "arrow": (_ARROW,),
}


def render(
    layout: Layout, rng: np.random.Generator, *, without: Collection[int] = ()
) -> tuple[UInt8[np.ndarray, "H W 3"], list[Bool[np.ndarray, "H W"]]]:
    """The picture of ``layout``, and for each thing the pixels on which it is seen.

    A thing drawn later hides what it covers. A pixel belongs to a thing that covers at least half
    of it.

    Args:
      layout: what to draw.
      rng: source of every draw.
      without: numbers of things to leave out; all others look as they do beside them.
    """
    canvas = background(rng, layout.height, layout.width)
    masks: list[Bool[np.ndarray, "H W"]] = []
    for number, thing in enumerate(layout.things):
        left, top, cover, rim = coverage(thing)
        height, width = cover.shape
        window = canvas[top : top + height, left : left + width]
        # Things keep two pixels off the border, but the antialiased patch may reach beyond it.
        cover, rim = (part[: window.shape[0], : window.shape[1], None] for part in (cover, rim))
        fill, edge = paint(thing, rng, cover.shape[0], cover.shape[1])  # draws, seen or not
        if number in without:
            masks.append(np.zeros((layout.height, layout.width), bool))
            continue
        window += cover * (fill - window)
        window += rim * (edge - window)
        mask = np.zeros((layout.height, layout.width), bool)
        mask[top : top + height, left : left + width] = cover[..., 0] >= 0.5
        for below in masks:
            below &= ~mask
        masks.append(mask)
    return np.clip(canvas + 0.5, 0, 255).astype(np.uint8), masks


def coverage(
    thing: Thing,
) -> tuple[int, int, Float[np.ndarray, "h w"], Float[np.ndarray, "h w"]]:
    """Left, top of a patch, and the share of each of its pixels inside the shape and on its rim."""
    radius = thing.diameter / 2
    left, top = (max(0, math.floor(c - 1.25 * radius)) for c in (thing.x, thing.y))
    right, bottom = (math.ceil(c + 1.25 * radius) for c in (thing.x, thing.y))
    scale = SUPERSAMPLING
    size = ((right - left) * scale, (bottom - top) * scale)
    cosine, sine = radius * math.cos(thing.angle), radius * math.sin(thing.angle)
    inside, rim = Image.new("L", size), Image.new("L", size)
    draw_inside, draw_rim = ImageDraw.Draw(inside), ImageDraw.Draw(rim)
    x, y = thing.x - left, thing.y - top
    for number, outline in enumerate(_OUTLINES[thing.shape]):
        points = [
            (
                scale * (x + cosine * u - sine * v) - 0.5,
                scale * (y + sine * u + cosine * v) - 0.5,
            )
            for u, v in outline
        ]
        draw_inside.polygon(points, fill=255 * (number == 0))
        draw_rim.line([*points, points[0], points[1]], fill=255, width=scale + 2, joint="curve")
    cover, edge = (np.asarray(part.reduce(scale), np.float32) / 255 for part in (inside, rim))
    return left, top, cover, edge * cover


def paint(
    thing: Thing, rng: np.random.Generator, height: int, width: int
) -> tuple[Float[np.ndarray, "h w 3"], Float[np.ndarray, "3"]]:
    """Colour of every pixel of a patch with the texture of ``thing``, and of its rim."""
    if not thing.mentioned:
        grey = np.full(3, (120, 140, 160, 175)[int(rng.random() * 4)], np.float32)
        return grey, grey * 0.8
    base = np.asarray(_PALETTE[thing.colour], np.float32)
    base = np.clip(base * (0.92 + 0.16 * rng.random()) + 10 * (rng.random() - 0.5), 0, 255)
    if thing.texture == "plain":
        return base, base * 0.72
    light = base @ np.asarray((0.3, 0.59, 0.11), np.float32) > 130
    second = base * 0.42 if light else base + 0.8 * (255 - base)
    amount = _texture(thing.texture, rng, height, width)[..., None]
    return base + amount * (second - base), base * 0.72


def _texture(
    name: str, rng: np.random.Generator, height: int, width: int
) -> Float[np.ndarray, "h w"]:
    """How much of a second colour each pixel of a patch has, from 0 to 1, with soft edges."""
    rows, columns = _grid(height, width)
    down, across = rows + 14 * rng.random(), columns + 14 * rng.random()
    if name == "striped":
        # Never diagonal: a chequerboard is a pair of diagonal waves, and small pictures blur the
        # difference.
        wave = np.sin((across if rng.random() < 0.5 else down) * (2 * math.pi / 8))
        return np.clip(0.5 + 1.6 * wave, 0, 1)
    if name == "checkered":
        wave = np.sin(across * (math.pi / 7)) * np.sin(down * (math.pi / 7))
        return np.clip(0.5 + 3 * wave, 0, 1)
    # Dots on a staggered lattice.
    shift = 4 * (np.floor(down / 7) % 2)
    x, y = (across + shift) % 8 - 4, down % 7 - 3.5
    return np.clip(2.7 - np.sqrt(x * x + y * y), 0, 1)


def background(rng: np.random.Generator, height: int, width: int) -> Float[np.ndarray, "H W 3"]:
    """Muted gradient with one of five faint patterns and a little noise."""
    choice = int(rng.random() * len(_BACKGROUNDS))
    base = np.asarray(_BACKGROUNDS[choice], np.float32) + 12 * (rng.random() - 0.5)
    rows, columns = _grid(height, width)
    slope_x, slope_y = 36 * (rng.random() - 0.5) / width, 36 * (rng.random() - 0.5) / height
    shade = slope_x * columns + slope_y * rows
    pattern, strength = int(rng.random() * 5), 5 + 6 * rng.random()
    if pattern == 1:  # horizon
        shade = shade + 2 * strength * (rows > height * (0.35 + 0.4 * rng.random()))
    elif pattern == 2:  # squared paper
        pitch = 10 + int(6 * rng.random())
        shade = shade - strength * ((rows % pitch == 0) | (columns % pitch == 0))
    elif pattern == 3:  # broad diagonal bands
        shade = shade + strength * (((rows + columns) // 18) % 2)
    elif pattern == 4:  # clouds: coarse noise, enlarged smoothly
        coarse = Image.fromarray(rng.random((5, 6), np.float32))
        clouds = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))
        shade = shade + 4 * strength * (clouds - 0.5)
    grain = rng.random((height, width), np.float32)
    return base + (shade + 5 * (grain - 0.5))[..., None].astype(np.float32)


@functools.lru_cache(maxsize=256)
def _grid(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    rows, columns = np.mgrid[:height, :width]
    return rows.astype(np.float32), columns.astype(np.float32)
