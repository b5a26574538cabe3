"""Maps in shards: all that files have is in them, once, however a folder came about."""

import io
import json
import resource

import numpy as np
import pytest

import capjax
from capjax.folder.maps import sharding
from capjax.folder.maps.manifest import read_manifest
from capjax.folder.opened.image import DamagedMapsError
from capjax.folder.results import MismatchError
from tests.folder.maps.made import CONTENTS, check, check_image, explain, thumbnail
from tests.folder.maps.made import explained as made

METHODS = ["attention", "gradient", "pixels"]
LATER = {**CONTENTS, "a/2.jpg": "something else", "c/new.jpg": "a new one"}


@pytest.fixture(params=["parquet", "arrayrecord"])
def form(request, monkeypatch):
    pytest.importorskip({"parquet": "pyarrow"}.get(request.param, "array_record"))
    monkeypatch.setattr(sharding, "MOST_ROWS", 3)
    return request.param


@pytest.mark.parametrize("form", ["files", "parquet", "arrayrecord"])
def test_all_forms_give_the_same_results_back(tmp_path, form):
    pytest.importorskip({"parquet": "pyarrow"}.get(form, "array_record"))
    explain(tmp_path / "out", form, CONTENTS, METHODS)
    check(tmp_path / "out", form, CONTENTS, METHODS)
    results = capjax.open_results(tmp_path / "out")
    assert results.where(flag="flat").files == [*CONTENTS] or len(CONTENTS) == 8
    assert results.where(word="dog", image="a/*").files == [
        f"a/{number}.jpg" for number in (0, 2, 4, 6)
    ]


def test_shards_are_bounded_and_hold_a_row_an_image(tmp_path, form):
    explain(tmp_path / "out", form, CONTENTS, METHODS)
    check(tmp_path / "out", form, CONTENTS, METHODS)
    assert [shard.rows for shard in read_manifest(tmp_path / "out").values()] == [3, 3, 2]


def test_bytes_bound_shards_too(tmp_path, form, monkeypatch):
    monkeypatch.setattr(sharding, "MOST_BYTES", 1)
    explain(tmp_path / "out", form, CONTENTS, METHODS)
    check(tmp_path / "out", form, CONTENTS, METHODS)
    before = read_manifest(tmp_path / "out")
    assert [shard.rows for shard in before.values()] == [1] * 8
    explain(tmp_path / "out", form, CONTENTS, METHODS)
    assert read_manifest(tmp_path / "out") == before  # nothing to do is nothing done


def test_methods_images_and_changes_come_later(tmp_path, form):
    out = tmp_path / "out"
    explain(out, form, CONTENTS, ["attention"])
    check(out, form, CONTENTS, ["attention"])
    first = {path: path.read_bytes() for path in (out / "shards").glob("part-*")}
    explain(out, form, CONTENTS, METHODS)
    check(out, form, CONTENTS, METHODS)
    # Whole shards stay; what was hardly filled is put together with what came.
    assert len([path for path in first if path.exists()]) >= 2
    assert all(path.read_bytes() == content for path, content in first.items() if path.exists())
    explain(out, form, LATER, METHODS)
    check(out, form, LATER, METHODS)
    done = {path: path.stat().st_mtime_ns for path in (out / "shards").iterdir()}
    explain(out, form, LATER, METHODS)
    assert done == {path: path.stat().st_mtime_ns for path in (out / "shards").iterdir()}


def test_another_form_is_refused(tmp_path, form):
    explain(tmp_path / "out", form, CONTENTS, METHODS)
    with pytest.raises(MismatchError, match=f"format is 'files', there it is '{form}'.*format"):
        explain(tmp_path / "out", "files", CONTENTS, METHODS)
    explain(tmp_path / "files", "files", CONTENTS, METHODS)
    with pytest.raises(MismatchError, match=f"format is '{form}', there it is 'files'"):
        explain(tmp_path / "files", form, CONTENTS, METHODS)


def test_a_shard_that_is_lost_is_made_again(tmp_path, form):
    out = tmp_path / "out"
    explain(out, form, CONTENTS, METHODS)
    gone, cut, _ = sorted((out / "shards").glob("part-*"))
    gone.unlink()
    cut.write_bytes(cut.read_bytes()[:-9])
    results = capjax.open_results(out)
    bad = results.check()
    assert len(bad) == 6 and all(file in text for file, text in bad.items())
    assert sum(gone.name in text for text in bad.values()) == 3
    for file in bad:
        with pytest.raises(DamagedMapsError, match=f"maps of {file} cannot be read"):
            results[file]["attention"]
    explain(out, form, CONTENTS, METHODS)
    check(out, form, CONTENTS, METHODS)


