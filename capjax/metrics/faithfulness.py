"""Does a map say what the model reads? Formulas of faithfulness, of sanity checks and of shape.

Each is about arrays that somebody else measured (`capjax.evaluate.faithfulness`). D counts the
cells of a map, all frames together, row by row.
"""

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.ndimage import gaussian_filter
from scipy.sparse import coo_array
from scipy.sparse.linalg import spsolve

DIRECT, DIAGONAL = 1 / 6, 1 / 12
"""Weights of a pixel's eight neighbours in ROAD's imputation (Rong et al. 2022, section 4.2)."""
SSIM_SIGMA, SSIM_CONSTANTS = 1.5, (0.01**2, 0.03**2)
"""Wang et al. 2004: the window's standard deviation, and (K1 L)^2 and (K2 L)^2 with L = 1."""


def auc(scores: Float[np.ndarray, "*N S"]) -> Float[np.ndarray, "*N"]:
    """Area under curves of S equally spaced points over [0, 1]: (sum s - s_0/2 - s_n/2) / n.

    Of deletion (Petsiuk et al. 2018) small is good, of insertion large.
    """
    scores = np.asarray(scores, np.float64)
    if scores.shape[-1] < 2:
        raise ValueError(f"got curves of {scores.shape[-1]} points; expected 2 or more")
    ends = (scores[..., 0] + scores[..., -1]) / 2
    return (scores.sum(axis=-1) - ends) / (scores.shape[-1] - 1)


def removal_ranks(maps: Float[np.ndarray, "*N D"]) -> Int[np.ndarray, "*N D"]:
    """When each cell is removed, the largest value first (0); of equal values the first cell."""
    order = np.argsort(-np.asarray(maps, np.float64), axis=-1, kind="stable")
    ranks = np.empty(order.shape, np.int32)
    np.put_along_axis(ranks, order, np.arange(order.shape[-1], dtype=np.int32), axis=-1)
    return ranks


def linear_imputation(
    image: Float[np.ndarray, "H W C"],
    missing: Bool[np.ndarray, "H W"],
    *,
    noise: float = 0.0,
    draw: np.random.Generator | None = None,
) -> Float[np.ndarray, "H W C"]:
    """ROAD's noisy linear imputation: each missing pixel is the mean of its eight neighbours.

    Weights are 1/6 of direct and 1/12 of diagonal neighbours, divided by their sum where some lie
    outside the image. All missing pixels are solved for at once, directly.

    Args:
      image: with anything at missing pixels.
      missing: which pixels are imputed.
      noise: standard deviation of normal noise that is added there.
      draw: where the noise comes from.

    Raises:
      ValueError: every pixel is missing, or noise is wanted from nowhere.
    """
    if missing.all():
        raise ValueError("every pixel is missing; imputation needs at least one that is known")
    if noise and draw is None:
        raise ValueError(f"got noise={noise} and no generator; pass draw")
    image = np.asarray(image, np.float64)
    height, width = missing.shape
    place = np.full(missing.shape, -1)
    place[missing] = np.arange(missing.sum())
    rows, columns = np.nonzero(missing)
    own = place[missing]
    entries: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    known = np.zeros((len(own), image.shape[-1]))
    total = np.zeros(len(own))
    for down, across in np.ndindex(3, 3):
        if (down, across) == (1, 1):
            continue
        weight = DIRECT if 1 in (down, across) else DIAGONAL
        there = rows + down - 1, columns + across - 1
        inside = (there[0] >= 0) & (there[0] < height) & (there[1] >= 0) & (there[1] < width)
        total[inside] += weight
        other = there[0][inside], there[1][inside]
        unknown = missing[other]
        row = own[inside]
        known[row[~unknown]] += weight * image[other][~unknown]
        entries.append((np.full(unknown.sum(), -weight), row[unknown], place[other][unknown]))
    entries.append((total, own, own))
    values, at, of = (np.concatenate(parts) for parts in zip(*entries, strict=True))
    system = coo_array((values, (at, of)), shape=(len(own), len(own))).tocsc()
    filled = image.copy()
    if len(own):
        filled[missing] = np.reshape(spsolve(system, known), known.shape)
    if noise and draw is not None:
        filled[missing] += draw.normal(0.0, noise, known.shape)
    return filled


