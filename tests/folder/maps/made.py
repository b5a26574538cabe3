"""Runs without a captioner: what they explain is made up of names and captions."""

from collections.abc import Mapping, Sequence
from concurrent import futures
from pathlib import Path

import numpy as np

import capjax
from capjax.folder.maps import sharding
from capjax.folder.maps.formats import FILES, FORMAT
from capjax.folder.records import Answer, Result, StoredMaps
from capjax.folder.results import ResultFolder
from capjax.runtime.fingerprint import Fingerprint
from capjax.types import Explanation, Geometry, SentenceTarget
from tests.folder.opened.folders import RUN

COARSE = Geometry((40, 60), (40, 60), (0, 0, 40, 60), (2, 3))
FINE = Geometry((40, 60), (40, 60), (0, 0, 40, 60), (4, 6))
SIZES = {"attention": 1.0, "gradient": 1e-12, "pixels": 300.0}
CONTENTS = {f"{'ab'[number % 2]}/{number}.jpg": f"a dog number {number}" for number in range(8)}
"""File -> what its captioner would say."""


def explained(file: str, text: str, method: str, sentence: int) -> Explanation:
    """A clip's maps, of all kinds that there are."""
    words = (*text.split(), *["again"] * sentence)
    draw = np.random.default_rng(sum(map(ord, f"{file}{text}{method}")) + sentence)
    geometry = FINE if method == "pixels" else COARSE
    spans = tuple((index, index + 1) for index in range(len(words)))

    def maps(*shape: int) -> np.ndarray:
        values = draw.normal(size=shape) * np.exp(3 * draw.normal(size=shape))
        return (SIZES[method] * values).astype(np.float32)

    return Explanation(
        maps(len(words), 2, *geometry.grid),
        words,
        spans,
        np.float32([-0.5 * (index + 1) for index in range(len(words))]),
        method,
        geometry,
        {"degenerate": False, "flat": method == "gradient", "minimum": -1.0, "maximum": 1.0},
        frame_maps=maps(len(words), 2),
        phrases=((0, 2),),
        phrase_maps=maps(1, 2, *geometry.grid),
        unit="p" if method == "attention" else "",
        error=maps(len(words), 2, *geometry.grid) if method == "pixels" else None,
        settings={"steps": 3},
        measure=None if method == "attention" else "log_prob",
        targets=(SentenceTarget("the whole sentence", tuple(range(len(words))), -1.5),),
        target_maps=maps(1, 2, *geometry.grid),
        target_frames=maps(1, 2),
    )


def thumbnail(file: str) -> bytes:
    """Some bytes that cannot be compressed."""
    return np.random.default_rng(sum(map(ord, file))).bytes(6000)


def explain(out: Path, form: str, contents: Mapping[str, str], methods: Sequence[str]) -> None:
    """Explains what is missing, as explain.py does: threads write ahead of what is recorded."""
    run = {**RUN, "methods": {name: {} for name in methods}}
    described = run | ({} if form == FILES else {FORMAT: form})
    with ResultFolder(out, described) as folder, futures.ThreadPoolExecutor(2) as writers:
        written = []
        for file, text in contents.items():
            before = folder.earlier(file)
            keep = before is not None and before.caption == text
            keep = keep and all(folder.maps.holds(file, own) for own in folder.lines[file].places)
            known = before.answers[0].methods if keep else {}
            if missing := [name for name in methods if name not in known]:
                found = [
                    {name: explained(file, text, name, number) for name in missing}
                    for number in range(2)
                ]
                small = thumbnail(file)
                place = writers.submit(folder.maps.write, file, found, small, keep=keep)
                written.append((file, text, found, place, before if keep else None))
        for file, text, found, place, before in written:
            folder.append(_result(file, text, found, place.result(), before))
        folder.append(Result("torn.jpg", 3, error="cannot read image"))
        folder.finish()


def _result(file, text, found, place, before) -> Result:
    answers = []
    for number, explanations in enumerate(found):
        methods = dict(before.answers[number].methods) if before else {}
        for name, own in explanations.items():
            methods[name] = StoredMaps(
                place, own.flags, settings=own.settings, unit=own.unit, measure=own.measure
            )
        scores = tuple(map(float, own.score))
        tokens = tuple(range(4, 4 + len(own.words)))
        answers.append(Answer("q", own.words, own.word_spans, tokens, scores, methods, own.targets))
    known = Fingerprint(7, f"{len(text):x}", (1, 2))
    return Result(file, 7, known, caption=text, tokens=tokens, answers=tuple(answers))


def check(out: Path, form: str, contents: Mapping[str, str], methods: Sequence[str]) -> None:
    """A finished folder has all maps that were made, each once, and no more."""
    results = capjax.open_results(out)
    assert results.files == sorted([*contents, "torn.jpg"]) and not results.check()
    for file, text in contents.items():
        check_image(results[file], text, methods, exact=form == FILES)
    if form != FILES:
        check_shards(out, form, contents, methods)


def check_image(image, text: str, methods: Sequence[str], *, exact: bool) -> None:
    """An image has the maps that were made, those of shards up to half precision."""
    assert image.caption == text and {*image.explanations} == {*methods}
    for number, found in enumerate(image.sentences):
        for method, own in found.items():
            made = explained(image.file, text, method, number)
            for name, value in vars(made).items():
                if not isinstance(value, np.ndarray):
                    assert getattr(own, name) == value, name
                elif exact or name == "score":
                    np.testing.assert_array_equal(getattr(own, name), value)
                else:
                    over = tuple(range(1, value.ndim))
                    largest = np.abs(value).max(axis=over, keepdims=True)
                    lost = np.abs(getattr(own, name).astype(np.float64) - value)
                    assert (lost <= 2.0**-11 * largest).all() and lost.any()
    assert image.maps.thumbnail(image.record) == thumbnail(image.file)


def check_shards(out: Path, form: str, contents: Mapping[str, str], methods: Sequence[str]) -> None:
    """Each image is in one row of one shard a method; the manifest counts them; nothing is left."""
    from capjax.folder.maps.arrays import methods_in
    from capjax.folder.maps.formats import SHARDED
    from capjax.folder.maps.manifest import read_manifest
    from capjax.folder.maps.packed import unpack
    from capjax.runtime.fingerprint import sha256_of

    found = []
    manifest = read_manifest(out)
    for place, shard in manifest.items():
        opened = SHARDED[form].open(str(out / place))
        rows = [opened.row(number) for number in range(shard.rows)]
        assert opened.files == sorted({row.file for row in rows}) == [row.file for row in rows]
        own = [(row.file, method) for row in rows for method in methods_in(unpack(row.arrays))]
        assert shard.maps == len(own) and shard.rows <= sharding.MOST_ROWS
        assert shard.sha256 == sha256_of(out / place)
        found += own
        opened.close()
    assert sorted(found) == sorted((file, method) for file in contents for method in methods)
    there = {path.name for path in (out / "shards").iterdir()}
    assert there == {"manifest.json", *(place.rpartition("/")[2] for place in manifest)}
