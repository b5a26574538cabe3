"""Objects drawn as pictures of masks: one file an object, or one file a photograph."""

import dataclasses
import re
from pathlib import Path

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image

from capjax.data.objects.region import Region, ends
from capjax.data.pictures.images import UnreadableFileError, reason

_NUMBER = re.compile(r"[\s_.-]*\d+$")


@dataclasses.dataclass(frozen=True)
class MaskFolder:
    """Masks as PNG files below a folder, for a photograph `a/b.jpg`, the first that is there of:

    - `a/b/*.png`, one object a file, named after it: `dog.png`, `dog_2.png`;
    - `a/b.png` or `a/b.jpg.png`: white is the object; in a palette file or one of 16 bits every
      value but 0 is an object of its own.

    Where `a/` is not there, files are looked for without it, and so on with each folder above.

    Attributes:
      folder: of the masks.
    """

    folder: Path

    def __post_init__(self) -> None:
        if not self.folder.is_dir():
            raise ValueError(
                f"{self.folder} is no folder; give the folder of the masks, PNG files named after "
                "the photographs"
            )

    def regions(self, name: str, image: UInt8[np.ndarray, "H W 3"]) -> list[Region] | None:
        """See `ObjectSource`; a mask of another size than the photograph's, or one that cannot be
        read, is refused."""
        files = self.files(name)
        if not files:
            return None
        return [
            Region(_NUMBER.sub("", file.stem) or None if own else None, mask, "picture")
            for file, own in files.items()
            for mask in self._read(file, image)
        ]

    def files(self, name: str) -> dict[Path, bool]:
        """The files of a photograph's masks -> whether each is named after its object."""
        for path in ends(name):
            several = self.folder / path.with_suffix("")
            if files := sorted(several.glob("*.png")) if several.is_dir() else []:
                return dict.fromkeys(files, True)
            for own in (path.stem, path.name):
                file = several.with_name(own + ".png")
                if file.is_file():
                    return {file: False}
        return {}

    def _read(self, file: Path, image: UInt8[np.ndarray, "H W 3"]) -> list[Bool[np.ndarray, "H W"]]:
        try:
            with Image.open(file) as picture:
                labels = picture.mode == "P" or picture.mode.startswith("I")
                values = np.asarray(picture if labels else picture.convert("L"))
        except Exception as error:  # Pillow's decoders raise nearly anything, as in `images`
            raise UnreadableFileError(
                f"cannot read the mask {file}: {reason(file, error)}; expected a whole PNG file"
            ) from error
        if values.shape != image.shape[:2]:
            raise ValueError(
                f"{file} is {values.shape[1]}x{values.shape[0]} pixels, its photograph "
                f"{image.shape[1]}x{image.shape[0]}; draw the mask in the photograph's size"
            )
        if labels:
            return [values == value for value in np.unique(values) if value]
        return [values > 127]
