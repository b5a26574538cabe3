"""python -m capjax.audit: faults that were planted are found, and none where none were."""

import csv
import json
import re

import numpy as np
import pyarrow.parquet as parquet
import pytest
from scipy import stats

from capjax.audit.__main__ import main
from tests.audit.corpus import COLOURS, OBJECTS, PLACES, Corpus
from tests.audit.running import audited, flagged, rows


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    """An audit of a folder without faults."""
    corpus = Corpus(count=120)
    folder = corpus.write(tmp_path_factory.mktemp("clean") / "run", pictures=True)
    (folder.parent / "boxes.json").write_text(json.dumps(corpus.boxes()))
    out = folder.parent / "audit"
    audited(folder, out, f"--boxes={folder.parent / 'boxes.json'}")
    return out


def test_a_word_said_without_looking_is_found(tmp_path):
    folder = Corpus(count=120, blind="red").write(tmp_path / "run")
    audited(folder, tmp_path / "out")
    assert flagged(tmp_path / "out", "words_said_without_looking", "word") == [("red",)]
    first, *others = rows(tmp_path / "out", "words_said_without_looking")
    said = sum("red" in Corpus().caption(number).split() for number in range(120))
    assert int(first["images"]) == said and float(first["without looking"]) > 0.95
    assert abs(float(first["mean bits"])) < 0.3
    assert {row["word"] for row in others} == {*COLOURS, *OBJECTS, *PLACES} - {"red"}


def test_empty_maps_are_found_by_method_and_word(tmp_path):
    corpus = Corpus(count=120, empty=frozenset(range(7)))
    audited(corpus.write(tmp_path / "run"), tmp_path / "out")
    (one, other) = rows(tmp_path / "out", "empty_maps_by_method")
    for row in (one, other):
        assert float(row["empty"]) == pytest.approx(0.7) and float(row["flat"]) == 0.7
    found = flagged(tmp_path / "out", "empty_maps_by_word", "method", "word")
    assert {("one", "a"), ("other", "a"), ("one", "on"), ("other", "the")} <= set(found)
    by_word = rows(tmp_path / "out", "empty_maps_by_word")
    table = {(row["method"], row["word"]): row for row in by_word}
    full = [
        stats.entropy(corpus.maps(number, "one", tuple(corpus.caption(number).split()))[0].ravel())
        for number in range(120)
        if number % 10 >= 7
    ]
    expected = 0.7 + 0.3 * np.mean(full) / np.log(16)
    assert float(table["one", "a"]["mean entropy"]) == pytest.approx(expected, abs=1e-4)


def test_a_word_that_looks_beside_its_object_is_found(tmp_path):
    corpus = Corpus(count=120, misplaced="cat")
    folder = corpus.write(tmp_path / "run")
    (tmp_path / "boxes.json").write_text(json.dumps(corpus.boxes()))
    audited(folder, tmp_path / "out", f"--boxes={tmp_path / 'boxes.json'}")
    name = "words_that_look_at_the_wrong_place"
    found = flagged(tmp_path / "out", name, "method", "word")
    assert found == [("one", "cat"), ("other", "cat")]
    table = {(row["method"], row["word"]): row for row in rows(tmp_path / "out", name)}
    assert {word for _, word in table} == set(OBJECTS)
    assert {float(table["one", word]["misses"]) for word in OBJECTS} == {0.0, 1.0}
    for row in table.values():  # a box is one of sixteen cells; the middle lies in one of them
        assert float(row["random pixel misses"]) == pytest.approx(15 / 16)
    cats = [at for at in range(120) if "cat" in corpus.caption(at).split()]
    middle = sum(corpus.cell(at) == (2, 2) for at in cats) / len(cats)
    assert float(table["one", "cat"]["middle misses"]) == pytest.approx(1 - middle)


