"""What decides which concepts are found."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class ConceptSettings:
    """The constants of ACE's reference implementation, and what captions add.

    Attributes:
      stage: of the encoder (`Encoder.stages`); "" is the map that the decoder reads.
      segments: superpixels that a picture is cut into, once a number, from coarse to fine.
      smallest: share of a picture that a segment covers at least.
      overlap: a segment whose Jaccard index with one of a coarser cut is larger is dropped.
      clusters: of all patches.
      discovery: pictures that say the word, at most.
      others: pictures that do not, at most; random sets are patches of them. They stand for all
        pictures: with few, their mean is not that of all, and chance looks like a concept.
      least: a cluster with this many patches or fewer is no concept.
      most: patches of a concept, those closest to the cluster's centre.
      counterparts: random sets that a concept is told from, each by a vector of its own.
      random_concepts: random sets that stand for a concept, to test against; one concept alone of m
        has no p below 2 m / (random_concepts + 1).
      alpha: of the linear classifier's penalty.
      significance: a concept with a larger p is not kept: of those that are kept, the share that
        chance is allowed.

    Raises:
      ValueError: a number that makes no sense.
    """

    stage: str = ""
    segments: tuple[int, ...] = (15, 50, 80)
    smallest: float = 0.001
    overlap: float = 0.5
    clusters: int = 25
    discovery: int = 40
    others: int = 160
    least: int = 20
    most: int = 40
    counterparts: int = 20
    random_concepts: int = 999
    alpha: float = 0.01
    significance: float = 0.05

    def __post_init__(self) -> None:
        least = {"clusters": 2, "discovery": 2, "others": 2, "least": 2, "most": 3}
        least |= {"counterparts": 2, "random_concepts": 2}
        for name, lowest in least.items():
            if getattr(self, name) < lowest:
                raise ValueError(f"got {name}={getattr(self, name)}; expected {lowest} or more")
        if not self.segments or min(self.segments) < 2:
            raise ValueError(f"got segments={self.segments}; expected numbers from 2, such as 15")
        for name in ("smallest", "overlap", "significance"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"got {name}={getattr(self, name)}; expected more than 0 and < 1")
        if self.alpha <= 0:
            raise ValueError(f"got alpha={self.alpha}; expected more than 0")
        if self.most < self.least:
            raise ValueError(
                f"got most={self.most} and least={self.least}; a concept keeps at least as many "
                "patches as make one"
            )
