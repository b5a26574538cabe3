"""The embedded dataset: small rendered scenes with exact captions, boxes and masks; no download.

A scene is a function of (seed, split, index) alone: it does not depend on which scenes were made
before, on their number or on the process. What is said of a scene, and why it can only be said
so, is in `capjax.data.scenes.grammar`.

    python -m capjax.data.scenes --out DIR --n 64 --split val
"""

import dataclasses
import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Int, UInt8
from PIL import Image

from capjax.data.pictures.images import prepare
from capjax.data.scenes.drawn import Drawn
from capjax.data.scenes.grammar import SHAPES, Layout, Mention, Thing, describe, sample_layout
from capjax.data.scenes.render import render
from capjax.types import Preprocessing

SPLITS = ("train", "val", "test")
IMAGE_SIZES = ((96, 128), (128, 96), (108, 144), (144, 108), (112, 112))
"""(height, width) in pixels; each scene has one of them."""


@dataclasses.dataclass(frozen=True)
class SceneObject:
    """One drawn object.

    Attributes:
      shape, colour, size, texture: words of the captions; a distractor is "grey".
      mentioned: whether captions speak of it; distractors are never mentioned.
      box: (x0, y0, x1, y1) of its visible pixels, 0-based, both ends inclusive.
      mask: [H W] its visible pixels.
    """

    shape: str
    colour: str
    size: str
    texture: str
    mentioned: bool
    box: tuple[int, int, int, int]
    mask: Bool[np.ndarray, "H W"]


@dataclasses.dataclass(frozen=True)
class Scene:
    """A picture and all that is true of it.

    Attributes:
      image: [H W 3] uint8.
      captions: sentences; there is one, the only one the grammar allows.
      objects: everything drawn, distractors included, later ones on top.
      mentions: for each caption its noun phrases and the object each refers to. Every word of a
        phrase (size, texture, colour, shape) speaks of that object.
    """

    image: UInt8[np.ndarray, "H W 3"]
    captions: tuple[str, ...]
    objects: tuple[SceneObject, ...]
    mentions: tuple[tuple[Mention, ...], ...]

    def referents(self, caption: int = 0) -> tuple[int | None, ...]:
        """For each word of a caption the object it speaks of, None for words that name none."""
        found: list[int | None] = [None] * len(self.captions[caption].split())
        for mention in self.mentions[caption]:
            for word in range(mention.start, mention.end):
                found[word] = mention.object_index
        return tuple(found)


def scene(index: int, *, split: str, seed: int = 0) -> Scene:
    """Scene number `index` of a split.

    Training scenes never show the pairs of `HELD_OUT_PAIRS`.

    Raises:
      ValueError: no such split, or a negative index or seed.
    """
    layout, generator = _layout(index, split, seed)
    caption, mentions = describe(layout)
    image, masks = render(layout, generator)
    objects = tuple(
        _scene_object(thing, mask) for thing, mask in zip(layout.things, masks, strict=True)
    )
    return Scene(image=image, captions=(caption,), objects=objects, mentions=(mentions,))


def scene_without(
    index: int, objects: Collection[int], *, split: str, seed: int = 0
) -> UInt8[np.ndarray, "H W 3"]:
    """The picture of a scene as if some of its objects had not been drawn.

    Args:
      index: of the scene.
      objects: numbers of its objects.
      split, seed: of the scene.

    Raises:
      ValueError: what `scene` raises, or the scene has no such object.
    """
    layout, generator = _layout(index, split, seed)
    unknown = sorted(set(objects) - set(range(len(layout.things))))
    if unknown:
        raise ValueError(
            f"scene {index} has {len(layout.things)} objects, none of number {unknown}"
        )
    return render(layout, generator, without=objects)[0]


@dataclasses.dataclass(frozen=True)
class Scenes(Drawn[Scene]):
    """The first `length` scenes of a split, rendered when asked for.

    Attributes:
      split: one of `SPLITS`.
      length: number of scenes.
      seed: another seed gives other scenes.
    """

    KIND = "scene"

    split: str
    length: int
    seed: int = 0

    def __post_init__(self) -> None:
        _check(0, self.split, self.seed)
        if self.length < 1:
            raise ValueError(f"got {self.length} scenes; ask for one or more")

    def draw(self, number: int) -> Scene:
        """Scene `number`, rendered."""
        return scene(number, split=self.split, seed=self.seed)

    def captions(self) -> list[tuple[str, ...]]:
        """The captions of every scene, without rendering any."""
        layouts = (_layout(index, self.split, self.seed)[0] for index in range(self.length))
        return [(describe(layout)[0],) for layout in layouts]