def infidelity(
    attribution: Float[np.ndarray, "*N D"],
    perturbations: Float[np.ndarray, "*M D"],
    changes: Float[np.ndarray, "*N M"],
) -> Float[np.ndarray, "*N"]:
    """Mean of (I . attribution - (F(x) - F(x - I)))^2 over perturbations (Yeh et al. 2019, eq 1).

    Args:
      attribution: of D parts of the input.
      perturbations: I, how far each part is moved; 1 where a cell is removed whose attribution is
        that of its presence.
      changes: F(x) - F(x - I) of each.
    """
    return np.mean((_expected(attribution, perturbations) - changes) ** 2, axis=-1)


def scaled_infidelity(
    attribution: Float[np.ndarray, "*N D"],
    perturbations: Float[np.ndarray, "*M D"],
    changes: Float[np.ndarray, "*N M"],
) -> Float[np.ndarray, "*N"]:
    """`infidelity` of each map times its best factor, so that maps of any unit compare.

    So do Yeh et al. 2019 in their experiments (section 5).
    """
    expected = _expected(attribution, perturbations)
    power = np.sum(expected**2, axis=-1, keepdims=True)
    factor = np.sum(expected * changes, axis=-1, keepdims=True) / np.where(power > 0, power, 1.0)
    return infidelity(factor * attribution, perturbations, changes)


def relative_infidelity(
    attribution: Float[np.ndarray, "*N D"],
    perturbations: Float[np.ndarray, "*M D"],
    changes: Float[np.ndarray, "*N M"],
) -> Float[np.ndarray, "*N"]:
    """`infidelity` of the best a * map + b, a >= 0, over that of the best constant map.

    0: sums of the map over what is removed predict the change; 1: they tell no more than how much
    was removed. Yeh et al. 2019 (section 5) scale maps by their best factor; without the constant a
    map of noise above zero scores well, and one of log-probabilities, whose zero means nothing,
    cannot. Where a constant map predicts everything it is 0.
    """
    expected = _expected(attribution, perturbations)
    size = np.broadcast_to(np.sum(perturbations, axis=-1), expected.shape)
    power = np.sum(size**2, axis=-1, keepdims=True)

    def beyond_size(values: np.ndarray) -> np.ndarray:
        fit = np.sum(size * values, axis=-1, keepdims=True) / np.where(power > 0, power, 1.0)
        return values - fit * size

    own, wanted = beyond_size(expected), beyond_size(np.asarray(changes, np.float64))
    spread = np.sum(own**2, axis=-1)
    tiny = np.finfo(np.float64).eps * np.sum(expected**2, axis=-1)  # a constant map's rounding
    factor = np.sum(own * wanted, axis=-1) / np.where(spread > tiny, spread, 1.0)
    factor = np.where(spread > tiny, np.maximum(factor, 0.0), 0.0)
    left = np.sum((factor[..., None] * own - wanted) ** 2, axis=-1)
    total = np.sum(wanted**2, axis=-1)
    return np.where(total > 0, left / np.where(total > 0, total, 1.0), 0.0)


def _expected(attribution: np.ndarray, perturbations: np.ndarray) -> Float[np.ndarray, "*N M"]:
    return np.einsum("...d,...md->...m", np.asarray(attribution, np.float64), perturbations)


def max_sensitivity(
    maps: Float[np.ndarray, "*N D"], neighbours: Float[np.ndarray, "K *N D"]
) -> Float[np.ndarray, "*N"]:
    """How far the map of a near input is at most, as a share of the map (Yeh et al. 2019, def 2).

    The maximum of |neighbour - map| / |map| over K inputs that were drawn within a radius; the
    paper's is not divided. Of a map of zeros it is 0 where its neighbours are zeros too, otherwise
    infinite.
    """
    maps = np.asarray(maps, np.float64)
    far = np.max(np.linalg.norm(neighbours - maps, axis=-1), axis=0)
    size = np.linalg.norm(maps, axis=-1)
    share = far / np.where(size > 0, size, 1.0)
    return np.where(size > 0, share, np.where(far > 0, np.inf, 0.0))


