"""Folders of results made by hand: what is in them is known without reading them."""

import dataclasses
import json
from pathlib import Path

import numpy as np

from capjax.folder.maps.files import write_maps
from capjax.folder.queries import Queries
from capjax.folder.records import Answer, Result, StoredMaps
from capjax.runtime.fingerprint import Fingerprint
from capjax.types import Explanation, Geometry, WordDoubt

GEOMETRY = Geometry((40, 60), (40, 60), (0, 0, 40, 60), (2, 3))
RUN = {
    "model_hash": "m",
    "model": "toy",
    "decoding": {"method": "greedy", "width": 1},
    "code_version": "0",
    **Queries().to_json(),
    "methods": {"one": {}, "other": {}},
}
CAPTIONS = {"a/1.jpg": "a red dog", "a/2.jpg": "a cat", "b/3.jpg": "the dog ran away"}


def maps_of(file: str, method: str, count: int) -> np.ndarray:
    """[N 1 2 3] some map a word, which the names decide; the first is constant."""
    seed = sum(map(ord, file + method))
    maps = np.random.default_rng(seed).normal(size=(count, 1, 2, 3)).astype(np.float32)
    maps[0] = 0.5
    return maps


def result_of(file: str, text: str) -> tuple[Result, dict[str, Explanation]]:
    """The record of an image, and its maps."""
    words = tuple(text.split())
    spans = tuple((index, index + 1) for index in range(len(words)))
    log_probs = tuple(-0.25 * (index + 1) for index in range(len(words)))
    explanations, stored = {}, {}
    for method in RUN["methods"]:
        maps = maps_of(file, method, len(words))
        flags = {
            "degenerate": True,
            "degenerate_words": [0],
            "flat": method == "other" and "cat" in words,
            "entropy": [0.5] * len(words),
            "minimum": float(maps.min()),
            "maximum": float(maps.max()),
        }
        explanations[method] = Explanation(
            maps, words, spans, np.float32(log_probs), method, GEOMETRY, flags
        )
        stored[method] = StoredMaps(f"maps/{file}.npz", flags, measure="log_prob")
    answer = Answer(None, words, spans, tuple(range(4, 4 + len(words))), log_probs, stored)
    doubts = (WordDoubt(1, 2, words[1], ("dog",), 0.75, "why"),)
    known = Fingerprint(7, "0f", (1, 2))
    record = Result(
        file, 7, known, caption=text, tokens=answer.tokens, answers=(answer,), doubts=doubts
    )
    return record, explanations


def write_folder(out: Path) -> None:
    """Three explained images and one that was not, in the order in which they were done."""
    out.mkdir()
    (out / "run.json").write_text(json.dumps(RUN))
    torn = Result("b/torn.jpg", 3, error="cannot read image: truncated")
    records = [dataclasses.replace(torn, metadata={"camera": "d\u00f6", "year": 9})]
    for file, text in reversed(CAPTIONS.items()):
        record, explanations = result_of(file, text)
        write_maps(out / "maps" / f"{file}.npz", [explanations], keep=False)
        records.append(record)
    (out / "results.jsonl").write_text("".join(json.dumps(own.to_json()) + "\n" for own in records))