@dataclasses.dataclass(frozen=True)
class SceneImages:
    """Prepared pictures of scenes by number, for a data pipeline; safe in worker processes.

    Attributes:
      scenes: which scenes.
      preprocessing: of the encoder.
    """

    scenes: Scenes
    preprocessing: Preprocessing

    def __call__(self, numbers: Int[np.ndarray, " B"]) -> dict[str, np.ndarray]:
        """`image` [B H W 3] uint8 of the scenes with these numbers."""
        pictures = []
        for number in numbers:
            layout, generator = _layout(int(number), self.scenes.split, self.scenes.seed)
            picture, _ = prepare(render(layout, generator)[0], self.preprocessing)
            pictures.append(picture)
        return {"image": np.stack(pictures)}


def write_folder(folder: str | Path, count: int, split: str, *, seed: int = 0) -> Path:
    """Writes scenes as image files with COCO annotations, and returns the folder.

    Writes `images/scene_00000.png` …; `captions_SPLIT.json` (COCO captions; each annotation has
    also `mentions`, a list of [first word, end word, id of the instance]); `instances_SPLIT.json`
    (COCO instances: every coloured object with box [x, y, width, height] and mask as uncompressed
    run lengths; categories are the shapes).
    """
    folder = Path(folder)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    images: list[dict[str, Any]] = []
    captions: list[dict[str, Any]] = []
    instances: list[dict[str, Any]] = []
    for number, drawn in enumerate(Scenes(split, count, seed)):
        name = f"scene_{number:05d}.png"
        Image.fromarray(drawn.image).save(folder / "images" / name)
        height, width = drawn.image.shape[:2]
        images.append({"id": number, "file_name": name, "height": height, "width": width})
        identity = {}
        for place, item in enumerate(drawn.objects):
            if item.mentioned:
                identity[place] = len(instances)
                instances.append(_coco_instance(item, id=len(instances), image_id=number))
        for caption, mentions in zip(drawn.captions, drawn.mentions, strict=True):
            spoken = [[m.start, m.end, identity[m.object_index]] for m in mentions]
            captions.append(
                {
                    "id": len(captions),
                    "image_id": number,
                    "caption": caption,
                    "mentions": spoken,
                }
            )
    categories = [{"id": i, "name": shape} for i, shape in enumerate(SHAPES, start=1)]
    described = {"description": f"capjax scenes, split {split}, seed {seed}"}
    common = {"info": described, "licenses": [], "images": images}
    _write_json(folder / f"captions_{split}.json", {**common, "annotations": captions})
    _write_json(
        folder / f"instances_{split}.json",
        {**common, "annotations": instances, "categories": categories},
    )
    return folder


def run_lengths(mask: Bool[np.ndarray, "H W"]) -> dict[str, list[int]]:
    """COCO's uncompressed run lengths of a mask: down the columns, zeros first."""
    flat = np.concatenate([[False], mask.ravel(order="F")])
    changes = np.flatnonzero(flat[1:] != flat[:-1])
    counts = np.diff(np.concatenate([[0], changes, [mask.size]]))
    return {"size": list(mask.shape), "counts": counts.tolist()}


def _layout(index: int, split: str, seed: int) -> tuple[Layout, np.random.Generator]:
    """What scene `index` shows, and the generator in the state that renders it."""
    _check(index, split, seed)
    generator = np.random.Generator(np.random.PCG64((seed, SPLITS.index(split), index)))
    height, width = IMAGE_SIZES[int(generator.random() * len(IMAGE_SIZES))]
    return sample_layout(generator, height, width, held_out=split != "train"), generator


def _check(index: int, split: str, seed: int) -> None:
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r} of scenes; choose one of: {', '.join(SPLITS)}")
    if index < 0 or seed < 0:
        raise ValueError(f"got index {index} and seed {seed}; both must be 0 or more")


def _scene_object(thing: Thing, mask: Bool[np.ndarray, "H W"]) -> SceneObject:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return SceneObject(
        shape=thing.shape,
        colour=thing.colour,
        size=thing.size,
        texture=thing.texture,
        mentioned=thing.mentioned,
        box=(int(columns[0]), int(rows[0]), int(columns[-1]), int(rows[-1])),
        mask=mask,
    )


def _coco_instance(item: SceneObject, *, id: int, image_id: int) -> dict[str, Any]:
    x0, y0, x1, y1 = item.box
    return {
        "id": id,
        "image_id": image_id,
        "category_id": SHAPES.index(item.shape) + 1,
        "bbox": [x0, y0, x1 - x0 + 1, y1 - y0 + 1],
        "area": int(item.mask.sum()),
        "iscrowd": 0,
        "segmentation": run_lengths(item.mask),
    }


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")
