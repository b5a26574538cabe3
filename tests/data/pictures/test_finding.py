"""What a command line means by a name, whoever wrote it; and files with every kind of name."""

import json
import os
import re

import numpy as np
import pytest
from PIL import Image

from capjax.data.pictures.finding import find_images, places_of
from capjax.folder.names import fitting
from capjax.folder.run import main
from capjax.runtime.files import printable
from tests.api.conftest import photograph
from tests.explainers.toys import attentive

NAMES = (
    *("shot[1].jpg", "shot1.jpg", "a,b.jpg", "a", "b.jpg", "50%20off.jpg", "50 off.jpg", "* ?.jpg"),
    *(
        "back\\slash.jpg",
        "trail.jpg ",
        "'quoted'.jpg",
        "new\nline.jpg",
        "set [a]/x.jpg",
        "gs:/x.jpg",
    ),
    *(
        "caf\u00e9.jpg",
        "UPPER.JPG",
        "sub/c.jpg",
        "my photo.jpg",
        "#1?.jpg",
        os.fsdecode(b"\xff.jpg"),
    ),
)


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    folder = tmp_path_factory.mktemp("places")
    for name in NAMES:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"x")
    return folder


@pytest.fixture
def here(places, monkeypatch):
    monkeypatch.chdir(places)
    monkeypatch.setenv("HOME", str(places))
    return places


def found(here, *given):
    root, files = find_images(given, exclude=here / "out")
    return [(root / file).resolve().relative_to(here.resolve()).as_posix() for file in files]


@pytest.mark.parametrize("name", NAMES)
def test_an_existing_file_is_meant_by_its_name(here, name):
    assert found(here, name) == found(here, f"./{name}") == found(here, str(here / name)) == [name]


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (["shot?.jpg"], ["shot1.jpg"]),
        (["set [a]"], ["set [a]/x.jpg"]),
        (["**/c.jpg"], ["sub/c.jpg"]),
        (["shot1.jpg,b.jpg", "sub/../a"], ["a", "b.jpg", "shot1.jpg"]),
        (["shot1.jpg, b.jpg,"], ["b.jpg", "shot1.jpg"]),
        (["~/b.jpg"], ["b.jpg"]),
        (["~/shot?.jpg"], ["shot1.jpg"]),
        (["file://{here}/my%20photo.jpg"], ["my photo.jpg"]),
        (["file://localhost{here}/50%2520off.jpg"], ["50%20off.jpg"]),
        (["my%20photo.jpg"], ["my photo.jpg"]),
        (["my\\ photo.jpg"], ["my photo.jpg"]),
        (['"my photo.jpg"', "'b.jpg'"], ["b.jpg", "my photo.jpg"]),
        ([" b.jpg\r"], ["b.jpg"]),
        (["sub\\c.jpg", ".\\b.jpg"], ["b.jpg", "sub/c.jpg"]),
        (["cafe\u0301.jpg"], ["caf\u00e9.jpg"]),
        (["b.jpg", "./b.jpg", "sub/../b.jpg", "{here}/b.jpg"], ["b.jpg"]),
        (["sub", "set [a]", "b.jpg"], ["b.jpg", "set [a]/x.jpg", "sub/c.jpg"]),
        (["sub", "sub/c.jpg"], ["sub/c.jpg"]),
        (["s*"], ["set [a]/x.jpg", "shot1.jpg", "shot[1].jpg", "sub/c.jpg"]),
    ],
)
def test_names_as_other_programs_write_them(here, given, meant):
    assert found(here, *(name.replace("{here}", str(here)) for name in given)) == meant


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("gs://bucket/a.jpg", "is an address"),
        ("b.jpg,s3://bucket/a.jpg", "--images=s3://bucket/a.jpg is an address"),
        ("https://host/a,b.jpg", "--images=https://host/a,b.jpg is an address"),
        ("C:\\photos\\a.jpg", r"no such file: C:\\photos\\a.jpg \(a path of Windows; under WSL"),
        ("b.jpg,nothing.jpg", "no such file: nothing.jpg"),
        ("no\nwhere", re.escape("no such file: no\\nwhere")),
        ("", "--images is empty"),
        (" ", "--images is empty"),
        ("x" * 300, "no such file"),
        ("a\0b", "no such file"),
    ],
)
def test_what_is_not_here_is_named(here, name, said):
    with pytest.raises(ValueError, match=said):
        found(here, name)


