"""Concept activation vectors, TCAV scores, and whether they say more than chance does.

Letters: m patches of a concept, r of a random set, K counterparts, R random concepts, n pictures,
D channels.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

_HELD_OUT = 1 / 3
TIE = 1e-6
"""Mean scores this near are equal."""


@dataclasses.dataclass(frozen=True)
class Vectors:
    """The vectors of one concept.

    Attributes:
      units: of length 1, one a counterpart; they point to the concept.
      accuracy: share of the third held out that each classifier has right.
    """

    units: Float[np.ndarray, "K D"]
    accuracy: Float[np.ndarray, " K"]

    @property
    def mean(self) -> Float[np.ndarray, " D"]:
        """The direction of all of them, of length 1."""
        total = self.units.sum(axis=0)
        return (total / max(np.linalg.norm(total), 1e-12)).astype(np.float32)


def concept_vectors(
    members: Float[np.ndarray, "m D"],
    counterparts: Sequence[Float[np.ndarray, "r D"]],
    *,
    alpha: float,
) -> Vectors:
    """A linear classifier (SGD, hinge loss) of the concept against each random set.

    Two thirds of both are learnt from. All activations are divided by one number, the root of their
    mean square, so that `alpha` means the same at every stage; the direction is that of the stage.
    """
    from sklearn.linear_model import SGDClassifier

    units, accuracy = [], []
    for seed, others in enumerate(counterparts):
        learnt, held = zip(*(_split(part, seed) for part in (members, others)), strict=True)
        scale = math.sqrt(np.mean(np.square(np.concatenate(learnt), dtype=np.float64)) or 1.0)
        model = SGDClassifier(alpha=alpha, random_state=seed)
        model.fit(np.concatenate(learnt) / scale, _truth(learnt))
        vector = model.coef_[0]
        units.append(vector / max(np.linalg.norm(vector), 1e-12))
        accuracy.append(model.score(np.concatenate(held) / scale, _truth(held)))
    return Vectors(np.array(units, np.float32), np.array(accuracy, np.float32))


def _split(rows: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    order = np.random.default_rng(seed).permutation(len(rows))
    held = max(1, round(len(rows) * _HELD_OUT))
    return rows[order[held:]], rows[order[:held]]


def _truth(parts: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.ones(len(parts[0]), int), np.zeros(len(parts[1]), int)])


def tcav(
    gradients: Float[np.ndarray, "n D"], units: Float[np.ndarray, "K D"]
) -> Float[np.ndarray, " K"]:
    """Share of pictures in which the word becomes more probable along each vector.

    The gradient is of the log-probability, so that more is better: the reference counts negative
    products, for its gradient is of a loss.
    """
    return np.asarray(np.mean(gradients @ units.T > 0, axis=0), np.float32)


@dataclasses.dataclass(frozen=True)
class Significance:
    """How probable scores like these are by chance.

    Attributes:
      paired: of the paired t-test against random concepts, counterpart by counterpart.
      placed: of the concept's mean score among those of random concepts.
    """

    paired: float
    placed: float


def significance(scores: Float[np.ndarray, " K"], random: Float[np.ndarray, "R K"]) -> Significance:
    """Two tests of a concept's scores, both two-sided.

    The first is ACE's: a paired t-test over counterparts, here against the mean of several random
    concepts where the reference has one. It takes the K scores of one concept for independent, and
    they are not: all K vectors share the concept's patches. Two random sets differ by it far more
    often than it says. The second asks what the first cannot, how many random concepts have a mean
    score that lies as far out, and assumes no distribution: with the concept itself among them, it
    is at most p of the time at most p, where a concept is one more random set.
    """
    own, others = np.float64(np.mean(scores)), random.mean(axis=1, dtype=np.float64)
    above = np.count_nonzero(others >= own - TIE)
    below = np.count_nonzero(others <= own + TIE)
    placed = min(1.0, 2 * (1 + min(above, below)) / (1 + len(others)))
    difference = scores.astype(np.float64) - random.mean(axis=0, dtype=np.float64)
    return Significance(paired_t(difference), placed)


def for_many(placed: Sequence[float]) -> list[float]:
    """p of several concepts of a word, so large that few of those below a limit are chance.

    Of the concepts with an adjusted p up to q, a share of q at most is expected to be random sets
    (Benjamini and Hochberg 1995; they are positively dependent, for they share the random sets).
    """
    from scipy.stats import false_discovery_control

    return [float(p) for p in false_discovery_control(placed)] if len(placed) else []


def paired_t(difference: Float[np.ndarray, " K"]) -> float:
    """p of the two-sided paired t-test; 1 where nothing differs, 0 where all differ alike."""
    width = difference.std(ddof=1) / math.sqrt(len(difference))
    return t_test(float(difference.mean()), float(width), len(difference) - 1)


def t_test(distance: float, width: float, degrees: int) -> float:
    """Two-sided p of a distance in standard errors."""
    from scipy.stats import t

    if width <= 1e-12:
        return 1.0 if abs(distance) <= 1e-12 else 0.0
    return float(2 * t.sf(abs(distance) / width, degrees))
