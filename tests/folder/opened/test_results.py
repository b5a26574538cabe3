"""capjax.open_results: what a folder holds, against what was put into it by hand."""

import json
import shutil
import stat
from pathlib import Path

import numpy as np
import pytest

import capjax
from capjax.folder.opened.image import DamagedMapsError
from tests.folder.opened.folders import CAPTIONS, GEOMETRY, maps_of, result_of, write_folder

OLDER = Path(__file__).parents[1] / "older"
FILES = [*CAPTIONS, "b/torn.jpg"]


@pytest.fixture
def out(tmp_path):
    write_folder(tmp_path / "out")
    return tmp_path / "out"


@pytest.fixture
def without_maps(monkeypatch):
    """Reading maps is an error."""

    def refuse(*_, **__):
        raise AssertionError("maps were read")

    monkeypatch.setattr("capjax.folder.maps.files.MapFiles.read", refuse)


def test_images_come_back_by_name_and_index_as_they_were_written(out):
    results = capjax.open_results(out)
    assert len(results) == 4 and results.files == FILES
    assert [image.file for image in results] == [results[number].file for number in range(4)]
    assert results[-1].error == "cannot read image: truncated" and not results[-1].explanations
    for file, text in CAPTIONS.items():
        record, explanations = result_of(file, text)
        assert results[file].record == record and results[file].caption == text
        assert [doubt.word for doubt in results[file].doubts] == [text.split()[1]]
        for method, expected in explanations.items():
            found = results[file][method]
            np.testing.assert_array_equal(found.maps, maps_of(file, method, len(expected.words)))
            assert (found.words, found.geometry) == (expected.words, GEOMETRY)
            assert found.flags == expected.flags
    assert [image.file for image in results[1:3]] == FILES[1:3]
    assert "a/2.jpg" in results and "a/2.jpg" not in results[2:]
    with pytest.raises(KeyError, match=r"no image '2.jpg' among 4 of .*the first is 'a/1.jpg'"):
        results["2.jpg"]
    with pytest.raises(KeyError, match="no 'three' maps here; there are: one, other"):
        results[0]["three"]
    with pytest.raises(KeyError, match="b/torn.jpg could not be explained: cannot read image"):
        results["b/torn.jpg"]["one"]
    with pytest.raises(IndexError):
        results[4]


@pytest.mark.parametrize(
    ("wanted", "files"),
    [
        ({"word": "dog"}, ["a/1.jpg", "b/3.jpg"]),
        ({"word": "do"}, []),
        ({"image": "a/*"}, ["a/1.jpg", "a/2.jpg"]),
        ({"image": "*3.jpg", "word": "dog"}, ["b/3.jpg"]),
        ({"flag": "flat"}, ["a/2.jpg"]),
        ({"flag": "flat", "method": "one"}, []),
        ({"flag": "degenerate_words", "method": "one"}, list(CAPTIONS)),
        ({"method": "other"}, list(CAPTIONS)),
        ({"method": "gradcam"}, []),
        ({"error": True}, ["b/torn.jpg"]),
        ({"error": "*truncated"}, ["b/torn.jpg"]),
        ({"error": "*empty*"}, []),
        ({"error": False, "image": "b/*"}, ["b/3.jpg"]),
        ({}, FILES),
    ],
)
def test_filters_choose_without_reading_maps(out, without_maps, wanted, files):
    results = capjax.open_results(out)
    assert results.where(**wanted).files == files
    assert results[1:].where(**wanted).files == [file for file in FILES[1:] if file in files]


