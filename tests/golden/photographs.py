"""Three real photographs for full-size comparisons with other libraries."""

from pathlib import Path

import numpy as np

from capjax.data.images import load_prepared
from capjax.types import Preprocessing


def photographs(shared_data: Path, preprocessing: Preprocessing) -> np.ndarray:
    """[3 H W 3] float32 on the 0..255 scale, resized as an encoder asks."""
    paths = sorted((shared_data / "coco" / "images").glob("*.jpg"))[:3]
    return np.stack([load_prepared(path, preprocessing)[0] for path in paths]).astype(np.float32)


def relative_error(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Largest difference over largest value."""
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())
