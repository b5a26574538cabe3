"""Known datasets, and the two commands about them."""

import subprocess
import sys

import pytest
from PIL import Image

from capjax.data.__main__ import main
from capjax.data.sources.datasets import (
    DATASETS,
    FILES,
    data_root,
    expected_files,
    find_dataset,
    read_dataset,
)

TOKENS = "1.jpg#0\tA man , a dog .\n1.jpg#1\tMan\n2.jpg.1#0\tbogus\n3.jpg#0\t.\n"


@pytest.fixture
def flickr8k(tmp_path):
    """A Flickr8k of two images, one of them missing, in its token layout."""
    folder = tmp_path / "flickr8k"
    (folder / "images").mkdir(parents=True)
    (folder / "Flickr8k.token.txt").write_text(TOKENS)
    for split, names in (("train", "1.jpg"), ("dev", "3.jpg"), ("test", "")):
        (folder / f"Flickr_8k.{split}Images.txt").write_text(names)
    Image.new("RGB", (4, 3)).save(folder / "images" / "1.jpg")
    return tmp_path


def test_data_root(monkeypatch, tmp_path):
    monkeypatch.delenv("CAPJAX_DATA", raising=False)
    assert str(data_root()) == "data"
    monkeypatch.setenv("CAPJAX_DATA", str(tmp_path))
    assert data_root() == tmp_path
    assert str(data_root("elsewhere")) == "elsewhere"


def test_the_root_or_the_folder_itself_may_be_named(flickr8k):
    for root in (flickr8k, flickr8k / "flickr8k"):
        folder, _ = find_dataset("flickr8k", root)
        assert folder == flickr8k / "flickr8k"
        found = read_dataset("flickr8k", root, check_images=False)
        assert {r.key: r.split for r in found} == {"1.jpg": "train", "3.jpg": "val"}
    assert len(read_dataset("flickr8k", flickr8k, split="train")) == 1
    with pytest.raises(FileNotFoundError, match="1 of 2 image files are missing"):
        read_dataset("flickr8k", flickr8k)


def test_an_absent_dataset_names_files_and_sources(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        find_dataset("flickr8k", tmp_path)
    text = str(caught.value)
    assert "dataset_flickr8k.json" in text and "Flickr_8k.devImages.txt" in text
    assert "https://" in text and "CAPJAX_DATA" in text
    with pytest.raises(ValueError, match="unknown dataset 'imagenet'; choose one of: flickr8k"):
        find_dataset("imagenet", tmp_path)


def test_check_lists_missing_files(flickr8k, capsys):
    assert main(["check", "--format=flickr8k", f"--root={flickr8k}"]) == 1
    out = capsys.readouterr().out
    assert "Flickr token file" in out
    assert out.split("\n")[2].split() == ["train", "1", "2"]
    assert "image files missing: 1\n  " + str(flickr8k / "flickr8k/images/3.jpg") in out
    assert "left out: 1\n  line 3: 2.jpg.1 is not the name of an image" in out
    assert "captions without a word: 1\n  3.jpg" in out
    Image.new("RGB", (4, 3)).save(flickr8k / "flickr8k/images/3.jpg")
    assert main(["check", "--format=flickr8k", f"--root={flickr8k}", "--decode"]) == 0
    assert "image files unreadable: 0" in capsys.readouterr().out


def test_check_lists_ten_missing_files_and_counts_the_rest(tmp_path, capsys):
    rows = [f"{i}.jpg,a dog" for i in range(25)]
    (tmp_path / "captions.csv").write_text("\n".join(["image,caption", *rows, "3.jpg,a dog"]))
    code = main(["check", f"--captions={tmp_path / 'captions.csv'}", f"--images={tmp_path}"])
    out = capsys.readouterr().out
    assert code == 1 and "image files missing: 25" in out and "and 15 more" in out
    assert f"{tmp_path / '9.jpg'}\n" in out and "10.jpg" not in out
    assert "captions repeated for one image: 1\n  3.jpg: a dog" in out
    assert "no splits are stated: training on this file holds 10% of the images out" in out
    Image.new("RGB", (4, 3)).save(tmp_path / "nobody.jpg")
    main(["check", f"--captions={tmp_path / 'captions.csv'}", f"--images={tmp_path}"])
    assert f"images in {tmp_path} without a caption: 1\n  nobody.jpg" in capsys.readouterr().out


def test_check_finds_damaged_images(tmp_path, capsys):
    Image.new("RGB", (4, 3)).save(tmp_path / "good.jpg")
    (tmp_path / "bad.jpg").write_text("not an image")
    assert main(["check", f"--images={tmp_path}"]) == 0
    assert main(["check", f"--images={tmp_path}", "--decode"]) == 1
    out = capsys.readouterr().out
    assert "image files unreadable: 1" in out and "bad.jpg" in out


def test_check_reports_absent_and_malformed_files(tmp_path, capsys):
    assert main(["check", "--format=ucm", f"--root={tmp_path}"]) == 1
    assert "dataset_ucm.json" in capsys.readouterr().err
    (tmp_path / "a.json").write_text("{")
    assert main(["check", f"--captions={tmp_path / 'a.json'}"]) == 1
    assert "damaged JSON" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        *([], ["check"], ["check", "--format=imagenet"], ["check", "--format=ucm", "--images=x"]),
        ["check", "--captions=a.csv", "--root=x"],  # without effect
        ["check", "--images=x", "--split=val"],
    ],
)
def test_wrong_usage_exits_2(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_where_prints_source_licence_and_files(capsys):
    assert main(["where"]) == 0
    out = capsys.readouterr().out
    for name, described in {**DATASETS, **FILES}.items():
        assert f"{name}: {described.title}" in out and described.licence in out
        assert all(line in out for line in expected_files(described))
    assert main(["where", "glove"]) == 0
    assert capsys.readouterr().out.startswith("glove: ")


def test_the_command_runs_as_a_module(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "capjax.data", "check", "--format=coco", f"--root={tmp_path}"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and "dataset_coco.json" in done.stderr


def test_the_shared_photographs(shared_data, capsys):
    assert main(["check", "--format=ucm", f"--root={shared_data}"]) == 0
    assert main(["check", "--format=coco_shared", f"--root={shared_data / 'coco'}"]) == 0
    out = capsys.readouterr().out
    lines = [line.split() for line in out.split("\n")]
    assert ["train", "1680", "8400"] in lines and ["val", "210", "1050"] in lines
    assert [line[1] for line in lines if line[:1] == ["train"]] == ["1680", "2187"]
    assert out.count("image files missing: 0") == 2
