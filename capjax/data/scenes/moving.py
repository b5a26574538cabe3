"""Moving scenes: small rendered clips with exact captions, the frames of each action, and boxes.

A clip is a function of (seed, split, index) alone: it does not depend on which clips were made
before, on their number or on the process. What happens, what is said of it and why it can only be
said so, is in `capjax.data.scenes.moving_grammar`; what it looks like, in `moving_render`.

Each verb happens in about a quarter of the frames, so that a frame picked at random shows it one
time in four (`tests/data/scenes/test_moving.py` has the number).

    python -m capjax.data.scenes.moving --out DIR --n 64 --split val
"""

import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int, UInt8

from capjax.data.pictures.clips import import_pyav
from capjax.data.pictures.frame_times import frame_indices
from capjax.data.pictures.images import prepare
from capjax.data.scenes.command_line import write_scenes
from capjax.data.scenes.drawn import Drawn
from capjax.data.scenes.grammar import SHAPES, Mention
from capjax.data.scenes.moving_grammar import LEAST_FRAMES, VERBS, Plot, describe, sample_plot
from capjax.data.scenes.moving_render import render
from capjax.data.scenes.still import SPLITS
from capjax.runtime.standard_streams import outlive_readers
from capjax.types import Preprocessing

FRAMES = 26
FRAME_SIZES = ((72, 96), (96, 72), (72, 88), (80, 80))
"""(height, width) in pixels; each clip has one of them."""
FRAMES_A_SECOND = 8
_OWN_STREAM = 1  # so that a clip is not drawn like the scene of its number


@dataclasses.dataclass(frozen=True)
class MovingObject:
    """One drawn object.

    Attributes:
      shape, colour, size: words of the captions; a distractor is "grey".
      mentioned: whether the caption speaks of it; distractors are never mentioned.
      boxes: [F 4] (x0, y0, x1, y1) of its pixels in each frame, 0-based, both ends inclusive; the
        marks of an action (streaks, halo …) are not part of it.
    """

    shape: str
    colour: str
    size: str
    mentioned: bool
    boxes: Int[np.ndarray, "F 4"]


@dataclasses.dataclass(frozen=True)
class Action:
    """One event of a clip.

    Attributes:
      verb: one of `moving_grammar.VERBS`, direction included.
      words: (first, last + 1) of the caption's words that say the verb.
      object_index: what acts.
      start, end: frames `[start, end)` in which it happens.
    """

    verb: str
    words: tuple[int, int]
    object_index: int
    start: int
    end: int


@dataclasses.dataclass(frozen=True)
class MovingScene:
    """A clip and all that is true of it.

    Attributes:
      frames: [F H W 3] uint8.
      caption: the only sentence that the grammar allows.
      objects: everything drawn, distractors included.
      mentions: noun phrases of the caption, without articles, and the object each refers to.
      events: in the order in which they happen.
    """

    frames: UInt8[np.ndarray, "F H W 3"]
    caption: str
    objects: tuple[MovingObject, ...]
    mentions: tuple[Mention, ...]
    events: tuple[Action, ...]


def moving_scene(index: int, *, split: str, seed: int = 0, frames: int = FRAMES) -> MovingScene:
    """Clip number `index` of a split.

    Training clips never show the pairs of `HELD_OUT_PAIRS` and `HELD_OUT_ACTIONS`.

    Raises:
      ValueError: no such split, a negative index or seed, or too few frames.
    """
    plot, generator = sampled_plot(index, split, seed, frames)
    caption, mentions, told = describe(plot)
    pictures, boxes = render(plot, generator)
    objects = tuple(
        MovingObject(thing.shape, thing.colour, thing.size, thing.mentioned, own)
        for thing, own in zip(plot.things, boxes, strict=True)
    )
    events = tuple(
        Action(event.verb, (words.start, words.end), event.actor, event.start, event.end)
        for event, words in zip(plot.events, told, strict=True)
    )
    return MovingScene(pictures, caption, objects, mentions, events)


@dataclasses.dataclass(frozen=True)
class MovingScenes(Drawn[MovingScene]):
    """The first `length` clips of a split, rendered when asked for.

    Attributes:
      split: one of `SPLITS`.
      length: number of clips.
      seed: another seed gives other clips.
      frames: of every clip.
    """

    KIND = "clip"

    split: str
    length: int
    seed: int = 0
    frames: int = FRAMES

    def __post_init__(self) -> None:
        _check(0, self.split, self.seed, self.frames)
        if self.length < 1:
            raise ValueError(f"got {self.length} clips; ask for one or more")

    def draw(self, number: int) -> MovingScene:
        """Clip `number`, rendered."""
        return moving_scene(number, split=self.split, seed=self.seed, frames=self.frames)

    def captions(self) -> list[tuple[str, ...]]:
        """The captions of every clip, one each, without rendering any."""
        plots = (self.plot(index)[0] for index in range(self.length))
        return [(describe(plot)[0],) for plot in plots]

    def plot(self, index: int) -> tuple[Plot, np.random.Generator]:
        """What happens in clip `index`, and the generator in the state that renders it."""
        return sampled_plot(index, self.split, self.seed, self.frames)


