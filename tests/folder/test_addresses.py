"""explain.py --out at an address: the same results as in a folder, resumed, and read back."""

import shutil

import pytest

import capjax
from capjax.data.mirrors import mirror as mirrors
from capjax.data.stores.remote import remote
from capjax.runtime import fingerprint
from tests.api.conftest import write_photographs
from tests.folder.test_run import run

fsspec = pytest.importorskip("fsspec", reason="needs the extra `remote`")
ADDRESS = "memory://bucket/report"


@pytest.fixture
def system(monkeypatch):
    monkeypatch.setattr(fingerprint, "_TICK", -(10**12))  # images count as written long ago
    found = fsspec.filesystem("memory")
    yield found
    if found.exists("/bucket"):
        found.rm("/bucket", recursive=True)


def test_results_are_those_of_a_folder_and_go_on_there(system, model, tmp_path, capsys):
    images, out, copy = tmp_path / "images", tmp_path / "out", tmp_path / "copy"
    write_photographs(images, 3)
    hidden = (images / "2.jpg").rename(tmp_path / "2.jpg")
    assert run(model, images, ADDRESS) == 0
    assert f"2 images explained; report: {remote(ADDRESS)}/index.html" in capsys.readouterr().out
    before = system.modified("/bucket/report/maps/0.jpg.npz")
    shutil.copy(hidden, images)
    assert run(model, images, ADDRESS) == 0
    assert system.modified("/bucket/report/maps/0.jpg.npz") == before  # not put again
    assert run(model, images, out) == 0
    system.get("/bucket/report", str(copy), recursive=True)
    wanted, found = (
        sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
        for folder in (out, copy)
    )
    assert wanted == found
    here, there = capjax.open_results(out), capjax.open_results(ADDRESS)
    assert here.files == there.files
    for one, other in zip(here, there, strict=True):
        assert one.caption == other.caption
        for method, found in one.explanations.items():
            assert (found.maps == other[method].maps).all()


def test_what_cannot_be_written_there_is_said(system, model, tmp_path, capsys, monkeypatch):
    write_photographs(tmp_path / "images", 1)
    assert run(model, tmp_path / "images", ADDRESS, "--engine=hosts") == 2
    assert "give a folder that all of them see" in capsys.readouterr().err
    assert run("nowhere", tmp_path / "images", "nowhere://bucket/out") == 2
    assert "nowhere://bucket/out is no address that fsspec opens" in capsys.readouterr().err
    with mirrors.mirrored(ADDRESS):
        assert run(model, tmp_path / "images", ADDRESS) == 2
    assert "is being written by process" in capsys.readouterr().err
    monkeypatch.setattr(mirrors, "PATIENCE", 0.0)

    def down(self, *given, **named):
        raise ConnectionError("no route")

    with monkeypatch.context() as patch:
        patch.setattr(type(system), "put_file", down)
        assert run(model, tmp_path / "images", ADDRESS) == 1
    said = capsys.readouterr().err
    assert "could not be put to memory://" in said and "Run the same command again" in said
    assert run(model, tmp_path / "images", ADDRESS) == 0
