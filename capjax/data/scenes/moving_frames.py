"""Single frames of moving scenes, each with what is to be seen in it.

An encoder that learns to describe them from the mean of its map has in that mean all that a reader
of clips needs of a frame: who is there, and who does what. `configs/scenes_frames.py` trains the
encoder of the video configs in this way, since whole clips would take it 26 times as long.

The caption is a function of the frame:

1. `A VERB while B rests`, `A VERB`, `A and B rest` or `A rests`; A and B are `a SIZE COLOUR SHAPE`.
2. Who acts comes first. Of two that rest, the first is the one whose colour comes first in
   `COLOURS`.
"""

import dataclasses

import numpy as np
from jaxtyping import Int

from capjax.data.pictures.images import prepare
from capjax.data.scenes.grammar import COLOURS
from capjax.data.scenes.moving import MovingScenes
from capjax.data.scenes.moving_grammar import Plot
from capjax.data.scenes.moving_render import render
from capjax.data.scenes.still import SPLITS
from capjax.types import Preprocessing

ACTING = 0.8
"""Share of the frames that are picked among those in which something happens."""
_OWN_STREAM = 2  # of random numbers


@dataclasses.dataclass(frozen=True)
class MovingFrames:
    """One frame of each clip, by number; safe in worker processes.

    Attributes:
      scenes: which clips.
      preprocessing: of a captioner of images.
    """

    scenes: MovingScenes
    preprocessing: Preprocessing

    def __call__(self, numbers: Int[np.ndarray, " B"]) -> dict[str, np.ndarray]:
        """`image` [B H W 3] uint8 of the frames of the clips with these numbers."""
        images = []
        for number in numbers:
            plot, generator = self.scenes.plot(int(number))
            frame = picked_frame(self.scenes, int(number), plot)
            pictures, _ = render(plot, generator, [frame])
            images.append(prepare(pictures[0], self.preprocessing)[0])
        return {"image": np.stack(images)}


def frame_captions(scenes: MovingScenes) -> list[tuple[str, ...]]:
    """What each frame shows, one caption each, without rendering any."""
    plots = ((number, scenes.plot(number)[0]) for number in range(len(scenes)))
    return [(describe_frame(plot, picked_frame(scenes, number, plot)),) for number, plot in plots]


def describe_frame(plot: Plot, frame: int) -> str:
    """The caption of one frame of `plot`."""
    events = [event for event in plot.events if event.start <= frame < event.end]
    acting = [event.actor for event in events]
    names = {
        index: f"a {thing.size} {thing.colour} {thing.shape}"
        for index, thing in enumerate(plot.things)
        if thing.mentioned
    }
    rest = sorted(
        (index for index in names if index not in acting),
        key=lambda index: COLOURS.index(plot.things[index].colour),
    )
    resting = " and ".join(names[index] for index in rest) + (" rest" if rest[1:] else " rests")
    if not events:
        return resting
    told = f"{names[acting[0]]} {events[0].verb}"
    return f"{told} while {resting}" if rest else told


def picked_frame(scenes: MovingScenes, number: int, plot: Plot) -> int:
    """The frame of clip `number` that is described; a function of the same as the clip itself."""
    origin = (scenes.seed, SPLITS.index(scenes.split), number, _OWN_STREAM)
    draw, choice = np.random.Generator(np.random.PCG64(origin)).random(2)
    acting = [frame for event in plot.events for frame in range(event.start, event.end)]
    resting = sorted(set(range(plot.frames)) - set(acting))
    frames = acting if draw < ACTING else resting
    return frames[int(choice * len(frames))]