@dataclasses.dataclass(frozen=True)
class MovingSceneImages:
    """Prepared clips by number, for a data pipeline; safe in worker processes.

    Attributes:
      scenes: which clips.
      preprocessing: of a captioner of clips; of its `frames`, only those are rendered.
    """

    scenes: MovingScenes
    preprocessing: Preprocessing

    def __post_init__(self) -> None:
        if not self.preprocessing.frames:
            raise ValueError(
                "moving scenes are clips, and this preprocessing is of images (frames=0); set its "
                f"frames, e.g. {FRAMES}"
            )

    def __call__(self, numbers: Int[np.ndarray, " B"]) -> dict[str, np.ndarray]:
        """`image` [B F H W 3] uint8 of the clips with these numbers."""
        chosen = frame_indices(self.scenes.frames, self.preprocessing.frames).tolist()
        clips = []
        for number in numbers:
            pictures, _ = render(*self.scenes.plot(int(number)), chosen)
            clips.append([prepare(picture, self.preprocessing)[0] for picture in pictures])
        return {"image": np.stack(clips)}


def write_folder(folder: str | Path, count: int, split: str, *, seed: int = 0) -> Path:
    """Writes clips as MP4 files with COCO annotations, and returns the folder.

    Writes `clips/clip_00000.mp4` … (H.264, which browsers play); `captions_SPLIT.json` (COCO
    captions; each annotation has also `mentions`, a list of [first word, end word, id of the
    track], and `events`, a list of [first word, end word, id of the track, first frame, end
    frame]); `tracks_SPLIT.json` (every coloured object with its box [x, y, width, height] in each
    frame; categories are the shapes). Ends are exclusive. Needs the extra `video`.
    """
    folder = Path(folder)
    (folder / "clips").mkdir(parents=True, exist_ok=True)
    images: list[dict[str, Any]] = []
    captions: list[dict[str, Any]] = []
    tracks: list[dict[str, Any]] = []
    for number, clip in enumerate(MovingScenes(split, count, seed)):
        name = f"clip_{number:05d}.mp4"
        _write_mp4(folder / "clips" / name, clip.frames)
        frames, height, width, _ = clip.frames.shape
        size = {"height": height, "width": width, "frames": frames}
        images.append({"id": number, "file_name": name, **size})
        identity = {}
        for place, item in enumerate(clip.objects):
            if item.mentioned:
                identity[place] = len(tracks)
                tracks.append(_track(item, id=len(tracks), image_id=number))
        captions.append(
            {
                "id": number,
                "image_id": number,
                "caption": clip.caption,
                "mentions": [[m.start, m.end, identity[m.object_index]] for m in clip.mentions],
                "events": [
                    [*event.words, identity[event.object_index], event.start, event.end]
                    for event in clip.events
                ],
            }
        )
    described = {"description": f"capjax moving scenes, split {split}, seed {seed}"}
    common = {"info": described, "licenses": [], "images": images}
    categories = [{"id": i, "name": shape} for i, shape in enumerate(SHAPES, start=1)]
    for name, content in (
        ("captions", {"annotations": captions}),
        ("tracks", {"annotations": tracks, "categories": categories, "verbs": VERBS}),
    ):
        path = folder / f"{name}_{split}.json"
        path.write_text(json.dumps({**common, **content}), encoding="utf-8")
    return folder


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: writes a folder of clips and says what is in it."""
    return write_scenes(
        write_folder,
        arguments,
        module="capjax.data.scenes.moving",
        description="Writes moving scenes as MP4 files with COCO captions, events and tracks.",
        kind="clips",
        contents="clips/, captions_SPLIT.json, tracks_SPLIT.json",
    )


def sampled_plot(
    index: int, split: str, seed: int, frames: int = FRAMES
) -> tuple[Plot, np.random.Generator]:
    """What happens in clip `index`, and the generator in the state that renders it.

    Raises:
      ValueError: as `moving_scene`.
    """
    _check(index, split, seed, frames)
    generator = np.random.Generator(
        np.random.PCG64((seed, SPLITS.index(split), index, _OWN_STREAM))
    )
    height, width = FRAME_SIZES[int(generator.random() * len(FRAME_SIZES))]
    return sample_plot(generator, height, width, frames, held_out=split != "train"), generator


def _check(index: int, split: str, seed: int, frames: int) -> None:
    if split not in SPLITS:
        raise ValueError(
            f"unknown split {split!r} of moving scenes; choose one of: {', '.join(SPLITS)}"
        )
    if index < 0 or seed < 0:
        raise ValueError(f"got index {index} and seed {seed}; both must be 0 or more")
    if frames < LEAST_FRAMES:
        raise ValueError(f"got {frames} frames; up to three events need {LEAST_FRAMES} or more")


def _track(item: MovingObject, *, id: int, image_id: int) -> dict[str, Any]:
    x0, y0, x1, y1 = item.boxes.T
    return {
        "id": id,
        "image_id": image_id,
        "category_id": SHAPES.index(item.shape) + 1,
        "shape": item.shape,
        "colour": item.colour,
        "size": item.size,
        "boxes": np.stack([x0, y0, x1 - x0 + 1, y1 - y0 + 1], axis=1).tolist(),
    }


def _write_mp4(path: Path, frames: UInt8[np.ndarray, "F H W 3"]) -> None:
    """Writes frames so that browsers play them, with losses too small to see."""
    av = import_pyav()
    with av.open(str(path), "w") as container:
        options = {"crf": "6", "preset": "slow"}
        stream = container.add_stream("libx264", rate=FRAMES_A_SECOND, options=options)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


if __name__ == "__main__":
    outlive_readers()
    sys.exit(main())
