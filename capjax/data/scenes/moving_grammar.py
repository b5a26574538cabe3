"""What happens in a moving scene and what is said of it: actors, events and the caption they allow.

The caption is a function of the clip, so that a captioner can be held to it word for word:

1. Every coloured object acts, grey ones (distractors) never do and are never mentioned.
2. Events are told in the order in which they happen, joined by `and then`; one is over before the
   next begins, and no verb happens twice in a clip.
3. An event is `SUBJECT VERB`, with a direction where the verb has one: `slides left`.
4. The subject is `a SIZE COLOUR SHAPE` the first time it acts and `the COLOUR SHAPE` later; it goes
   without saying where it is the subject of the event before: `a small red circle jumps and then
   spins`. Two objects differ in colour and in shape.
5. Objects lie still, and are all in view, except while they act. An object that has slid, risen or
   fallen stays where it came to rest.

What an action looks like is in `moving_render`: every single frame of it shows it, and
no other frame does, so that one frame is enough to see what happens, but only their order says
what happened first.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from capjax.data.scenes.grammar import (
    COLOURS,
    DISTRACTOR_COLOUR,
    HELD_OUT_PAIRS,
    SHAPES,
    Mention,
    Thing,
)

VERBS = (
    "jumps", "rises", "falls", "slides left", "slides right",
    "spins", "shakes", "glows", "sparkles", "splits",
)  # fmt: skip

HELD_OUT_ACTIONS = frozenset(
    {
        ("jumps", "star"),
        ("rises", "heart"),
        ("falls", "diamond"),
        ("slides left", "cross"),
        ("slides right", "triangle"),
        ("spins", "square"),
        ("shakes", "ring"),
        ("glows", "moon"),
        ("sparkles", "arrow"),
        ("splits", "circle"),
    }
)
"""(verb, shape) pairs that no training clip shows; validation and test clips do. The (colour,
shape) pairs of `HELD_OUT_PAIRS` are kept out of training too."""

TRAVEL = 0.5
"""How far an object slides, rises or falls, and how high it jumps, in diameters."""
MARGIN = 8.0
"""Pixels around an object that the marks of its actions may need."""
LONGEST = (0.38, 0.31, 0.27)
"""Longest share of the frames that an event takes in clips of one, two and three events."""
LEAST_FRAMES = 16
_SHORTEST = 0.72  # of the longest


class Event(NamedTuple):
    """One action.

    Attributes:
        actor: index of the thing that acts.
        verb: one of `VERBS`.
        start, end: frames `[start, end)` in which it happens.
    """

    actor: int
    verb: str
    start: int
    end: int


class Told(NamedTuple):
    """Words `[start, end)` of the caption that are the verb of event number `event`."""

    start: int
    end: int
    event: int


@dataclass(frozen=True)
class Plot:
    """Things as they lie before anything happens, in drawing order (distractors first), and events.

    Attributes:
        height, width: of every frame, pixels.
        frames: number of frames.
        things: every object.
        events: in the order in which they happen.
    """

    height: int
    width: int
    frames: int
    things: tuple[Thing, ...]
    events: tuple[Event, ...]


def displacement(verb: str, diameter: float) -> tuple[float, float]:
    """How far (x, y) an object lies from its old place after an action, in pixels."""
    distance = TRAVEL * diameter
    return {
        "slides left": (-distance, 0.0),
        "slides right": (distance, 0.0),
        "rises": (0.0, -distance),
        "falls": (0.0, distance),
    }.get(verb, (0.0, 0.0))


def describe(plot: Plot) -> tuple[str, tuple[Mention, ...], tuple[Told, ...]]:
    """The caption of `plot`, what its noun phrases refer to, and which words tell which event."""
    words: list[str] = []
    mentions: list[Mention] = []
    told: list[Told] = []
    named: set[int] = set()
    for number, event in enumerate(plot.events):
        words += ["and", "then"] * (number > 0)
        if number == 0 or plot.events[number - 1].actor != event.actor:
            thing = plot.things[event.actor]
            new = event.actor not in named
            phrase = [thing.size] * new + [thing.colour, thing.shape]
            words.append("a" if new else "the")
            mentions.append(Mention(len(words), len(words) + len(phrase), event.actor))
            words += phrase
            named.add(event.actor)
        verb = event.verb.split()
        told.append(Told(len(words), len(words) + len(verb), number))
        words += verb
    return " ".join(words), tuple(mentions), tuple(told)


def sample_plot(
    rng: np.random.Generator, height: int, width: int, frames: int, *, held_out: bool
) -> Plot:
    """A random clip whose caption is beyond doubt.

    Args:
        rng: source of every draw.
        height, width: of the frames in pixels.
        frames: number of frames.
        held_out: whether the pairs of `HELD_OUT_PAIRS` and `HELD_OUT_ACTIONS` may appear.
    """
    cast = _sample_cast(rng)
    placed, verbs = None, list[str]()
    while placed is None:
        actors = _sample_actors(rng, max(cast) + 1, min(height, width), held_out=held_out)
        verbs = _sample_verbs(rng, [actors[i] for i in cast], held_out=held_out)
        if verbs:
            parts = list(zip(verbs, cast, strict=True))
            areas = [
                _area(actor, [verb for verb, i in parts if i == index])
                for index, actor in enumerate(actors)
            ]
            placed = _place(rng, actors, areas, height, width)
    clutter = _sample_distractors(rng, [area for _, area in placed], height, width)
    base = len(clutter)
    spans = _sample_intervals(rng, frames, len(cast))
    events = tuple(
        Event(base + actor, verb, *span)
        for actor, verb, span in zip(cast, verbs, spans, strict=True)
    )
    return Plot(height, width, frames, (*clutter, *(thing for thing, _ in placed)), events)


Area = tuple[float, float, float, float]  # x0, y0, x1, y1 that an object and its marks may need

_CASTS = (
    ((0,), 0.15),
    ((0, 0), 0.15),
    ((0, 1), 0.35),
    ((0, 0, 1), 0.11),
    ((0, 1, 0), 0.12),
    ((0, 1, 1), 0.12),
)
"""Who acts in each event, and how often."""


def _sample_cast(rng: np.random.Generator) -> tuple[int, ...]:
    shares = np.cumsum([share for _, share in _CASTS])
    return _CASTS[int(np.searchsorted(shares, rng.random() * shares[-1], side="right"))][0]


def _sample_actors(
    rng: np.random.Generator, count: int, side: int, *, held_out: bool
) -> list[Thing]:
    """Objects, not yet placed, that differ in colour and in shape."""
    things: list[Thing] = []
    while len(things) < count:
        size = "large" if rng.random() < 0.55 else "small"  # fewer large ones find room
        shape = SHAPES[int(rng.random() * len(SHAPES))]
        colour = COLOURS[int(rng.random() * len(COLOURS))]
        clash = any(colour == thing.colour or shape == thing.shape for thing in things)
        if clash or ((colour, shape) in HELD_OUT_PAIRS and not held_out):
            continue
        low, high = (0.34, 0.38) if size == "large" else (0.23, 0.26)
        diameter = side * (low + (high - low) * rng.random())
        angle = (rng.random() - 0.5) * 0.3
        things.append(Thing(shape, colour, size, "plain", 0.0, 0.0, diameter, angle, True))
    return things


def _sample_verbs(rng: np.random.Generator, actors: list[Thing], *, held_out: bool) -> list[str]:
    """A verb for each event, no first word twice; none at all where a held-out pair came up."""
    verbs: list[str] = []
    for actor in actors:
        verb = VERBS[int(rng.random() * len(VERBS))]
        repeated = verb.split()[0] in [other.split()[0] for other in verbs]
        if repeated or ((verb, actor.shape) in HELD_OUT_ACTIONS and not held_out):
            return []
        verbs.append(verb)
    return verbs


def _sample_intervals(rng: np.random.Generator, frames: int, count: int) -> list[tuple[int, int]]:
    """Frames of each event, with a frame of rest or more before, between and after them."""
    longest = min(frames * LONGEST[count - 1], (frames - count - 1) // count)
    lengths = [round(longest * (_SHORTEST + (1 - _SHORTEST) * rng.random())) for _ in range(count)]
    spare = frames - sum(lengths) - (count + 1)
    cuts = sorted(int(rng.random() * (spare + 1)) for _ in range(count))
    spans, past = [], 0
    for number, (length, cut) in enumerate(zip(lengths, cuts, strict=True)):
        start = cut + number + 1 + past
        spans.append((start, start + length))
        past += length
    return spans


def _area(thing: Thing, verbs: list[str]) -> Area:
    """All that a thing and the marks of its actions may cover, around its own place."""
    reach = 0.55 * thing.diameter + MARGIN
    places = [(0.0, 0.0)]
    for verb in verbs:
        x, y = places[-1]
        dx, dy = displacement(verb, thing.diameter)
        if verb == "jumps":
            places.append((x, y - TRAVEL * thing.diameter))
        places.append((x + dx, y + dy))
    across, down = zip(*places, strict=True)
    return min(across) - reach, min(down) - reach, max(across) + reach, max(down) + reach


def _place(
    rng: np.random.Generator,
    actors: list[Thing],
    areas: list[Area],
    height: int,
    width: int,
) -> list[tuple[Thing, Area]] | None:
    """Actors where nothing they do leaves the frame or touches another; `None` without room.

    Two areas stand side by side or one above the other, whichever has room, at a random distance.
    """
    across, down = ([area[i + 2] - area[i] for area in areas] for i in (0, 1))
    free = [width - sum(across), height - sum(down)]
    if max(across) > width or max(down) > height or max(free) < 0:
        return None
    beside = rng.random() < 0.5 if min(free) >= 0 else free[0] >= 0
    order = range(len(actors))[:: 1 if rng.random() < 0.5 else -1]
    past, placed = 0.0, {}
    for cut, index in zip(np.sort(rng.random(len(actors))), order, strict=True):
        along = past + cut * free[not beside]
        past += (across if beside else down)[index]
        aside = ((height - down[index]) if beside else (width - across[index])) * rng.random()
        left, top = (along, aside) if beside else (aside, along)
        x, y = left - areas[index][0], top - areas[index][1]
        thing = replace(actors[index], x=float(x), y=float(y))
        placed[index] = thing, (left, top, left + across[index], top + down[index])
    return [placed[index] for index in range(len(actors))]


def _overlap(first: Area, second: Area) -> bool:
    apart_x = first[2] <= second[0] or second[2] <= first[0]
    apart_y = first[3] <= second[1] or second[3] <= first[1]
    return not (apart_x or apart_y)


def _sample_distractors(
    rng: np.random.Generator, taken: list[Area], height: int, width: int
) -> list[Thing]:
    """Up to two grey shapes that nothing coloured ever touches, where there is room for them."""
    clutter: list[Thing] = []
    areas = list(taken)
    for _ in range(int(rng.random() * 3)):
        shape = SHAPES[int(rng.random() * len(SHAPES))]
        diameter = min(height, width) * (0.12 + 0.1 * rng.random())
        angle = (rng.random() - 0.5) * 1.0
        thing = Thing(shape, DISTRACTOR_COLOUR, "small", "plain", 0.0, 0.0, diameter, angle, False)
        half = 0.65 * diameter + 1
        for _ in range(8):
            x, y = (half + (side - 2 * half) * rng.random() for side in (width, height))
            area = x - half, y - half, x + half, y + half
            if not any(_overlap(area, other) for other in areas):
                clutter.append(replace(thing, x=x, y=y))
                areas.append(area)
                break
    return clutter
