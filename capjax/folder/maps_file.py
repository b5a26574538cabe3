"""Files under maps/: the raw maps of one image, of every sentence and method, as NumPy arrays.

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
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from capjax.folder.records import Answer
from capjax.runtime.files import replacing
from capjax.types import Explanation, Geometry


def write_maps(
    path: pathlib.Path, answers: Sequence[Mapping[str, Explanation]], *, keep: bool
) -> None:
    """Writes the maps of one image.

    Args:
      path: of the file.
      answers: for each sentence, method -> maps.
      keep: adds them to those of other methods that are there.
    """
    arrays: dict[str, np.ndarray] = {}
    if keep:
        with np.load(path, allow_pickle=False) as there:
            arrays = dict(there)
    shared = [own.geometry for explanations in answers for own in explanations.values()]
    earlier = {method: _geometry(arrays, method) for method in _methods(arrays)}
    coarsest = min([*shared, *earlier.values()], key=lambda geometry: geometry.grid)
    for method, geometry in earlier.items():
        if geometry != coarsest:
            arrays[f"{method}.geometry"] = _text(geometry)
    for number, explanations in enumerate(answers):
        start = _start(number)
        for method, explanation in explanations.items():
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
            if explanation.geometry != coarsest:
                arrays[f"{method}.geometry"] = _text(explanation.geometry)
    arrays["geometry"] = _text(coarsest)
    with replacing(path) as stream:
        np.savez(stream, **arrays)  # type: ignore[arg-type]


def read_maps(path: pathlib.Path, answers: Sequence[Answer]) -> list[dict[str, Explanation]]:
    """For each sentence of an image, method -> maps.

    Args:
      path: of the file.
      answers: what its result says of them.

    Raises:
      ValueError: they are of other words than `answers`.
      OSError, KeyError, zipfile.BadZipFile: the file is damaged, or lacks a method.
    """
    with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as there:
        arrays = dict(there)
    for number, answer in enumerate(answers):
        words = arrays[f"{_start(number)}words"].tolist()
        if words != [*answer.words]:
            raise ValueError(f"they are of the words {words}, the record is of {[*answer.words]}")
    return [
        {
            method: Explanation(
                maps=arrays[_start(number) + method],
                words=answer.words,
                word_spans=answer.spans,
                score=answer.score,
                method=method,
                geometry=_geometry(arrays, method),
                flags=stored.flags,
                frame_maps=arrays.get(f"{_start(number)}{method}.frames"),
                phrases=_phrases(arrays, number),
                phrase_maps=arrays.get(f"{_start(number)}{method}.phrases"),
                unit=stored.unit,
                error=arrays.get(f"{_start(number)}{method}.error"),
                settings=stored.settings or {},
                measure=stored.measure,
                targets=answer.targets,
                target_maps=arrays.get(f"{_start(number)}{method}.targets"),
                target_frames=arrays.get(f"{_start(number)}{method}.target_frames"),
                lacking=answer.lacking,
            )
            for method, stored in answer.methods.items()
        }
        for number, answer in enumerate(answers)
    ]


def _methods(arrays: Mapping[str, np.ndarray]) -> list[str]:
    """The methods that have maps in a file."""
    others = ("geometry", "words", "phrases", "targets")
    beside = (
        *(".frames", ".phrases", ".geometry", ".error"),
        *(".measure", ".targets", ".target_frames"),
    )
    first = (name for name in arrays if not (name[:1].isdigit() and "/" in name))
    return [name for name in first if name not in others and not name.endswith(beside)]


def _text(geometry: Geometry) -> np.ndarray:
    return np.array(json.dumps(geometry.to_json()))


def _geometry(arrays: Mapping[str, np.ndarray], method: str) -> Geometry:
    """That of a method, or of all which have none of their own."""
    own = f"{method}.geometry"
    return Geometry.from_json(json.loads(str(arrays[own if own in arrays else "geometry"])))


def _start(number: int) -> str:
    """What the names of the arrays of a sentence begin with."""
    return f"{number + 1}/" if number else ""


def _phrases(arrays: Mapping[str, np.ndarray], number: int) -> tuple[tuple[int, int], ...]:
    spans = arrays.get(f"{_start(number)}phrases", ())
    return tuple((int(start), int(end)) for start, end in spans)
