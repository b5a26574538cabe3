"""Answers as JSON: the fields of a line of `explain.py`'s results.jsonl, with the maps inside.

Where a line names a file of maps, an answer holds them: `{"shape": [N, F, h, w], "float32": …}`,
the little-endian values in C order as base64, and beside them `geometry`, `error`, `phrases` and
`targets` where the file would have these. See `capjax.folder.records` and `maps_file`.
"""

import base64
import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from capjax.data.pictures.given import SHOWN_SIDE
from capjax.folder.records import Answer, Result, StoredMaps
from capjax.serve.uploads import Upload
from capjax.types import Caption, Explanation
from capjax.viz.explained_images import ExplainedImages
from capjax.viz.report.item import item_html
from capjax.viz.report.page import thumbnail


def caption_record(upload: Upload, candidates: Sequence[Caption]) -> dict[str, Any]:
    """A caption, and under `alternatives` what else the search ended with, best first."""
    first, *others = map(_caption, candidates)
    content = {"bytes": upload.known.bytes, "sha256": upload.known.sha256}
    return {"file": upload.name, **first, "alternatives": others, **content}


def maps_record(upload: Upload, explained: ExplainedImages) -> dict[str, Any]:
    """A caption with the maps of one sentence or several about the picture."""
    caption = explained[0].caption
    answers = [Answer.of(image.query, image.explained, {}) for image in explained]
    result = Result(
        upload.name,
        upload.known.bytes,
        upload.known,
        caption=caption.text,
        tokens=tuple(caption.tokens),
        score=caption.score,
        finished=caption.finished,
        rank=caption.rank,
        answers=tuple(answers),
        doubts=caption.doubts,
    )
    line = result.to_json()
    for place, image in zip([line, *line.get("more", ())], explained, strict=True):
        place["methods"] = {name: _method(own) for name, own in image.explanations.items()}
    return line


def view(upload: Upload, explained: ExplainedImages) -> dict[str, Any]:
    """The report's view of a picture, for the page: its HTML, and what its script asks for."""
    items = [image.report_item() for image in explained]
    item = dataclasses.replace(
        items[0],
        name=upload.name,
        thumbnail=thumbnail(upload.picture.shown, SHOWN_SIDE),
        sentences=[sentence for own in items for sentence in own.sentences],
    )
    head = explained.head()
    return {
        "html": item_html(item),
        "ranges": head.ranges,
        "units": head.units,
        "legend": head.summary,
    }


def json_bytes(value: Any) -> bytes:
    """Strict JSON, with null for numbers that are not finite."""
    plain = _plain(value)
    return json.dumps(plain, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode(
        errors="replace"
    )


def _caption(caption: Caption) -> dict[str, Any]:
    return {
        "caption": caption.text,
        "caption_tokens": list(caption.tokens),
        "score": caption.score,
        "finished": caption.finished,
        "words": list(caption.words),
        "log_probabilities": [round(float(value), 6) for value in caption.log_probs],
    }


def _method(explanation: Explanation) -> dict[str, Any]:
    stored = StoredMaps(
        maps="",
        flags=explanation.flags,
        settings=explanation.settings or None,
        unit=explanation.unit,
        measure=explanation.measure,
    )
    arrays = {
        "maps": explanation.maps,
        "error": explanation.error,
        "phrases": explanation.phrase_maps,
        "targets": explanation.target_maps,
    }
    held = {name: _array(values) for name, values in arrays.items() if values is not None}
    return stored.to_json() | held | {"geometry": explanation.geometry.to_json()}


def _array(values: np.ndarray) -> dict[str, Any]:
    exact = np.ascontiguousarray(values, "<f4")
    return {"shape": list(exact.shape), "float32": base64.b64encode(exact.tobytes()).decode()}


def _plain(value: Any) -> Any:
    """The value with plain numbers and lists alone."""
    if isinstance(value, Mapping):
        return {str(name): _plain(own) for name, own in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(own) for own in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
