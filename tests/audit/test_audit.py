"""python -m capjax.audit: faults that were planted are found, and none where none were."""

import csv
import json
import re

import pyarrow.parquet as parquet
import pytest

from capjax.audit.__main__ import main
from tests.audit.corpus import COLOURS, OBJECTS, PLACES, Corpus


def audited(folder, out, *more):
    """Runs the command."""
    assert main([f"--results={folder}", f"--out={out}", *more]) == 0


def rows(out, name):
    """A table of an audit, a mapping a row."""
    with open(out / f"{name}.csv") as stream:
        return list(csv.DictReader(stream))


def flagged(out, name, *keys):
    return [tuple(row[key] for key in keys) for row in rows(out, name) if int(row["flagged"])]


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    """An audit of a folder without faults."""
    folder = Corpus(count=120).write(tmp_path_factory.mktemp("clean") / "run", pictures=True)
    out = folder.parent / "audit"
    audited(folder, out)
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
        (["--results={tmp}/run", "--out={tmp}/run/run.json"], "cannot be written"),
        (
            ["--results={tmp}/run", "--out={tmp}/out", "--function-words={tmp}/none.toml"],
            "no file of function words",
        ),
    ],
)
def test_wrong_usage_is_told(tmp_path, capsys, arguments, said):
    Corpus(count=3).write(tmp_path / "run")
    assert main([own.format(tmp=tmp_path) for own in arguments]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
