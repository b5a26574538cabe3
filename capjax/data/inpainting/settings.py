"""The settings of what an inpainter learns from."""

import dataclasses

from capjax.data.captions.splits import Draw

SCENES = "scenes"
"""`PictureConfig.name` of what is rendered, with its objects for holes."""

RESIZES = ("keep", "shorter", "squash")

OF_FILES = (
    *("licences", "val_share", "test_share", "split_seed", "resize", "shorter"),
    *("keep_megabytes", "unreadable_share"),
)
OF_SCENES = ("grow",)
"""Settings that only pictures in files, and only scenes, have a use for."""


@dataclasses.dataclass
class PictureConfig:
    """What is learnt from. Captions are not read.

    Attributes:
      name: "celeba" or "places365", any dataset of images of `python -m capjax.data where`,
        "tfds:FOLDER" (what builders of TFDS have prepared there, absolute or below `root`), or
        "scenes": each picture is a scene without one of its objects, which was where the hole is.
        Empty where `images` says all.
      images: instead, a folder of pictures, read with all folders below it. Folders `train` and
        `val` right below it are the splits; otherwise pictures are drawn for them by their names.
      val_images: a folder of pictures to validate on, where they are in another one.
      annotations: of `images`, COCO JSON that lists its pictures, with their licences: captions or
        instances, several with commas.
      licences: ids of COCO's licences, with commas, such as "4,5,7": only pictures that have one of
        these; empty: all.
      val_share, test_share: shares of the pictures that are held out where no splits are stated.
      split_seed: another one draws others.
      root: folder of the datasets, or the dataset's own; empty: `$CAPJAX_DATA`, else `data/`.
      train_split, validation_split: names of the splits.
      train_images, validation_images: use only the first so many, 0 for all; of scenes, how many to
        render.
      side: of the square parts of pictures that are learnt from, in pixels; a multiple of 8.
      resize: what happens to a picture first: "keep" its size, scale its "shorter" side to
        `shorter`, or "squash" it to the square (faces, which fill their pictures). A picture that
        is smaller than the square is enlarged to it.
      shorter: side in pixels, of "shorter".
      mirror: show every second part, at random, as in a mirror.
      grow: of scenes, pixels by which a hole is larger than its object on every side.
      keep_megabytes: decoded pictures kept in memory, in each process.
      workers: processes that load data; 0 loads in threads.
      unreadable_share: share of the training pictures that may be impossible to decode. Another
        one of the batch stands in, and a warning names the file; more end the run.
    """

    name: str = ""
    images: str = ""
    val_images: str = ""
    annotations: str = ""
    licences: str = ""
    val_share: float = 0.1
    test_share: float = 0.0
    split_seed: int = 0
    root: str = ""
    train_split: str = "train"
    validation_split: str = "val"
    train_images: int = 0
    validation_images: int = 0
    side: int = 256
    resize: str = "keep"
    shorter: int = 0
    mirror: bool = True
    grow: int = 5
    keep_megabytes: int = 512
    workers: int = 0
    unreadable_share: float = 0.001

    def check(self) -> None:
        """Raises ValueError for values without meaning, or without effect."""
        if bool(self.name) == bool(self.images):
            raise ValueError(
                f"got data.name={self.name!r} and data.images={self.images!r}; set one of them: a "
                "known dataset, or a folder of pictures"
            )
        for part in ("val_images", "annotations"):
            if getattr(self, part) and not self.images:
                raise ValueError(f"data.{part} goes with data.images, which is empty; set it too")
        if self.val_images and self.annotations:
            raise ValueError(
                "data.val_images and data.annotations both state what to validate on; name the "
                "COCO JSON of both splits in data.annotations, or leave it out"
            )
        scenes = self.name == SCENES
        for part in OF_FILES if scenes else OF_SCENES:
            value, usual = getattr(self, part), getattr(PictureConfig, part)
            if value != usual:
                about = SCENES if scenes else "photographs"
                raise ValueError(
                    f"data.{part}={value!r} has no effect on {about}; leave it at {usual!r}"
                )
        if self.resize not in RESIZES:
            raise ValueError(
                f"unknown data.resize {self.resize!r}; choose one of: {', '.join(RESIZES)}"
            )
        if (self.resize == "shorter") != bool(self.shorter):
            raise ValueError(
                f"got data.resize={self.resize!r} and data.shorter={self.shorter}; 'shorter' needs "
                "a size, and the others none (0)"
            )
        if self.shorter and self.shorter < self.side:
            raise ValueError(
                f"data.shorter is {self.shorter}, less than the part of it that is learnt from, "
                f"data.side={self.side}"
            )
        if self.side < 16 or self.side % 8:
            raise ValueError(f"data.side is {self.side}; expected a multiple of 8, 16 or more")
        for part in (
            *("train_images", "validation_images", "shorter", "grow"),
            *("keep_megabytes", "workers"),
        ):
            if getattr(self, part) < 0:
                raise ValueError(f"data.{part} is {getattr(self, part)}; expected 0 or more")
        if not 0 <= self.unreadable_share < 1:
            raise ValueError(
                f"data.unreadable_share is {self.unreadable_share}; expected 0 or more, below 1"
            )
        if scenes and not (self.train_images and self.validation_images):
            raise ValueError(
                "scenes are rendered, so say how many: set data.train_images and "
                "data.validation_images"
            )
        wanted_licences(self.licences)
        Draw(self.val_share, self.test_share, self.split_seed)


def wanted_licences(text: str) -> frozenset[int]:
    """The ids in a text such as "4,5,7"; none where it is empty.

    Raises:
      ValueError: something else.
    """
    ids = [part.strip() for part in text.split(",")] if text else []
    if not all(part.isdecimal() for part in ids):
        raise ValueError(
            f"data.licences is {text!r}; expected ids of COCO's licences, with commas: '4,5,7'"
        )
    return frozenset(map(int, ids))
