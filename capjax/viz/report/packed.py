"""Maps as the viewer's page holds them."""

import base64
import math
from typing import Any

import numpy as np
from jaxtyping import Float

LEVELS = 65_534
"""Steps between the lowest and the highest value of a map, as the page holds it."""

UNSEEN = LEVELS + 1
"""Stands for a cell without a value."""


def packed(values: Float[np.ndarray, "N ..."]) -> dict[str, Any]:
    """N maps in 16 bits a value, half of what float32 takes: a page holds thousands of maps.

    Each spans its own range in `LEVELS` steps: value = low + step * level; `UNSEEN` is none.
    """
    flat = np.asarray(values, np.float64).reshape(len(values), math.prod(values.shape[1:]))
    seen = np.isfinite(flat)
    low = np.min(flat, axis=1, where=seen, initial=np.inf)
    high = np.max(flat, axis=1, where=seen, initial=-np.inf)
    low, high = (np.where(seen.any(axis=1), end, 0.0) for end in (low, high))
    step = (high - low) / LEVELS
    whole = np.where(seen, flat, low[:, None]) - low[:, None]
    levels = np.rint(whole / np.where(step > 0, step, 1.0)[:, None])
    levels = np.where(seen, levels, UNSEEN).astype("<u2")
    packed = base64.b64encode(levels.tobytes()).decode()
    return {"levels": packed, "low": low.tolist(), "step": step.tolist()}