def test_a_linked_file_keeps_the_name_of_the_link(tmp_path):
    (tmp_path / "pool").mkdir()
    (tmp_path / "pool/0001.jpg").write_bytes(b"x")
    (tmp_path / "link.jpg").symlink_to(tmp_path / "pool/0001.jpg")
    _, files = find_images([str(tmp_path / "link.jpg")], exclude=tmp_path / "out")
    assert files == ["link.jpg"]


def test_names_are_printed_on_one_line():
    shown = printable(f"a\nb\x1b[31m{os.fsdecode(bytes([0xFF]))}\u202eé日本 क्ष.jpg")
    assert shown == "a\\nb\\x1b[31m\\xff\\u202eé日本 क्ष.jpg"


def test_long_names_are_cut_and_stay_apart():
    assert fitting("sub/a.jpg", ".npz") == "sub/a.jpg.npz"
    long = [f"sub/{'é' * 120}{number}.jpg" for number in range(3)]
    long += [f"other/{'é' * 120}0.jpg", "x" * 255, f"{'deep/' * 500}a.jpg", f"{'deep/' * 500}b.jpg"]
    names = [fitting(file, suffix) for file in long for suffix in (".npz", ".caption_guided.png")]
    assert len(set(names)) == len(names)
    for name in names:
        assert len(os.fsencode(f".{name.rpartition('/')[2]}.tmp")) <= 255 and len(name) < 300
    assert fitting("x" * 246, ".npz") == "x" * 246 + ".npz"  # the longest that is kept whole
    assert fitting("x" * 247, ".npz").startswith("x" * 200)


def test_a_folder_of_odd_files_is_explained_and_nothing_is_left_out_silently(tmp_path, capfd):
    folder, out = tmp_path / "photographs", tmp_path / "out"
    (folder / "deep").mkdir(parents=True)
    good = [
        "new\nline.jpg",
        os.fsdecode(b"caf\xe9.jpg"),
        "#1 ? 50%.jpg",
        f"{'é' * 125}.jpg",
        "B.JPG",
    ]
    for number, name in enumerate(good):
        Image.fromarray(photograph(number, 40, 60)).save(folder / name)
    Image.fromarray(photograph(7, 1, 3000)).save(folder / "strip.png")
    Image.fromarray(photograph(8, 40, 60)).save(folder / "deep/two.jp2")
    (folder / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0")
    (folder / "clip.mp4").write_bytes(b"\0\0\0\x18ftypisom\0\0\0\0")
    os.mkfifo(folder / "pipe.jpg")
    (folder / "notes.txt").write_text("no picture")
    (folder / "deep/loop").symlink_to(folder, target_is_directory=True)
    attentive().save(tmp_path / "model")
    options = [f"--model={tmp_path / 'model'}", f"--images={folder}", f"--out={out}"]
    assert main([*options, "--max-length=7", "--beam=1"]) == 3
    said = "".join(capfd.readouterr())
    assert "7 images explained" in said and "3 of 10 images could not be read" in said
    assert "phone.heic: it is a HEIC photograph" in said and "clip.mp4: it is a clip" in said
    assert "pipe.jpg is no ordinary file" in said
    assert "left out: deep/loop leads to the folder itself" in said
    assert "left out: " in said and "1 .txt" in said
    results = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    assert {each["file"] for each in results if "error" not in each} >= set(good)
    for each in results:
        for entry in each.get("methods", {}).values():
            with np.load(out / entry["maps"]) as maps:
                assert maps["attention"].shape[0] == len(each["words"])
            Image.open(out / entry["overlay"]).load()
    page = (out / "index.html").read_text("utf-8")
    for name in (r"new\nline.jpg", r"caf\xe9.jpg", "#1 ? 50%.jpg", "phone.heic", "deep/loop leads"):
        assert name in page
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.npz")}
    assert main([*options, "--max-length=7", "--beam=1"]) == 3
    assert before == {path: path.stat().st_mtime_ns for path in out.rglob("*.npz")}


def test_braces_in_quotes_are_written_out(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.jpg", "b.png", "c{1,2}.jpg"):
        (tmp_path / name).touch()
    assert [str(path) for path in places_of("*.{jpg,png}")] == ["a.jpg", "c{1,2}.jpg", "b.png"]
    assert [str(path) for path in places_of("c{1,2}.jpg")] == ["c{1,2}.jpg"]
    with pytest.raises(ValueError, match=r"no such file: \*\.gif;"):
        places_of("*.{jpg,gif}")