def test_what_is_being_written_is_read_as_far_as_it_is_whole(out):
    path = out / "results.jsonl"
    whole = path.read_bytes()
    before = capjax.open_results(out)
    with path.open("ab") as stream:
        stream.write(b'{"file": "c.jpg", "bytes": 3, "err')
    assert capjax.open_results(out).files == FILES
    with path.open("ab") as stream:
        stream.write(b'or": "gone"}\n')
    assert capjax.open_results(out).files == [*FILES, "c.jpg"]
    # A run sorts its lines into another file; what was opened reads on.
    path.rename(out / "old")
    path.write_bytes(whole.splitlines(keepends=True)[0])
    (out / "old").unlink()
    assert before["b/3.jpg"].caption == CAPTIONS["b/3.jpg"]
    assert capjax.open_results(out).files == ["b/torn.jpg"]
    path.unlink()
    assert len(capjax.open_results(out)) == 0  # a run has begun


def test_the_last_line_of_a_name_counts_and_damaged_ones_are_named(out):
    with (out / "results.jsonl").open("a") as stream:
        stream.write('{"file": 3}\nnothing\n{"file": "a/1.jpg", "bytes": 3, "error": "gone"}\n')
    with pytest.warns(UserWarning, match=r"2 damaged lines of .* left out \(5, 6\)"):
        results = capjax.open_results(out)
    assert results.files == FILES and results["a/1.jpg"].error == "gone"
    with (out / "results.jsonl").open("a") as stream:
        stream.write('{"file": "a/1.jpg", "caption": 3}\n')
    with pytest.warns(UserWarning), pytest.raises(ValueError, match="line of 'a/1.jpg' .*damaged"):
        capjax.open_results(out)["a/1.jpg"]


def damage(out):
    """Cuts the maps of one image, gives another those of other words, loses those of a third."""
    cut = out / "maps" / "a/1.jpg.npz"
    cut.write_bytes(cut.read_bytes()[:-40])
    shutil.copy(out / "maps" / "b/3.jpg.npz", out / "maps" / "a/2.jpg.npz")
    (out / "maps" / "b/3.jpg.npz").unlink()


def test_damaged_maps_are_named_and_counted(out):
    damage(out)
    results = capjax.open_results(out)
    for file, why in (
        ("a/1.jpg", "zip"),
        ("a/2.jpg", r"words \['the', 'dog', 'ran', 'away'\], the record is of \['a', 'cat'\]"),
        ("b/3.jpg", "No such file"),
    ):
        with pytest.raises(DamagedMapsError, match=f"maps of {file} .*maps/{file}.npz.*{why}"):
            results[file]["one"]
        assert results[file].caption == CAPTIONS[file]
    assert set(results.check()) == set(CAPTIONS)
    pytest.importorskip("pyarrow")
    with pytest.raises(DamagedMapsError, match="maps of a/1.jpg"):
        results.words_table().read_all()
    marked = results.words_table(damaged="mark").read_all().to_pylist()
    assert len(marked) == 9 and {row["file"] for row in marked} == set(CAPTIONS)
    assert all(row["file"] in row["damaged"] and row["one.peak"] is None for row in marked)
    with pytest.raises(ValueError, match="choose 'raise' or 'mark'"):
        results.words_table(damaged="skip")


def test_a_bit_that_flipped_is_noticed(out):
    path = out / "maps" / "a/2.jpg.npz"
    content = bytearray(path.read_bytes())
    place = content.index(maps_of("a/2.jpg", "one", 2).tobytes())
    content[place + 7] ^= 1
    path.write_bytes(content)
    assert list(capjax.open_results(out).check()) == ["a/2.jpg"]


