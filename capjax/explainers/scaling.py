"""Raw maps scaled to [0, 1] or to shares, when a reader or a protocol asks for it.

Methods return raw maps and result files keep them raw; these are the scalings that papers on
captioning apply afterwards, by name. NumPy alone. Phrases are summed before any of them (Ramanishka
et al. 2017, eq 9): the scaled sum is not the sum of the scaled.
"""

from typing import Literal, get_args

import numpy as np
from jaxtyping import Bool, Float

Values = Literal["raw", "exp"]
"""What of a map is drawn: its raw values, or their exponentials."""

By = Literal["map", "video", "sentence", "cgs"]

ROUNDING = 1e-5
"""Values within this share of the largest one count as equal: a scale would show rounding noise."""


def scale(maps: Float[np.ndarray, "N *F h w"], by: By = "video") -> Float[np.ndarray, "N *F h w"]:
    """Maps moved linearly to [0, 1]: (x - min) / (max - min), eq 8 of Ramanishka et al. (2017).

    NaN, for positions that are padding, stays and counts for nothing.
    What is constant over the values it is scaled by becomes zeros; the paper says nothing of it,
    and its released code divides by zero.

    Args:
      maps: raw, one a word, [N h w] of an image or [N F h w].
      by: over which values the extremes are taken.
        "map": those of one word in one frame.
        "video": those of one word in all frames: frames can be compared. For images as "map".
        "sentence": those of all words in all frames: words can be compared too.
        "cgs": the released code's two steps, which differ from its paper: by "video", then each
          word's mean is subtracted and what falls below zero is zero, then by all words and
          positions of each frame.

    Raises:
      ValueError: an unknown name, or maps that are neither [N h w] nor [N F h w].
    """
    maps = np.asarray(maps, np.float32)
    if maps.ndim not in (3, 4):
        raise ValueError(f"got maps of shape {maps.shape}; expected [N h w] or [N F h w]")
    words, frames, cells = 0, tuple(range(1, maps.ndim - 2)), (maps.ndim - 2, maps.ndim - 1)
    axes: dict[str, tuple[int, ...]] = {
        "map": cells,
        "video": (*frames, *cells),
        "sentence": (words, *frames, *cells),
    }
    if by == "cgs":
        scaled = _scaled(maps, axes["video"])
        seen = ~np.isnan(scaled)
        count = np.maximum(seen.sum(axis=axes["video"], keepdims=True), 1)
        mean = np.sum(scaled, axis=axes["video"], keepdims=True, where=seen) / np.float32(count)
        return _scaled(np.maximum(scaled - mean, np.float32(0)), (words, *cells))
    if by not in axes:
        raise ValueError(f"unknown scaling {by!r}; choose one of: {', '.join([*axes, 'cgs'])}")
    return _scaled(maps, axes[by])


def distribution(
    values: Float[np.ndarray, "N ..."], how: Literal["softmax", "sum"] = "softmax"
) -> Float[np.ndarray, "N ..."]:
    """Each word's values as shares of one, over all its frames and positions (eq 5); NaN stays.

    Args:
      values: one array a word: maps [N F h w], or relevance of whole frames [N F].
      how: "softmax", exp(x) / sum exp(x), of raw values; of log-probabilities these are the shares
        of the probabilities. "sum", x / sum x, of values that are not negative (`scale` first):
        zeros where they sum to zero. The paper writes eq 5 for the scores of soft attention and
        does not say which it applies to its own.

    Raises:
      ValueError: an unknown name, or "sum" of negative values.
    """
    values = np.asarray(values, np.float32)
    over = tuple(range(1, values.ndim))
    seen = ~np.isnan(values)
    if how == "softmax":
        most = np.max(values, axis=over, keepdims=True, where=seen, initial=-np.inf)
        values = np.exp(values - most)
    elif how != "sum":
        raise ValueError(f"unknown distribution {how!r}; choose 'softmax' or 'sum'")
    elif (values < 0).any():
        raise ValueError(
            f"got values down to {np.nanmin(values):.3g}; shares of a sum need values of zero or "
            "more: scale them first, or choose how='softmax'"
        )
    total = np.sum(values, axis=over, keepdims=True, where=seen)
    return values / np.where(total > 0, total, 1.0)


def natural_values(unit: str) -> Values:
    """What is drawn of maps unless something else is asked for.

    Of logarithms it is the exponential: the probability of a word given one position alone. On a
    linear scale of log-probabilities one position at -12 makes all others, from -3 to -0.2, look
    alike (of fifty photographs of COCO nearly all looked so).

    Args:
      unit: of the exponentials; empty where maps are no logarithms (`Explanation.unit`).
    """
    return "exp" if unit else "raw"


def unit_of(unit: str, values: Values) -> str:
    """What to write beside numbers that are drawn; empty for raw ones."""
    return "" if values == "raw" else unit or "exp"


def displayed(values: Float[np.ndarray, "..."], how: Values) -> Float[np.ndarray, "..."]:
    """Raw values, or their exponentials.

    Raises:
      ValueError: an unknown name.
    """
    if how not in get_args(Values):
        raise ValueError(f"unknown values {how!r}; choose 'raw' or 'exp'")
    return values if how == "raw" else np.exp(values)


def linear(
    values: Float[np.ndarray, "..."],
    low: Float[np.ndarray, "..."],
    high: Float[np.ndarray, "..."],
) -> Float[np.ndarray, "..."]:
    """Values as places between two ends, 0 at `low` and 1 at `high`, not clipped; NaN stays.

    Zeros where the ends are the same but for rounding. `low` and `high` broadcast to the values.
    """
    length = has_length(low, high)
    return np.where(length | np.isnan(values), (values - low) / np.where(length, high - low, 1), 0)


def has_length(
    low: Float[np.ndarray, "..."], high: Float[np.ndarray, "..."]
) -> Bool[np.ndarray, "..."]:
    """False for the extremes of what is constant, also where float32 rounding alone differs."""
    size = np.maximum(np.abs(low), np.abs(high))
    return np.asarray(high - low > ROUNDING * size + np.finfo(np.float32).tiny)


def both_signs(low: float, high: float) -> bool:
    """Whether values between two extremes are negative and positive, rounding aside."""
    return bool(min(-low, high) > ROUNDING * max(-low, high))


def _scaled(maps: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    seen = ~np.isnan(maps)
    low = np.min(maps, axis=axes, keepdims=True, where=seen, initial=np.inf)
    high = np.max(maps, axis=axes, keepdims=True, where=seen, initial=-np.inf)
    return linear(maps, low, high)
