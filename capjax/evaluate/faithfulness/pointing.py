"""Pointing and correctness of a phrase: by the published rules, and by one for all methods."""

from capjax.data.boxes.grounded import GroundedPhrase
from capjax.evaluate.queries import Protocol, Query
from capjax.explainers.contract import Method
from capjax.metrics import grounding as metric
from capjax.ops.upsample import upsample
from capjax.types import Explanation, Geometry


def phrase_scores(
    query: Query,
    phrase: GroundedPhrase,
    explanation: Explanation,
    protocol: Protocol,
    method: Method,
) -> dict[str, float]:
    """Scores of a method's map of a phrase, and what no map at all scores.

    Returns:
      `pointing_game`, at the centre of the largest cell, and `pointing_pixels`, at the first
      largest pixel of the upsampled map as in the code released with the pointing game;
      `attention_correctness` by the method's own rules, and `correctness_span`, by one for all
      methods (word maps summed, from the least value to the largest); `centre`, `random` and
      `uniform`, of one who sees no image.
    """
    geometry = explanation.geometry
    if protocol.crop == "central":  # The crop is the picture.
        geometry = Geometry(query.size, query.size, (0, 0, *query.size), geometry.grid)
    maps = explanation.maps[phrase.start : phrase.end].sum(axis=1)  # [N h w]
    whole = maps.sum(axis=0)
    fine = upsample(maps, geometry)
    boxes, tolerance, ties = phrase.boxes, protocol.tolerance, protocol.ties
    return {
        "pointing_game": metric.pointing_game(
            whole, boxes, geometry=geometry, ties=ties, tolerance=tolerance
        ),
        "pointing_pixels": metric.pointing_game(
            fine.sum(axis=0), boxes, ties=ties, tolerance=tolerance
        ),
        "attention_correctness": metric.attention_correctness(
            fine, boxes, phrase=method.PHRASE, normalise=method.SPREAD
        ),
        "correctness_span": metric.attention_correctness(
            fine, boxes, phrase="sum", normalise="span"
        ),
        "centre": metric.centre_hit(query.size, boxes, tolerance=tolerance),
        "random": metric.random_hit(query.size, boxes, tolerance=tolerance),
        "uniform": metric.uniform_correctness(query.size, boxes),
    }