def test_words_are_rows_with_what_their_maps_say(out):
    pytest.importorskip("pyarrow")
    results = capjax.open_results(out)
    rows = results.words_table().read_all().to_pylist()
    assert [(row["file"], row["position"], row["word"]) for row in rows] == [
        (file, position, word)
        for file, text in CAPTIONS.items()
        for position, word in enumerate(text.split())
    ]
    for row in rows:
        position, count = row["position"], len(CAPTIONS[row["file"]].split())
        assert row["log_probability"] == -0.25 * (position + 1)
        assert row["sentence"] == 0 and row["query"] is None
        assert row["doubt"] == (0.75 if position == 1 else None)
        for method in ("one", "other"):
            values = maps_of(row["file"], method, count)[position, 0]
            peak = values.max()
            down, across = np.argwhere(values == peak)[0]
            assert row[f"{method}.peak"] == peak and row[f"{method}.frame"] == 0
            # Cells are 20 pixels a side.
            assert (row[f"{method}.y"], row[f"{method}.x"]) == (20 * down + 10, 20 * across + 10)
            assert row[f"{method}.mass"] == pytest.approx(values.sum(), abs=1e-5)
            assert ("degenerate" in row[f"{method}.flags"]) == (position == 0)
            assert ("flat" in row[f"{method}.flags"]) == (
                method == "other" and row["file"] == "a/2.jpg"
            )
            assert row[f"{method}.entropy"] == 0.5


def test_tables_come_in_batches_and_without_maps_where_they_are_not_asked_for(
    out, without_maps, monkeypatch
):
    pa = pytest.importorskip("pyarrow")
    monkeypatch.setattr("capjax.folder.opened.tables.ROWS", 3)
    results = capjax.open_results(out)
    reader = results.where(word="dog").words_table(maps=False)
    assert "one.peak" not in reader.schema.names and "one.flags" in reader.schema.names
    assert [batch.num_rows for batch in reader] == [3, 4]
    images = results.images_table().read_all()
    assert isinstance(images, pa.Table) and images["file"].to_pylist() == FILES
    assert images["caption"].to_pylist() == [*CAPTIONS.values(), None]
    assert images["error"].to_pylist() == [None] * 3 + ["cannot read image: truncated"]
    assert images["metadata"].to_pylist()[:3] == [None] * 3
    assert json.loads(images["metadata"].to_pylist()[3]) == {"camera": "d\u00f6", "year": 9}
    assert images["words"].to_pylist()[1] == ["a", "cat"]
    assert images["other.flags"].to_pylist()[:3] == [
        ["degenerate"],
        ["degenerate", "flat"],
        ["degenerate"],
    ]


def test_maps_in_logarithms_sum_as_what_they_are_logarithms_of(out):
    pytest.importorskip("pyarrow")
    path = out / "results.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[1]["methods"]["one"]["unit"] = "p"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    rows = capjax.open_results(out).where(image="b/3.jpg").words_table().read_all()
    values = maps_of("b/3.jpg", "one", 4)
    expected = np.exp(values.astype(np.float64)).sum((1, 2, 3))
    np.testing.assert_allclose(rows["one.mass"].to_pylist(), expected, rtol=1e-6)
    assert rows["one.peak"].to_pylist() == values.max((1, 2, 3)).tolist()


@pytest.mark.parametrize("name", ["captions", "query"])
def test_folders_of_older_versions_are_read_where_nobody_may_write(tmp_path, name):
    out = tmp_path / name
    shutil.copytree(OLDER / name, out)
    for path in [*out.rglob("*"), out]:
        path.chmod(path.stat().st_mode & ~(stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH))
    results = capjax.open_results(out)
    assert results.files == ["one.png", "torn.jpg"]
    second = {"captions": "gradcam", "query": "caption_guided"}[name]
    assert results.methods == ("attention", second)
    found = results["one.png"][second]
    with np.load(out / "maps" / "one.png.npz") as arrays:
        np.testing.assert_array_equal(found.maps, arrays[second])
    assert found.words == results["one.png"].answers[0].words
    assert found.unit == {"gradcam": "", "caption_guided": "p"}[second]
    assert results.where(error=True).files == ["torn.jpg"] and not results.check()


def test_what_is_no_folder_of_results_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere is not there; give the folder"):
        capjax.open_results(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="has no run.json"):
        capjax.open_results(tmp_path)
    (tmp_path / "run.json").write_text('{"fill": "mean"}')
    with pytest.raises(ValueError, match="is not of explain.py"):
        capjax.open_results(tmp_path)
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(ValueError, match="is damaged"):
        capjax.open_results(tmp_path)
