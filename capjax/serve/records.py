"""Answers as JSON: the fields of a line of `explain.py`'s results.jsonl, with the maps inside.

Where a line names a file of maps, an answer holds them: `{"shape": [N, F, h, w], "float32": …}`,
the little-endian values in C order as base64, and beside them `geometry`, `error`, `phrases` and
`targets` where the file would have these. See `capjax.folder.records` and `maps.arrays`.
"""

import base64
import dataclasses
import io
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from capjax.data.pictures.given import SHOWN_SIDE
from capjax.folder.records import Answer, Result, StoredMaps
from capjax.folder.stored_findings import StoredFinding
from capjax.serve.uploads import Upload
from capjax.studies.contract import Finding, Study
from capjax.types import Caption, Explanation
from capjax.viz.explained_images import ExplainedImages
from capjax.viz.findings import finding_html
from capjax.viz.report.item import item_html
from capjax.viz.report.page import page_frame, thumbnail


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
    """The report's view of a picture, for the page: its HTML, what its script asks for, and the two
    ends of the page that makes a report of it."""
    items = [image.report_item() for image in explained]
    item = dataclasses.replace(
        items[0],
        name=upload.name,
        thumbnail=thumbnail(upload.picture.shown, None if items[0].frames > 1 else SHOWN_SIDE),
        sentences=[sentence for own in items for sentence in own.sentences],
    )
    head = explained.head()
    return {
        "html": item_html(item),
        "ranges": head.ranges,
        "units": head.units,
        "legend": head.summary,
        "page": page_frame(head, kind="report"),
    }


def finding_record(
    upload: Upload, study: Study, finding: Finding, *, viewed: bool
) -> dict[str, Any]:
    """What a study found out about a picture; its pictures by title, as the content of PNG files.

    Args:
      upload: the picture.
      study: that was run.
      finding: of it.
      viewed: whether the report's view of the finding is in it too.
    """
    stored = StoredFinding(
        study.describe(), {}, finding.tables, finding.numbers, finding.refused, finding.spots
    )
    pictures = {title: _png(picture) for title, picture in finding.pictures.items()}
    record = {"file": upload.name, "study": study.NAME, **stored.to_json(), "pictures": pictures}
    return record | ({"view": {"html": finding_html(study.NAME, finding)}} if viewed else {})


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


def _png(picture: np.ndarray) -> str:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "PNG", compress_level=1)  # quick, and exact
    return base64.b64encode(stream.getvalue()).decode()


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