def test_boxes_of_a_copy_of_another_size_are_scaled(tmp_path):
    corpus = Corpus(count=40)
    folder, boxes = corpus.write(tmp_path / "run"), corpus.boxes()
    for image in boxes["images"]:
        image["height"] = image["width"] = 640
    for own in boxes["annotations"]:
        own["bbox"] = [10 * side for side in own["bbox"]]
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    audited(folder, tmp_path / "out", f"--boxes={tmp_path / 'boxes.json'}", "--least=1")
    table = rows(tmp_path / "out", "words_that_look_at_the_wrong_place")
    assert all(float(row["misses"]) == 0 for row in table) and len(table) == 6
    assert float(table[0]["random pixel misses"]) == pytest.approx(15 / 16)


def test_a_word_that_is_doubted_is_found(tmp_path):
    folder = Corpus(count=120, doubted="car").write(tmp_path / "run")
    audited(folder, tmp_path / "out")
    assert flagged(tmp_path / "out", "words_not_to_believe", "word") == [("car",)]
    means = {row["word"]: row for row in rows(tmp_path / "out", "words_not_to_believe")}
    column = "mean probability that nothing is there"
    assert float(means["car"][column]) == pytest.approx(0.9)
    assert float(means["dog"][column]) == pytest.approx(0.1)


def test_words_with_the_same_maps_are_found(tmp_path):
    folder = Corpus(count=120, twins=("on", "beach")).write(tmp_path / "run")
    audited(folder, tmp_path / "out")
    name = "words_with_the_same_maps_in_a_sentence"
    assert set(flagged(tmp_path / "out", name, "word", "other word")) == {("on", "beach")}
    first = rows(tmp_path / "out", name)[0]
    assert (float(first["same map"]), float(first["mean distance"])) == (1.0, 0.0)


def test_mean_maps_are_the_means_over_images(clean):
    corpus = Corpus(count=120)
    found = {(row["method"], row["word"]): row for row in rows(clean, "mean_maps_by_word")}
    assert len(found) == 2 * 14
    maps = {}
    for number in range(120):
        words = tuple(corpus.caption(number).split())
        shares = corpus.maps(number, "one", words).sum(axis=1, dtype=np.float64)
        shares /= shares.sum(axis=(1, 2), keepdims=True)
        for word, share in zip(words, shares, strict=True):
            maps.setdefault(word, []).append(share)
    means = {word: np.mean(own, axis=0) for word, own in maps.items()}
    whole = np.mean(list(means.values()), axis=0)
    for word, own in maps.items():
        row = found["one", word]
        assert int(row["images"]) == len(own)
        middle = means[word][1:3, 1:3].sum() / (4 / 16)
        assert float(row["centre"]) == pytest.approx(middle)
        assert float(row["border"]) == pytest.approx((1 - middle / 4) / (12 / 16))
        apart = np.abs(means[word] - whole).sum() / 2
        assert float(row["from all words"]) == pytest.approx(apart)


def test_nothing_is_found_where_nothing_is_planted(clean):
    for path in clean.glob("*.csv"):
        with open(path) as stream:
            wrong = [row for row in csv.DictReader(stream) if row.get("flagged") == "1"]
        assert not wrong, path.name
    text = (clean / "index.html").read_text()
    assert "None of 11 words are mostly said without looking." in text
    assert "None of 28 words by method have mostly empty maps." in text


def test_captions_that_return_are_counted(clean):
    captions = [Corpus().caption(number) for number in range(120)]
    table = rows(clean, "repeated_captions")
    exact = {row["caption"]: int(row["images"]) for row in table if row["kind"] == "exact"}
    assert exact == {text: captions.count(text) for text in captions if captions.count(text) > 1}
    assert all(row["images"] == row["pictures"] for row in table)
    near = [row for row in table if row["kind"] != "exact"]
    assert [int(row["images"]) for row in near] == sorted(exact.values(), reverse=True)


