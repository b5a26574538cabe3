"""explain.py --format: the same results in every form, through the command."""

import dataclasses
import json
import re
import shutil

import numpy as np
import pytest

import capjax
from capjax.folder.maps import sharding
from capjax.folder.maps.formats import SHARDED
from capjax.runtime import fingerprint
from tests.api.conftest import write_photographs
from tests.folder.test_run import run

FORMS = ("files", "parquet", "arrayrecord")
METHODS = ("--methods=attention,gradcam",)


@pytest.fixture(scope="module")
def outs(model, tmp_path_factory):
    """Form -> folder of results of the same photographs, one of which is none."""
    pytest.importorskip("pyarrow")
    pytest.importorskip("array_record")
    folder = tmp_path_factory.mktemp("formats")
    write_photographs(folder / "images", 3)
    (folder / "images" / "torn.jpg").write_text("no picture")
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sharding, "MOST_ROWS", 2)
        patch.setattr(fingerprint, "_TICK", -(10**12))  # images count as written long ago
        for form in FORMS:
            found[form] = folder / form
            assert run(model, folder / "images", found[form], f"--format={form}", *METHODS) == 3
    return found


def told(record):
    """A line without the places of files, and what strips look like."""
    line = record.to_json()
    for own in line.get("methods", {}).values():
        for name in ("maps", "overlay", "drawn"):
            own.pop(name, None)
    return line


def test_every_form_gives_the_same_back_field_by_field(outs):
    files, *sharded = (capjax.open_results(outs[form]) for form in FORMS)
    for other in sharded:
        assert other.files == files.files == ["0.jpg", "1.jpg", "2.jpg", "torn.jpg"]
        assert not other.check() and other.methods == files.methods == ("attention", "gradcam")
        for one, found in zip(files, other, strict=True):
            assert told(one.record) == told(found.record)
            assert {*one.explanations} == {*found.explanations}
            for method, expected in one.explanations.items():
                same(expected, found[method])
        words = files.words_table().read_all().to_pylist()
        for row, own in zip(words, other.words_table().read_all().to_pylist(), strict=True):
            assert {*row} == {*own}
            for name in row:
                if name.endswith((".peak", ".mass")):
                    assert own[name] == pytest.approx(row[name], rel=2.0**-11, abs=1e-3)
                elif not name.endswith((".x", ".y")):
                    assert own[name] == row[name]


def same(one, other):
    for field in dataclasses.fields(one):
        expected, found = getattr(one, field.name), getattr(other, field.name)
        if field.name == "maps":
            largest = np.abs(expected).max(axis=(1, 2, 3), keepdims=True)
            assert (np.abs(expected - found) <= 2.0**-11 * largest).all()
            assert found.dtype == np.float32
        elif isinstance(expected, np.ndarray):
            np.testing.assert_array_equal(expected, found)
        else:
            assert expected == found, field.name


def test_shards_have_no_files_of_single_images_beside_them(outs):
    for form in FORMS[1:]:
        names = {path.name for path in outs[form].iterdir()}
        assert names == {"index.html", "results.jsonl", "run.json", "shards"}
        places = [own["maps"] for own in lines(outs[form])[0]["methods"].values()]
        assert places == [f"shards/part-00000.{SHARDED[form].SUFFIX}"] * 2
        assert json.loads((outs[form] / "run.json").read_text())["format"] == form
    assert "format" not in json.loads((outs["files"] / "run.json").read_text())


def lines(out):
    return [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]


def test_reports_of_shards_show_the_same_pictures(outs):
    pages = [(outs[form] / "index.html").read_text("utf-8") for form in FORMS]
    for page in pages:
        assert page.count('<article class="item"') == 3
    pictures = [re.findall(r"data:image/jpeg;base64,[^\"']+", page) for page in pages]
    assert len(pictures[0]) >= 3 and pictures[0] == pictures[1] == pictures[2]


@pytest.mark.parametrize("form", FORMS[1:])
def test_runs_into_shards_go_on_as_those_into_files(outs, model, form, capsys, monkeypatch):
    monkeypatch.setattr(sharding, "MOST_ROWS", 2)
    out, images = outs[form], outs["files"].parent / "images"
    before = {path: path.stat().st_mtime_ns for path in (out / "shards").iterdir()}
    asked = (f"--format={form}", *METHODS)
    assert run(model, images, out, *asked) == 3
    assert before == {path: path.stat().st_mtime_ns for path in (out / "shards").iterdir()}
    assert run(model, images, out, *METHODS) == 2
    assert f"format is 'files', there it is '{form}'" in capsys.readouterr().err
    assert run(model, images, out, *asked, "--overlay-height=64") == 2
    assert "no overlays are written" in capsys.readouterr().err
    # Overlays that are asked for later are drawn: maps are made anew, and are in one shard still.
    attention = [image["attention"].maps for image in capjax.open_results(out).where(error=False)]
    assert run(model, images, out, *asked, "--overlays") == 3
    assert len([*(out / "overlays").iterdir()]) == 6
    results = capjax.open_results(out)
    assert not results.check()
    for image, maps in zip(results.where(error=False), attention, strict=True):
        np.testing.assert_allclose(image["attention"].maps, maps, atol=1e-3)


@pytest.mark.parametrize("form", FORMS)
def test_maps_that_are_damaged_end_a_run_by_name(outs, model, form, tmp_path, capsys):
    out = shutil.copytree(outs[form], tmp_path / "out")
    for path in [*(out / "shards").glob("part-*"), *(out / "maps").glob("*.npz")]:
        content = path.read_bytes()
        path.write_bytes(bytes(len(content) // 2) + content[len(content) // 2 :])
    assert run(model, outs["files"].parent / "images", out, f"--format={form}", *METHODS) == 1
    assert "explain.py: the maps of 0.jpg cannot be read" in capsys.readouterr().err
