"""The maps of one image, of every sentence and method, as named arrays: what files of maps hold.

    <method>            [N F h w] float32, one map a word
    <method>.frames     [N F] relevance of whole frames, of clips
    <method>.phrases    [M F h w], where phrases were asked about
    phrases             [M 2] first word and last word + 1 of each phrase
    words               of the sentence
    geometry            where the grid lies on the picture, as JSON
    <method>.geometry   of a method with a finer grid of its own
    <method>.error      [N F h w] standard errors, of a method that draws
    <method>.measure    what its maps explain; not there where it explains no scalar
    targets             labels of what else was asked: keywords, contrasts, the whole sentence
    <method>.targets    [M F h w], one map each; <method>.target_frames [M F], of clips

Where several sentences were asked about the image, the arrays of the second are `2/<method>`,
`2/words` and so on; `geometry` is of all.
"""

import json
from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np

from capjax.folder.records import Answer, StoredMaps
from capjax.types import Explanation, Geometry

Arrays = dict[str, np.ndarray]
_SHARED = ("geometry", "words", "phrases", "targets")
_BESIDE = (
    *(".frames", ".phrases", ".geometry", ".error"),
    *(".measure", ".targets", ".target_frames"),
)


def arrays_of(answers: Sequence[Mapping[str, Explanation]]) -> Arrays:
    """The arrays of one image.

    Args:
      answers: for each sentence, method -> maps.
    """
    arrays: Arrays = {}
    geometries: dict[str, Geometry] = {}
    for number, explanations in enumerate(answers):
        start = _start(number)
        for method, explanation in explanations.items():
            geometries[method] = explanation.geometry
            arrays[start + method] = explanation.maps
            if explanation.frame_maps is not None:
                arrays[f"{start}{method}.frames"] = explanation.frame_maps
            if explanation.phrase_maps is not None:
                arrays[f"{start}{method}.phrases"] = explanation.phrase_maps
                arrays[f"{start}phrases"] = np.array(explanation.phrases, np.int32)
            arrays[f"{start}words"] = np.array(explanation.words, dtype=np.str_)
            if explanation.error is not None:
                arrays[f"{start}{method}.error"] = explanation.error
            if explanation.measure is not None:
                arrays[f"{start}{method}.measure"] = np.array(explanation.measure)
            if explanation.target_maps is not None:
                labels = [target.label for target in explanation.targets]
                arrays[f"{start}targets"] = np.array(labels, dtype=np.str_)
                arrays[f"{start}{method}.targets"] = explanation.target_maps
            if explanation.target_frames is not None:
                arrays[f"{start}{method}.target_frames"] = explanation.target_frames
    return _with_geometries(arrays, geometries)


def explanations_of(
    answers: Sequence[Answer], arrays_at: Callable[[str], Mapping[str, np.ndarray]]
) -> list[dict[str, Explanation]]:
    """For each sentence of an image, method -> maps.

    Args:
      answers: what its result says of them.
      arrays_at: the arrays of the image in a file of maps.

    Raises:
      ValueError: arrays of other words than `answers`, or without a method.
    """
    places = sorted({own.maps for answer in answers for own in answer.methods.values()})
    found = {place: arrays_at(place) for place in places}
    for arrays in found.values():
        for number, answer in enumerate(answers):
            words = arrays[f"{_start(number)}words"].tolist()
            if words != [*answer.words]:
                raise ValueError(
                    f"they are of the words {words}, the record is of {[*answer.words]}"
                )
    return [
        {
            method: _explanation(found[stored.maps], number, answer, method, stored)
            for method, stored in answer.methods.items()
        }
        for number, answer in enumerate(answers)
    ]


def _explanation(
    arrays: Mapping[str, np.ndarray], number: int, answer: Answer, method: str, stored: StoredMaps
) -> Explanation:
    """That of one sentence and method."""
    start = _start(number)
    if start + method not in arrays:
        raise ValueError(f"there are no maps of {method}")
    return Explanation(
        maps=arrays[start + method],
        words=answer.words,
        word_spans=answer.spans,
        score=answer.score,
        method=method,
        geometry=_geometry(arrays, method),
        flags=stored.flags,
        frame_maps=arrays.get(f"{start}{method}.frames"),
        phrases=_phrases(arrays, number),
        phrase_maps=arrays.get(f"{start}{method}.phrases"),
        unit=stored.unit,
        error=arrays.get(f"{start}{method}.error"),
        settings=stored.settings or {},
        measure=stored.measure,
        targets=answer.targets,
        target_maps=arrays.get(f"{start}{method}.targets"),
        target_frames=arrays.get(f"{start}{method}.target_frames"),
        lacking=answer.lacking,
    )


def of_methods(arrays: Mapping[str, np.ndarray], methods: Collection[str]) -> Arrays:
    """The arrays of some methods, and those of all."""
    others = [method for method in methods_in(arrays) if method not in methods]
    left_out = {method + beside for method in others for beside in ("", *_BESIDE)}
    return {name: own for name, own in arrays.items() if _in_sentence(name) not in left_out}


def merged(there: Mapping[str, np.ndarray], more: Mapping[str, np.ndarray]) -> Arrays:
    """The arrays of both; of a method that both have, those of `more`."""
    there = of_methods(there, {*methods_in(there)} - {*methods_in(more)})
    geometries = {
        method: _geometry(arrays, method)
        for arrays in (there, more)
        for method in methods_in(arrays)
    }
    return _with_geometries({**there, **more}, geometries)


def methods_in(arrays: Mapping[str, np.ndarray]) -> list[str]:
    """The methods that have maps among the arrays."""
    first = (name for name in arrays if _in_sentence(name) == name)
    return [name for name in first if name not in _SHARED and not name.endswith(_BESIDE)]


def _with_geometries(arrays: Arrays, geometries: Mapping[str, Geometry]) -> Arrays:
    """The arrays, with the coarsest geometry for all methods that have none of their own."""
    coarsest = min(geometries.values(), key=lambda geometry: geometry.grid)
    kept = {name: own for name, own in arrays.items() if not name.endswith(".geometry")}
    for method, geometry in geometries.items():
        if geometry != coarsest:
            kept[f"{method}.geometry"] = _text(geometry)
    return {**kept, "geometry": _text(coarsest)}


def _text(geometry: Geometry) -> np.ndarray:
    return np.array(json.dumps(geometry.to_json()))


def _geometry(arrays: Mapping[str, np.ndarray], method: str) -> Geometry:
    """That of a method, or of all which have none of their own."""
    own = f"{method}.geometry"
    return Geometry.from_json(json.loads(str(arrays[own if own in arrays else "geometry"])))


def _start(number: int) -> str:
    """What the names of the arrays of a sentence begin with."""
    return f"{number + 1}/" if number else ""


def _in_sentence(name: str) -> str:
    """The name of an array within its sentence."""
    number, slash, rest = name.partition("/")
    return rest if slash and number.isdigit() else name


def _phrases(arrays: Mapping[str, np.ndarray], number: int) -> tuple[tuple[int, int], ...]:
    spans = arrays.get(f"{_start(number)}phrases", ())
    return tuple((int(start), int(end)) for start, end in spans)
