"""What is in a scene and what is said of it: attributes, layout and the one caption they allow.

The caption is a function of the picture, so that a captioner can be held to it word for word:

1. Every coloured object is mentioned, grey ones (distractors) never are.
2. Large objects come before small ones, and within a size the one further to the top left first
   (by `x / width + y / height`, which agrees with *left of* and *above* below).
3. A noun phrase is `a SIZE [TEXTURE] COLOUR SHAPE`; a plain texture goes without saying.
4. One object is placed by quarter: `A in the top left`.
5. Of two, the first is related to the second: `A left of B`.
6. Of three, the first is related to both others: `A left of B and above C`; but where the three
   stand in a row or in a column, the middle one is `M between A and B`.
7. A small object within a large one leads: `A inside B`, `A inside B left of C`.

Layouts near a tie (neither clearly beside nor clearly above) are never drawn.
"""

import itertools
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

SHAPES = (
    "circle", "square", "triangle", "star", "cross",
    "ring", "heart", "moon", "diamond", "arrow",
)  # fmt: skip
COLOURS = ("red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink")
TEXTURES = ("plain", "striped", "dotted", "checkered")
SIZES = ("small", "large")

HELD_OUT_PAIRS = frozenset(
    {
        ("red", "star"),
        ("green", "circle"),
        ("blue", "heart"),
        ("yellow", "square"),
        ("purple", "arrow"),
        ("pink", "triangle"),
    }
)
"""(colour, shape) pairs that no training scene shows; validation and test scenes do."""

CONTAINERS = ("circle", "square", "ring")
DISTRACTOR_COLOUR = "grey"


@dataclass(frozen=True)
class Thing:
    """One object as it is to be drawn; lengths in pixels of the scene.

    Attributes:
        shape, colour, size, texture: words of this module; the colour of a distractor is `grey`.
        x, y: centre.
        diameter: side of the square the shape is drawn in.
        angle: rotation in radians.
        mentioned: whether the caption speaks of it.
    """

    shape: str
    colour: str
    size: str
    texture: str
    x: float
    y: float
    diameter: float
    angle: float
    mentioned: bool


class Mention(NamedTuple):
    """Words `[start, end)` of a caption that speak of one object; the article is left out."""

    start: int
    end: int
    object_index: int


@dataclass(frozen=True)
class Layout:
    """Things in drawing order (distractors first), and the order in which the caption names them.

    Attributes:
        height, width: of the image, pixels.
        things: every object.
        inside: `(inner, outer)` indices into `things`, or `None`.
    """

    height: int
    width: int
    things: tuple[Thing, ...]
    inside: tuple[int, int] | None


def relation(first: Thing, second: Thing, height: int, width: int) -> str | None:
    """`first RELATION second` for two separate things, `None` where it is not clear-cut.

    One axis has to dominate by a factor 1.5 after the image is squashed to a square, and still
    dominate in pixels, so that neither a person nor a captioner that squashes can doubt it.
    """
    dx, dy = second.x - first.x, second.y - first.y
    across, down = abs(dx) / width, abs(dy) / height
    if across >= 1.5 * down and abs(dx) >= 1.15 * abs(dy):
        return "left of" if dx > 0 else "right of"
    if down >= 1.5 * across and abs(dy) >= 1.15 * abs(dx):
        return "above" if dy > 0 else "below"
    return None


def sample_layout(rng: np.random.Generator, height: int, width: int, *, held_out: bool) -> Layout:
    """A random arrangement whose caption is beyond doubt.

    Args:
        rng: source of every draw.
        height, width: image size in pixels.
        held_out: whether the pairs of `HELD_OUT_PAIRS` may appear.
    """
    count = 1 + int(np.searchsorted((0.18, 0.47), rng.random()))
    nested = count > 1 and rng.random() < 0.2
    placed = None
    while placed is None:
        spoken = _sample_spoken(rng, count, nested, min(height, width), held_out=held_out)
        placed = _place(rng, spoken, nested, height, width)
    clutter = _sample_distractors(rng, placed, height, width)
    base = len(clutter)
    return Layout(height, width, (*clutter, *placed), (base + 1, base) if nested else None)


def describe(layout: Layout) -> tuple[str, tuple[Mention, ...]]:
    """The caption of `layout` and what each of its noun phrases refers to."""
    parts: list[str | int] = []  # words, and the objects whose noun phrases stand between them
    order = _order_of_mention(layout)
    things, size = layout.things, (layout.height, layout.width)
    if layout.inside is not None:
        inner, outer = layout.inside
        parts = [inner, "inside", outer]
        for other in (i for i in order if i not in layout.inside):
            parts += [_clear(things[outer], things[other], *size), other]
    elif len(order) == 1:
        thing = things[order[0]]
        row = "top" if thing.y < layout.height / 2 else "bottom"
        parts = [order[0], f"in the {row} {'left' if thing.x < layout.width / 2 else 'right'}"]
    elif len(order) == 3 and _in_line([things[i] for i in order], *size):
        first, middle, last = sorted(order, key=lambda i: _reading_order(things[i], *size))
        parts = [middle, "between", first, "and", last]
    else:
        parts = [order[0]]
        for place, other in enumerate(order[1:]):
            parts += ["and"] * (place > 0)
            parts += [_clear(things[order[0]], things[other], *size), other]
    return _write(parts, things)


