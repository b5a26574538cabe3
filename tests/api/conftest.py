"""A saved captioner, and a folder with every kind of image file that people have."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.explainers.toys import attentive


@pytest.fixture(scope="session")
def model(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    attentive().save(folder)
    return folder


def photograph(seed: int, height: int, width: int) -> np.ndarray:
    """Smooth random colours: unlike noise, JPEG keeps them."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def write_photographs(folder: Path, count: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        image = Image.fromarray(photograph(number, 40 + 7 * number, 90))
        image.save(folder / f"{number}.jpg", quality=95)


@pytest.fixture(scope="session")
def zoo(tmp_path_factory) -> Path:
    """Good files of every kind, three bad ones, one that is no image, and a folder inside."""
    folder = tmp_path_factory.mktemp("zoo")
    upright = Image.fromarray(photograph(1, 60, 100))
    upright.save(folder / "plain.jpg", quality=95)
    sideways = upright.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 270 degrees to see it upright
    sideways.save(folder / "rotated.jpg", quality=95, exif=exif)
    Image.merge("RGBA", [*upright.split(), Image.new("L", upright.size, 128)]).save(
        folder / "alpha.png"
    )
    grey = (np.asarray(upright.convert("L")).astype(np.uint16) * 257).astype(np.uint16)
    Image.fromarray(grey).save(folder / "grey16.png")
    upright.convert("CMYK").save(folder / "cmyk.jpg", quality=95)
    (folder / "in a folder").mkdir()
    upright.save(folder / "in a folder" / "wörd & <b>.png")
    whole = (folder / "plain.jpg").read_bytes()
    (folder / "truncated.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "text.jpg").write_text("no picture")
    (folder / "notes.txt").write_text("not looked at")
    return folder
