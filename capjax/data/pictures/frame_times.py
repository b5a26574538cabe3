"""Which frames of a clip are seen: evenly spread over its time.

Of N frames that all show for the same time, those of `frame_indices`. Of others, the frames that
`frame_indices` picks of the clip that they are short for, in which every frame is repeated for as
long as it shows: a GIF whose equal frames were merged, or a video whose still parts hold few
frames, is sampled like the one it was made from. In steps, for frames that begin at b[0] = 0 to
b[N-1], of which the last shows for L:

1. The gaps are g[k] = b[k+1] - b[k]. The mean of those above 0 that are shorter than 1.5 times the
   shortest is m (no gap above 0: the clip tells no time, and is N frames of one length).
2. Each frame is r[k] = round(g[k] / m) ticks long, the last one max(1, round(L / m)). One tick is
   d = b[N-1] / (r[0] + … + r[N-2]), and frame k begins with tick c[k] = r[0] + … + r[k-1].
3. Where no frame begins more than d / 4 away from c[k] d, the frames lie on an even grid, but for
   rounding of their times. Elsewhere the rate really varies: then d = m, c[k] = round(b[k] / d),
   and the clip is max(1, round((b[N-1] + L) / d), c[N-1] + 1) ticks long, not the sum of r.
4. `frame_indices(ticks, F)` picks ticks; a tick shows the last frame with c[k] <= tick.

Halves are rounded to the even number. Letters: F frames asked for, N frames of the clip.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

NEAR = 0.25
"""Share of a tick by which frames may begin beside an even grid: containers round their times."""


class Chosen(NamedTuple):
    """Frames of a clip: their indices, and when each is seen, in seconds since the first one.

    That is when it begins or, where it shows for several ticks, when its tick does.
    """

    indices: Int[np.ndarray, " F"]
    seconds: Float[np.ndarray, " F"]


def frame_indices(total: int, count: int) -> Int[np.ndarray, " F"]:
    """Indices of `count` of `total` frames, from the first to the last and evenly spread.

    round(linspace(0, total - 1, count)) with halves to the even number, as the released code of
    Ramanishka et al. (2017); fewer frames than asked for are repeated.
    """
    if total < 1 or count < 1:
        raise ValueError(f"got {count} of {total} frames; expected at least 1 of at least 1")
    return np.round(np.linspace(0, total - 1, count)).astype(np.int64)


def choose_frames(begins: Sequence[float], last: float, count: int) -> Chosen:
    """`count` frames of a clip, evenly spread over its time; see the module.

    Args:
      begins: [N] seconds at which each frame begins to show, in order.
      last: seconds for which the last one shows.
      count: frames asked for, F.
    """
    begin = np.asarray(begins, np.float64) - begins[0]
    gaps = np.maximum(np.diff(begin), 0)
    if not (gaps > 0).any():
        indices = frame_indices(len(begin), count)
        return Chosen(indices, begin[indices])
    short = gaps[(gaps > 0) & (gaps < 1.5 * gaps[gaps > 0].min())].mean()
    lengths = np.round(np.append(gaps, last) / short).astype(np.int64)
    lengths[-1] = max(1, lengths[-1])
    first = np.append(0, np.cumsum(lengths[:-1]))
    ticks, tick = int(lengths.sum()), begin[-1] / first[-1]
    if (np.abs(begin - first * tick) > NEAR * tick).any():
        tick = short
        first = np.round(begin / tick).astype(np.int64)
        ticks = max(1, round((begin[-1] + last) / tick), int(first[-1]) + 1)
    chosen = frame_indices(ticks, count)
    indices = np.searchsorted(first, chosen, side="right") - 1
    seconds = begin[indices] + np.maximum(0, (chosen - first[indices]) * tick)
    return Chosen(indices, seconds)
