"""Does the map of a method lie where an attack wrote?"""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, UInt8

from capjax.captioner import Captioner
from capjax.decoding.rules import Decoding
from capjax.explainers.batch import explain_batch
from capjax.explainers.cells import cell_means, on_cells
from capjax.explainers.choosing import Chosen
from capjax.explainers.wording import LEAST_TOKENS
from capjax.studies.contract import Table
from capjax.types import Caption, Explanation

TOP = 10
"""Per cent of the cells, the highest, that are compared; one cell at least."""
SAME = 1e-6
"""Of the largest value: what differs by less is the same everywhere, but for rounding."""


def written(
    before: UInt8[np.ndarray, "*F H W 3"],
    after: UInt8[np.ndarray, "*F H W 3"],
    grid: tuple[int, int],
) -> Float[np.ndarray, "F h w"]:
    """How much was changed in each cell: the mean of |after - before| over its pixels."""
    change = np.abs(after.astype(np.float64) - before).mean(axis=-1)
    change = change if change.ndim == 3 else change[None]
    return cell_means(change[None], grid)[0]


def sentence_map(explanation: Explanation, grid: tuple[int, int]) -> Float[np.ndarray, "F h w"]:
    """The mean over words of the absolute values of a method's maps, on cells."""
    found: np.ndarray = np.abs(on_cells(explanation, grid).maps).mean(axis=0)
    return found


def agreement(
    there: Float[np.ndarray, "F h w"], shown: Float[np.ndarray, "F h w"]
) -> tuple[float | None, float | None]:
    """(Spearman's rank correlation over cells, share of the top cells that both have).

    None where one of them is the same everywhere: FGSM writes as much in every cell.
    """
    from scipy.stats import spearmanr  # takes a second to import

    one, other = there.ravel(), shown.ravel()
    if any(np.ptp(own) <= SAME * np.abs(own).max() for own in (one, other)):
        return None, None
    count = max(1, len(one) * TOP // 100)
    tops = [set(np.argsort(-own, kind="stable")[:count].tolist()) for own in (one, other)]
    return float(spearmanr(one, other).statistic), len(tops[0] & tops[1]) / count


def agreements(there: Float[np.ndarray, "F h w"], explanations: Mapping[str, Explanation]) -> Table:
    """One row a method; the last column is what a map drawn by chance would share."""
    grid = (there.shape[1], there.shape[2])
    chance = max(1, there.size * TOP // 100) / there.size
    rows = tuple(
        (label, *agreement(there, sentence_map(own, grid)), chance)
        for label, own in explanations.items()
    )
    return Table(("method", "Spearman", f"top {TOP} % shared", "by chance"), rows)


def explained(
    captioner: Captioner,
    images: UInt8[np.ndarray, "B *F H W 3"],
    captions: Sequence[Caption],
    methods: Sequence[Chosen],
    decoding: Decoding,
    max_len: int,
) -> list[Mapping[str, Explanation]]:
    """Maps of each picture's own caption, by method."""
    found = explain_batch(
        captioner,
        images,
        [captioner.preprocessing.size] * len(images),
        methods=methods,
        decoding=decoding,
        max_len=max_len,
        captions=captions,
        least_tokens=min(max_len, LEAST_TOKENS),
    )
    return [own[0].explanations for own in found]
