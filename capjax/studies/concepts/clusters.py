"""Clusters of patches, and which of them are concepts."""

import dataclasses

import numpy as np
from jaxtyping import Float, Int


@dataclasses.dataclass(frozen=True)
class Cluster:
    """A cluster that is common enough to be a concept.

    Attributes:
      members: rows of the patches that are kept, the closest to the centre first.
      size: patches before only the closest were kept.
      pictures: that these come from.
    """

    members: Int[np.ndarray, " m"]
    size: int
    pictures: int


def common(members: int, pictures: int, discovery: int) -> bool:
    """Whether a cluster is of many pictures, and not of a few pictures' many patches.

    One of three: pictures are more than half as many as members; more than a quarter, and more than
    a quarter of all; more than a tenth, and more than half of all.

    Args:
      members: patches of the cluster.
      pictures: that they come from.
      discovery: pictures in all.
    """
    return (
        pictures > members / 2
        or (pictures > members / 4 and pictures > discovery / 4)
        or (pictures > members / 10 and pictures > discovery / 2)
    )


def clusters_of(
    activations: Float[np.ndarray, "S D"],
    pictures: Int[np.ndarray, " S"],
    *,
    count: int,
    least: int,
    most: int,
    seed: int = 0,
) -> list[Cluster]:
    """The clusters (k-means) that may be concepts, the largest first.

    Args:
      activations: of every patch.
      pictures: the picture that each patch comes from.
      count: clusters to make, of fewer patches as many.
      least: a cluster needs more members.
      most: members that are kept of each.
      seed: of the first centres.
    """
    from sklearn.cluster import KMeans

    count = min(count, len(activations))
    found = KMeans(count, n_init=4, random_state=seed).fit(activations)
    distance = np.linalg.norm(activations - found.cluster_centers_[found.labels_], axis=1)
    discovery = len(np.unique(pictures))
    clusters = []
    for number in range(count):
        own = np.flatnonzero(found.labels_ == number)
        sources = len(np.unique(pictures[own]))
        if len(own) > least and common(len(own), sources, discovery):
            closest = own[np.argsort(distance[own], kind="stable")][:most]
            clusters.append(Cluster(closest, len(own), sources))
    return sorted(clusters, key=lambda one: -one.size)
