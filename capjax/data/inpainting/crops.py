"""Square parts of pictures: where they are drawn for training, the middle for validation."""

import dataclasses
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from capjax.data.batches.loading import Batch
from capjax.data.inpainting.settings import PictureConfig
from capjax.data.inputs import Examples
from capjax.data.pictures.images import layout_of, load_prepared
from capjax.data.pictures.opening import ImageFile
from capjax.types import Preprocessing


@dataclasses.dataclass(frozen=True)
class Fit:
    """How large a picture is made before a square part of it is taken.

    Attributes:
      side, resize, shorter: see `PictureConfig`.
    """

    side: int
    resize: str = "keep"
    shorter: int = 0

    @classmethod
    def of(cls, config: PictureConfig) -> "Fit":
        """As settings say."""
        return cls(config.side, config.resize, config.shorter)

    def size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) that a picture is given; neither is less than `side`."""
        if self.resize == "squash":
            return self.side, self.side
        least = self.shorter if self.resize == "shorter" else max(self.side, min(height, width))
        scale = least / min(height, width)
        return max(self.side, round(height * scale)), max(self.side, round(width * scale))

    def load(self, file: ImageFile) -> UInt8[np.ndarray, "H W 3"]:
        """The picture in a file, upright, of that size.

        Raises:
          UnreadableFileError: as `capjax.data.pictures.images.load_image`.
        """
        wanted = self.size(*layout_of(file).upright)
        if isinstance(file, io.IOBase):
            file.seek(0)
        return load_prepared(file, Preprocessing(size=wanted))[0]


@dataclasses.dataclass(frozen=True, eq=False)
class PictureFilesByNumber:
    """Loads the file of a number; safe in worker processes.

    Attributes:
      paths: of all files.
      fit: their size.
    """

    paths: tuple[Path, ...]
    fit: Fit

    def __call__(self, number: int) -> UInt8[np.ndarray, "H W 3"]:
        """The picture."""
        return self.fit.load(self.paths[number])


@dataclasses.dataclass(frozen=True, eq=False)
class EncodedByNumber:
    """Decodes the file that an example of prepared data holds in its field `image`.

    Attributes:
      examples: read without decoding.
      fit: size of the pictures.
    """

    examples: Examples
    fit: Fit

    def __call__(self, number: int) -> UInt8[np.ndarray, "H W 3"]:
        """The picture."""
        content = io.BytesIO(self.examples[number]["image"])
        content.name = f"example {number}"  # of an error
        return self.fit.load(content)


@dataclasses.dataclass(frozen=True, eq=False)
class Crops:
    """Square parts `image` [B S S 3] uint8 of pictures by number.

    Attributes:
      load: the whole picture of a number; deterministic and picklable.
      side: S.
      mirror: whether parts that are drawn may be mirrored.
      keep_bytes: whole pictures kept in memory, in each process, in bytes; the first that come.
    """

    load: Callable[[int], np.ndarray]
    side: int
    mirror: bool = True
    keep_bytes: int = 0
    _kept: dict[int, np.ndarray] = dataclasses.field(default_factory=dict, init=False, repr=False)
    _size: list[int] = dataclasses.field(default_factory=lambda: [0], init=False, repr=False)

    def __call__(self, numbers: np.ndarray) -> Batch:
        """The middle of each picture."""
        return {"image": np.stack([self._middle(self._picture(int(each))) for each in numbers])}

    def drawn(self, number: int, random: np.random.Generator) -> Batch:
        """A part of one picture [S S 3], anywhere in it with the same probability."""
        picture = self._picture(number)
        top, left = (int(random.integers(0, n - self.side + 1)) for n in picture.shape[:2])
        part = picture[top : top + self.side, left : left + self.side]
        return {"image": part[:, ::-1] if self.mirror and random.random() < 0.5 else part}

    def _middle(self, picture: np.ndarray) -> np.ndarray:
        top, left = ((n - self.side) // 2 for n in picture.shape[:2])
        return picture[top : top + self.side, left : left + self.side]

    def _picture(self, number: int) -> np.ndarray:
        picture = self._kept.get(number)
        if picture is None:
            picture = self.load(number)
            if self._size[0] + picture.nbytes <= self.keep_bytes:
                self._kept[number] = picture
                self._size[0] += picture.nbytes
        return picture

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": {}, "_size": [0]}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