def test_tables_are_the_same_in_both_files_and_on_the_page(clean):
    described = json.loads((clean / "audit.json").read_text())
    assert sorted(described["files"]) == sorted(
        path.name for path in clean.iterdir() if path.name != "audit.json"
    )
    for path in clean.glob("*.csv"):
        table = parquet.read_table(path.with_suffix(".parquet"))
        with open(path) as stream:
            written = list(csv.reader(stream))
        assert table.column_names == written[0] and table.num_rows == len(written) - 1
        for own, line in zip(table.to_pylist(), written[1:], strict=True):
            for value, text in zip(own.values(), line, strict=True):
                assert text == ("" if value is None else str(value))
    page = (clean / "index.html").read_text()
    assert all(name in page for name in described["files"] if name != "index.html")
    assert str(clean.parent) not in (clean / "audit.json").read_text()


def test_the_page_stands_alone_and_its_examples_lead_to_the_run(clean):
    page = (clean / "index.html").read_text()
    assert not re.search(r'(?:src|href)="(?:https?:)?//', page) and "<script" not in page
    links = set(re.findall(r'href="([^"#]+)"', page))
    assert any(link.startswith("../run/overlays/") for link in links)
    for link in links:
        assert (clean / link).is_file(), link


def test_what_a_folder_lacks_is_said_and_not_guessed(tmp_path):
    folder = Corpus(visual=False).write(tmp_path / "run")
    audited(folder, tmp_path / "out")
    assert not (tmp_path / "out" / "words_said_without_looking.csv").exists()
    page = (tmp_path / "out" / "index.html").read_text()
    assert "60 images without visual information" in page and "--no-visual-information" in page


def test_an_audit_replaces_an_earlier_one_and_reads_the_run_alone(tmp_path):
    folder = Corpus(count=30).write(tmp_path / "run")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    audited(folder, tmp_path / "out")
    first = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    audited(folder, tmp_path / "out")
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == first
    audited(folder, tmp_path / "out", "--tables=csv")
    assert not list((tmp_path / "out").glob("*.parquet")) and list((tmp_path / "out").glob("*.csv"))
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("least", [4, 6, 30])
def test_few_images_are_audited_too(tmp_path, least):
    folder = Corpus(count=6).write(tmp_path / "run")
    out = audited(folder, tmp_path / "out", f"--least={least}")
    found = {row["word"] for row in rows(out, "empty_maps_by_word")}
    said = [word for number in range(6) for word in set(Corpus().caption(number).split())]
    assert found == {word for word in said if said.count(word) >= least}


def test_images_that_could_not_be_explained_are_named(tmp_path):
    folder = Corpus(count=30).write(tmp_path / "run")
    with open(folder / "results.jsonl", "a") as stream:
        stream.write('{"file": "torn.jpg", "bytes": 3, "error": "cannot read image: cut"}\n')
    audited(folder, tmp_path / "out")
    page = (tmp_path / "out" / "index.html").read_text()
    assert "1 image could not be explained and is left out: torn.jpg: cannot read image" in page


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--results={tmp}/none", "--out={tmp}/out"], "none is not there; give the folder"),
        (["--results={tmp}/run", "--out={tmp}/run"], "holds the results of a run"),
        (
            ["--results={tmp}/run", "--out={tmp}/out", "--boxes={tmp}/boxes.json"],
            "no boxes of these",
        ),
        (["--results={tmp}/run", "--out={tmp}/run/run.json"], "cannot be written"),
        (
            ["--results={tmp}/run", "--out={tmp}/out", "--function-words={tmp}/none.toml"],
            "no file of function words",
        ),
    ],
)
def test_wrong_usage_is_told(tmp_path, capsys, arguments, said):
    Corpus(count=3).write(tmp_path / "run")
    boxes = Corpus(count=1).boxes()
    boxes["images"][0]["file_name"] = "another.jpg"
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    assert main([own.format(tmp=tmp_path) for own in arguments]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