def _write(parts: list[str | int], things: tuple[Thing, ...]) -> tuple[str, tuple[Mention, ...]]:
    words: list[str] = []
    mentions = []
    for part in parts:
        if isinstance(part, str):
            words += part.split()
            continue
        thing = things[part]
        texture = [] if thing.texture == "plain" else [thing.texture]
        phrase = [thing.size, *texture, thing.colour, thing.shape]
        mentions.append(Mention(len(words) + 1, len(words) + 1 + len(phrase), part))
        words += ["a", *phrase]
    return " ".join(words), tuple(mentions)


def _clear(first: Thing, second: Thing, height: int, width: int) -> str:
    found = relation(first, second, height, width)
    if found is None:
        raise ValueError(
            f"the places of {first} and {second} allow no clear relation; "
            "use a layout made by sample_layout"
        )
    return found


def _reading_order(thing: Thing, height: int, width: int) -> float:
    return thing.x / width + thing.y / height


def _order_of_mention(layout: Layout) -> list[int]:
    spoken = [i for i, thing in enumerate(layout.things) if thing.mentioned]
    return sorted(
        spoken,
        key=lambda i: (
            layout.things[i].size != "large",
            _reading_order(layout.things[i], layout.height, layout.width),
        ),
    )


def _in_line(things: list[Thing], height: int, width: int) -> bool:
    """Whether all pairs are beside each other, or all above each other."""
    axes = {_axis(relation(a, b, height, width)) for a, b in itertools.combinations(things, 2)}
    return len(axes) == 1


def _axis(found: str | None) -> str | None:
    return {"right of": "left of", "below": "above"}.get(found or "", found)


def _sample_spoken(
    rng: np.random.Generator, count: int, nested: bool, side: int, *, held_out: bool
) -> list[Thing]:
    """Attributes and diameters of the mentioned objects; for a nested scene outer, inner, rest."""
    things: list[Thing] = []
    while len(things) < count:
        size = "large" if rng.random() < 0.45 else "small"
        shape = SHAPES[int(rng.random() * len(SHAPES))]
        texture = TEXTURES[max(0, int(rng.random() * 6) - 2)]  # half of the objects are plain
        if nested and not things:
            size, shape = "large", CONTAINERS[int(rng.random() * len(CONTAINERS))]
            texture = "plain"
        elif nested and len(things) == 1:
            size = "small"
        colour = COLOURS[int(rng.random() * len(COLOURS))]
        clash = any(colour == t.colour and (shape == t.shape or nested) for t in things)
        if clash or ((colour, shape) in HELD_OUT_PAIRS and not held_out):
            continue
        low, high = (0.41, 0.46) if size == "large" else (0.27, 0.3)
        diameter = side * (low + (high - low) * rng.random())
        angle = (rng.random() - 0.5) * 0.35
        things.append(Thing(shape, colour, size, texture, 0.0, 0.0, diameter, angle, True))
    if nested:  # room for the inner object, whatever its shape
        things[0] = replace(things[0], diameter=side * (0.47 + 0.04 * rng.random()))
        things[1] = replace(things[1], diameter=side * 0.24)
    return things


def _place(
    rng: np.random.Generator, things: list[Thing], nested: bool, height: int, width: int
) -> list[Thing] | None:
    """Things at random places that leave no doubt, or `None` when forty tries found none."""
    for _ in range(40):
        placed: list[Thing] = []
        for thing in things:
            if nested and len(placed) == 1:
                placed.append(replace(thing, x=placed[0].x, y=placed[0].y))
                continue
            trial = _at_random(rng, thing, height, width)
            if any(
                _touch(trial, other) or relation(trial, other, height, width) is None
                for other in placed
            ):
                break
            placed.append(trial)
        if len(placed) < len(things):
            continue
        if len(placed) == 1 and not _in_a_quarter(placed[0], height, width):
            continue
        return placed
    return None


def _at_random(rng: np.random.Generator, thing: Thing, height: int, width: int) -> Thing:
    half = thing.diameter / 2 + 2
    x = half + (width - 2 * half) * rng.random()
    return replace(thing, x=x, y=half + (height - 2 * half) * rng.random())


def _in_a_quarter(thing: Thing, height: int, width: int) -> bool:
    return abs(thing.x / width - 0.5) > 0.12 and abs(thing.y / height - 0.5) > 0.12


def _touch(first: Thing, second: Thing) -> bool:
    reach = (first.diameter + second.diameter) / 2 + 3
    return abs(first.x - second.x) < reach and abs(first.y - second.y) < reach


def _sample_distractors(
    rng: np.random.Generator, placed: list[Thing], height: int, width: int
) -> list[Thing]:
    """Up to three grey shapes, none to be mentioned, where there is room for them."""
    clutter: list[Thing] = []
    for _ in range(int(rng.random() * 4)):
        shape = SHAPES[int(rng.random() * len(SHAPES))]
        diameter = min(height, width) * (0.1 + 0.14 * rng.random())
        angle = (rng.random() - 0.5) * 1.0
        thing = Thing(shape, DISTRACTOR_COLOUR, "small", "plain", 0.0, 0.0, diameter, angle, False)
        for _ in range(8):
            trial = _at_random(rng, thing, height, width)
            if not any(_touch(trial, other) for other in (*placed, *clutter)):
                clutter.append(trial)
                break
    return clutter