def test_a_bit_that_flipped_is_noticed(tmp_path, form):
    out = tmp_path / "out"
    explain(out, form, CONTENTS, METHODS)
    path = min((out / "shards").glob("part-*"))
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(content)
    bad = capjax.open_results(out).check()
    assert sorted(bad) == sorted([*CONTENTS][:3])
    assert all("has another digest" in text for text in bad.values())


def test_a_full_disk_loses_nothing(tmp_path, form):
    out = tmp_path / "out"
    (out / "shards").mkdir(parents=True)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # Rows fit, a shard of three does not.
    resource.setrlimit(resource.RLIMIT_FSIZE, (17_000, hard))
    try:
        with pytest.raises((OSError, RuntimeError), match="File too large"):
            explain(out, form, CONTENTS, ["attention"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not [path for path in (out / "shards").iterdir() if "part-" in path.name]
    results = capjax.open_results(out)
    assert 3 <= len(results) <= 6 and not results.check()  # of rows that wait
    explain(out, form, CONTENTS, METHODS)
    check(out, form, CONTENTS, METHODS)


def test_a_damaged_manifest_is_told(tmp_path, form):
    out = tmp_path / "out"
    explain(out, form, CONTENTS, METHODS)
    path = out / "shards" / "manifest.json"
    whole = path.read_text()
    for damaged in (whole[:-5], "[]", whole.replace('"version": 1', '"version": 9')):
        path.write_text(damaged)
        with pytest.raises(ValueError, match=r"manifest.json is damaged"):
            explain(out, form, CONTENTS, METHODS)
        assert "manifest.json is damaged" in capjax.open_results(out).check()["a/0.jpg"]
    path.unlink()
    explain(out, form, CONTENTS, METHODS)
    check(out, form, CONTENTS, METHODS)


def test_parquet_is_a_table_for_everyone(tmp_path):
    pq = pytest.importorskip("pyarrow.parquet")
    name = "b/\udcff.jpg"  # no Unicode
    explain(tmp_path / "out", "parquet", {**CONTENTS, name: "a bad name"}, METHODS)
    (path,) = (tmp_path / "out" / "shards").glob("*.parquet")
    rows = {row["file"]: row for row in pq.read_table(path).to_pylist()}
    assert {*rows} == {*CONTENTS, "b/\\udcff.jpg"}
    row = rows["a/4.jpg"]
    assert row["caption"] == CONTENTS["a/4.jpg"] and json.loads(row["record"])["file"] == "a/4.jpg"
    maps = {own["name"]: own for own in row["maps"]}["2/gradient"]
    values = np.frombuffer(maps["values"], "<f2").reshape(maps["shape"]).astype(np.float32)
    values = values * np.float32(maps["scale"])[:, None, None, None]
    expected = made("a/4.jpg", CONTENTS["a/4.jpg"], "gradient", 1).maps
    np.testing.assert_allclose(values, expected, atol=2.0**-11 * np.abs(expected).max())
    results = capjax.open_results(tmp_path / "out")
    check_image(results[name], "a bad name", METHODS, exact=False)
    table = results.words_table().read_all()
    assert "b/\\udcff.jpg" in table["file"].to_pylist()


def test_array_records_are_npz_files_for_everyone(tmp_path):
    module = pytest.importorskip("array_record.python.array_record_module")
    explain(tmp_path / "out", "arrayrecord", CONTENTS, METHODS)
    (path,) = (tmp_path / "out" / "shards").glob("*.array_record")
    reader = module.ArrayRecordReader(str(path))
    arrays = [np.load(io.BytesIO(content)) for content in reader.read_all()]
    reader.close()
    found = {str(own["name"]): own for own in arrays}["b/5.jpg"]
    values = found["pixels"].astype(np.float32) * found["pixels.scale"][:, None, None, None]
    expected = made("b/5.jpg", CONTENTS["b/5.jpg"], "pixels", 0).maps
    np.testing.assert_allclose(values, expected, atol=2.0**-11 * np.abs(expected).max())
    assert found["thumbnail"].tobytes() == thumbnail("b/5.jpg")


def test_a_folder_is_read_while_a_run_moves_rows_into_shards(tmp_path, form):
    out = tmp_path / "out"
    seen = []

    def look(folder):
        results = capjax.open_results(out)
        for image in results.where(error=False):
            check_image(image, CONTENTS[image.file], METHODS, exact=False)
        seen.append(len(results))

    settle = sharding.Shards.settle

    def looking(self, records):
        look(records)
        settle(self, records)
        look(records)

    opened = None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sharding.Shards, "settle", looking)
        explain(out, form, dict([*CONTENTS.items()][:1]), METHODS)
        opened = capjax.open_results(out)
        explain(out, form, CONTENTS, METHODS)
    assert seen[0] == 1 and 8 in seen
    with pytest.raises(
        DamagedMapsError, match="open the folder again"
    ):  # its shard is another by now
        opened["a/0.jpg"]["attention"]
    check(out, form, CONTENTS, METHODS)
