"""Memory does not grow with the images, and their order in the file changes nothing."""

import gc
import json
import shutil
import tracemalloc

import numpy as np
import pytest

from capjax.audit import command
from capjax.audit.passes import ask
from tests.audit.corpus import Corpus
from tests.audit.running import audited, rows

BYTES_AN_IMAGE = 1000
"""Its name, its place in the file, a few numbers: 100 MB for 100,000 images. Its line has 2,200."""
GARBAGE = 250_000
"""Bytes that may wait to be collected, where that is often done."""


def used(tmp_path, monkeypatch, count):
    """Bytes held after the pass of an audit that asks all there is to ask, and at the peak."""
    corpus = Corpus(count=count, findings=True)
    folder = corpus.write(tmp_path / f"{count}")
    (tmp_path / "boxes.json").write_text(json.dumps(Corpus(count=30).boxes()))
    lines = [f"{corpus.name(number)},{number % 3}" for number in range(count)]
    (tmp_path / "meta.csv").write_text("\n".join(["image,part", *lines]))
    more = [f"--boxes={tmp_path / 'boxes.json'}", f"--metadata={tmp_path / 'meta.csv'}"]
    more += ["--by=part", "--least=1"]  # few images have all words then
    held = []

    def asked(*arguments):
        passed = ask(*arguments)
        gc.collect()  # closed archives of NumPy wait for it
        held.append(tracemalloc.get_traced_memory()[0])
        return passed

    monkeypatch.setattr(command, "ask", asked)
    gc.collect()
    gc.freeze()  # or collections would be as rare as they are among the objects of all tests
    thresholds = gc.get_threshold()
    gc.set_threshold(100, 10, 10)
    tracemalloc.start()
    try:
        audited(folder, tmp_path / f"out {count}", *more, f"--against={folder}", "--tables=csv")
        return held[0], tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        gc.set_threshold(*thresholds)
        gc.unfreeze()


@pytest.mark.parametrize(
    ("few", "many"),
    [(30, 150), pytest.param(300, 3000, marks=pytest.mark.slow)],
)
def test_memory_does_not_grow_with_the_images(tmp_path, monkeypatch, few, many):
    monkeypatch.setattr("capjax.metrics.intervals.BLOCK", 5_000)  # of a bootstrap, whatever it is
    used(tmp_path, monkeypatch, 10)  # imports, caches
    small, large = (used(tmp_path, monkeypatch, count) for count in (few, many))
    grown = (large[0] - small[0]) / (many - few)
    assert grown < BYTES_AN_IMAGE, f"{small[0]:,} and {large[0]:,} bytes: {grown:.0f} an image"
    assert large[1] - small[1] < GARBAGE + BYTES_AN_IMAGE * (many - few), (small, large)


def test_lines_in_another_order_give_the_same_answers(tmp_path):
    folder = Corpus(count=50, findings=True).write(tmp_path / "run")
    first = audited(folder, tmp_path / "first")
    lines = (folder / "results.jsonl").read_text().splitlines(keepends=True)
    order = np.random.default_rng(5).permutation(len(lines))
    (folder / "results.jsonl").write_text("".join(lines[place] for place in order))
    second = audited(folder, tmp_path / "second")
    assert sorted(own.name for own in first.iterdir()) == sorted(
        own.name for own in second.iterdir()
    )
    for path in first.iterdir():
        assert path.read_bytes() == (second / path.name).read_bytes(), path.name


def test_damaged_pictures_are_left_out_of_the_page(tmp_path):
    folder = Corpus(count=40, blind="red").write(tmp_path / "run", pictures=True)
    page = (audited(folder, tmp_path / "whole") / "index.html").read_text()
    assert "data:image/jpeg" in page and "bits from the image" in page
    for path in (folder / "thumbnails").rglob("*.jpg"):
        path.write_bytes(b"no picture")
    page = (audited(folder, tmp_path / "out") / "index.html").read_text()
    assert "data:image/jpeg" not in page and "“red”: " in page


def test_damaged_maps_are_named_and_the_rest_is_answered(tmp_path):
    corpus = Corpus(count=40)
    folder = corpus.write(tmp_path / "run")
    hurt = [folder / "maps" / f"{corpus.name(number)}.npz" for number in (3, 11)]
    hurt[0].write_bytes(hurt[0].read_bytes()[:200])
    hurt[1].unlink()
    out = audited(folder, tmp_path / "out")
    page = (out / "index.html").read_text()
    assert "the maps of 2 images cannot be read" in page
    assert corpus.name(3) in page and corpus.name(11) in page
    means = {row["word"]: int(row["images"]) for row in rows(out, "mean_maps_by_word")}
    assert means["a"] == 38
    (one, _) = rows(out, "empty_maps_by_method")
    assert int(one["sentences"]) == 40
    shutil.rmtree(folder / "maps")
    out = audited(folder, tmp_path / "out")
    assert not (out / "mean_maps_by_word.csv").exists()