def gini(maps: Float[np.ndarray, "*N D"]) -> Float[np.ndarray, "*N"]:
    """Sparsity: Gini index of |values|, 0 for equal ones, 1 - 1/D for a single one.

    Of a map of zeros, 0 (Chalasani et al. 2020 use it for attributions).
    """
    sizes = np.sort(np.abs(np.asarray(maps, np.float64)), axis=-1)
    count = sizes.shape[-1]
    total = sizes.sum(axis=-1)
    share = (
        1
        + 1 / count
        - 2
        * np.sum(sizes * (count - np.arange(count)), axis=-1)
        / count
        / np.where(total > 0, total, 1.0)
    )
    return np.where(total > 0, share, 0.0)


def map_entropy(maps: Float[np.ndarray, "*N D"]) -> Float[np.ndarray, "*N"]:
    """Entropy of |values| as a distribution over the cells, divided by log D: 1 for a flat map."""
    sizes = np.abs(np.asarray(maps, np.float64))
    count = sizes.shape[-1]
    total = sizes.sum(axis=-1, keepdims=True)
    shares = np.where(total > 0, sizes / np.where(total > 0, total, 1.0), 1 / count)
    logs = np.log(np.where(shares > 0, shares, 1.0))
    return -np.sum(shares * logs, axis=-1) / np.log(max(count, 2))


def words_distance(maps: Float[np.ndarray, "N D"]) -> float:
    """How much maps of different words differ: the mean of 1 - Spearman over all pairs of them.

    0: all words have one map; 1: their orders have nothing in common. NaN for a single word.
    """
    one, other = np.triu_indices(len(maps), k=1)
    if not len(one):
        return float("nan")
    return float(np.mean(1 - rank_correlation(maps[one], maps[other])))


def rank_correlation(
    one: Float[np.ndarray, "*N D"], other: Float[np.ndarray, "*N D"]
) -> Float[np.ndarray, "*N"]:
    """Spearman's rank correlation; equal values share their mean rank.

    Of a constant map and another one it is 0, of two constant ones 1: nothing has changed.
    """
    from scipy.stats import rankdata  # takes a second to import

    ranks = [rankdata(values, axis=-1) for values in (one, other)]
    first, second = (rank - rank.mean(axis=-1, keepdims=True) for rank in ranks)
    power = np.sum(first**2, axis=-1), np.sum(second**2, axis=-1)
    scale = np.sqrt(power[0] * power[1])
    found = np.sum(first * second, axis=-1) / np.where(scale > 0, scale, 1.0)
    both = (power[0] == 0) & (power[1] == 0)
    return np.where(both, 1.0, np.where(scale > 0, found, 0.0))


def structural_similarity(
    one: Float[np.ndarray, "*N h w"], other: Float[np.ndarray, "*N h w"]
) -> Float[np.ndarray, "*N"]:
    """Mean SSIM of two maps, each first taken to [0, 1] (Wang et al. 2004; Adebayo et al. 2018).

    The Gaussian window is reflected at the border, for maps that are smaller than it.
    """
    first, second = _spanned(one), _spanned(other)

    def local(values: np.ndarray) -> np.ndarray:
        sigma = (*(0,) * (values.ndim - 2), SSIM_SIGMA, SSIM_SIGMA)
        return gaussian_filter(values, sigma, truncate=3.5, mode="reflect")

    means = local(first), local(second)
    spreads = [
        local(values**2) - mean**2 for values, mean in zip((first, second), means, strict=True)
    ]
    common = local(first * second) - means[0] * means[1]
    brightness, contrast = SSIM_CONSTANTS
    index = (2 * means[0] * means[1] + brightness) * (2 * common + contrast)
    index /= (means[0] ** 2 + means[1] ** 2 + brightness) * (spreads[0] + spreads[1] + contrast)
    return index.mean(axis=(-1, -2))


def _spanned(maps: Float[np.ndarray, "*N h w"]) -> np.ndarray:
    maps = np.asarray(maps, np.float64)
    low = maps.min(axis=(-1, -2), keepdims=True)
    span = maps.max(axis=(-1, -2), keepdims=True) - low
    return (maps - low) / np.where(span > 0, span, 1.0)
