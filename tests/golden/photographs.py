"""Three real photographs for comparisons with other libraries, and what is stored of their maps."""

import os
from pathlib import Path

import numpy as np

from capjax.data.pictures.images import load_prepared
from capjax.types import Preprocessing


def data_folder() -> Path:
    """`$CAPJAX_DATA`, or `../shared/data`: what the scripts read."""
    default = Path(__file__).parents[2].parent / "shared" / "data"
    return Path(os.environ.get("CAPJAX_DATA", default))


def files(data: Path, count: int = 3) -> list[Path]:
    """The first COCO photographs in alphabetical order."""
    return sorted((data / "coco" / "images").glob("*.jpg"))[:count]


def photographs(data: Path, preprocessing: Preprocessing) -> np.ndarray:
    """[3 H W 3] float32 on the 0..255 scale, resized as an encoder asks."""
    prepared = [load_prepared(path, preprocessing)[0] for path in files(data)]
    return np.stack(prepared).astype(np.float32)


def sparse(maps: np.ndarray) -> np.ndarray:
    """Some seven rows, seven columns and eight channels of NHWC maps."""
    _, height, width, channels = maps.shape
    return maps[:, :: max(1, height // 7), :: max(1, width // 7), :: channels // 8]


def relative_error(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Largest difference over largest value."""
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())
