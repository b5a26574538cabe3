"""The parts of a sentence that have a map to draw: its words, then what else was asked about."""

import dataclasses

import numpy as np
from jaxtyping import Float, Int

from capjax.explainers.scaling import Values, displayed, natural_values, unit_of
from capjax.types import Explanation


@dataclasses.dataclass(frozen=True)
class Parts:
    """The words of a sentence, what else was asked about, or both, with all that is drawn of them.

    Attributes:
      labels: what to write beside each map.
      maps: [N F h w] raw.
      relevance: [N F] raw relevance of whole frames.
      spans: (first word, last word + 1) of each.
      score: [N] log-probability of each, of a contrast minus that of its alternative; NaN for what
        the captioner was not shown.
      unit: what the maps are, to write beside their numbers; empty for raw values.
    """

    labels: tuple[str, ...]
    maps: Float[np.ndarray, "N F h w"]
    relevance: Float[np.ndarray, "N F"]
    spans: tuple[tuple[int, int], ...]
    score: Float[np.ndarray, " N"]
    unit: str = ""

    def shown(self, explained: Explanation, values: Values | None) -> "Parts":
        """With maps as a reader is shown them, see `scaling.displayed`; relevance stays raw."""
        values = values or natural_values(explained.unit)
        return dataclasses.replace(
            self,
            maps=displayed(self.maps, values),
            unit=unit_of(explained.unit, values),
        )

    @property
    def frames(self) -> int:
        """F: 1 for an image."""
        return int(self.maps.shape[1])

    def most_relevant(self, count: int) -> Int[np.ndarray, "N count"]:
        """The `count` most relevant frames of each, in the order of time."""
        return most_relevant(self.relevance, count)

    def peak(self, index: int, frame: int) -> tuple[int, int]:
        """(row, column) of the highest cell of a map; the first, row by row, of equal ones."""
        cell = int(np.nanargmax(self.maps[index, frame]))
        return divmod(cell, self.maps.shape[-1])


def most_relevant(relevance: Float[np.ndarray, "N F"], count: int) -> Int[np.ndarray, "N count"]:
    """The `count` most relevant frames of each row, in the order of time; all when there are fewer.

    Of equally relevant frames the earlier ones are taken.
    """
    order = np.argsort(-np.asarray(relevance, np.float64), axis=1, kind="stable")
    return np.sort(order[:, :count], axis=1)


def mean_of_map(maps: Float[np.ndarray, "N F h w"]) -> Float[np.ndarray, "N F"]:
    """A frame's relevance where a method gives none; NaN, for padding, counts for nothing."""
    seen = ~np.isnan(maps)
    total = np.sum(maps, axis=(2, 3), where=seen, dtype=np.float32)
    return total / np.maximum(seen.sum(axis=(2, 3)), 1).astype(np.float32)


def words(explanation: Explanation) -> Parts:
    """The words. Where a method gives no relevance of whole frames, it is the mean of their map.

    Raises:
      ValueError: not one map [F h w] a word, or frame maps that fit neither.
    """
    maps = _maps(explanation.maps, len(explanation.words), "word")
    relevance = explanation.frame_maps
    if relevance is None:
        relevance = mean_of_map(maps)
    relevance = np.asarray(relevance, np.float32)
    if relevance.shape != maps.shape[:2]:
        raise ValueError(
            f"got frame maps of shape {relevance.shape} beside maps of shape {maps.shape}; "
            "expected one value a word and frame"
        )
    spans = tuple((index, index + 1) for index in range(len(maps)))
    return Parts(explanation.words, maps, relevance, spans, np.asarray(explanation.score))


def phrases(explanation: Explanation) -> Parts:
    """The phrases, none for most explanations; a frame's relevance is the sum over the words.

    Raises:
      ValueError: not one map a phrase.
    """
    own = words(explanation)
    spans = explanation.phrases
    maps = explanation.phrase_maps if spans else own.maps[:0]
    maps = _maps(() if maps is None else maps, len(spans), "phrase")
    if explanation.frame_maps is None:
        relevance = mean_of_map(maps)
    else:
        sums = [own.relevance[start:end].sum(axis=0) for start, end in spans]
        relevance = np.array(sums, np.float32).reshape(len(spans), own.frames)
    return Parts(
        tuple(" ".join(explanation.words[start:end]) for start, end in spans),
        maps,
        relevance,
        tuple(spans),
        np.array([_sum(own.score[start:end]) for start, end in spans], np.float32),
    )


def targets(explanation: Explanation) -> Parts:
    """Keywords, contrasts and the whole sentence, none for most explanations.

    Raises:
      ValueError: not one map a target.
    """
    asked = explanation.targets
    maps = explanation.target_maps if asked else words(explanation).maps[:0]
    maps = _maps(() if maps is None else maps, len(asked), "target")
    relevance = explanation.target_frames
    return Parts(
        tuple(target.label for target in asked),
        maps,
        mean_of_map(maps) if relevance is None or not asked else np.asarray(relevance, np.float32),
        tuple(_span(target.words) for target in asked),
        np.array([target.score for target in asked], np.float32),
    )


def beside_words(explanation: Explanation) -> Parts:
    """The phrases and, after them, the other targets."""
    return _joined(phrases(explanation), targets(explanation))


def all_parts(explanation: Explanation) -> Parts:
    """The words and, after them, what else was asked about."""
    return _joined(words(explanation), beside_words(explanation))


def in_figures(explanation: Explanation) -> Parts:
    """What a figure for papers has a panel for: what was asked about beside words, else words."""
    asked = beside_words(explanation)
    return asked if asked.labels else words(explanation)


def _joined(first: Parts, second: Parts) -> Parts:
    return Parts(
        first.labels + second.labels,
        np.concatenate([first.maps, second.maps]),
        np.concatenate([first.relevance, second.relevance]),
        first.spans + second.spans,
        np.concatenate([first.score, second.score]),
    )


def _span(indices: tuple[int, ...]) -> tuple[int, int]:
    """The words that a target is about, the first of them where they do not follow each other."""
    if not indices:
        return 0, 0
    start, end = indices[0], indices[-1] + 1
    return (start, end) if end - start == len(indices) else (start, start + 1)


def _sum(scores: Float[np.ndarray, " n"]) -> float:
    known = scores[~np.isnan(scores)]
    return float(known.sum()) if len(known) else float("nan")


def _maps(maps: object, count: int, noun: str) -> np.ndarray:
    found = np.asarray(maps, np.float32)
    if found.ndim != 4 or len(found) != count:
        raise ValueError(
            f"got maps of shape {found.shape} for {count} {noun}s; expected [{count} F h w], one "
            f"map a {noun}"
        )
    return found
