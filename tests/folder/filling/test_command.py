"""`python -m capjax.inpaint` on a folder of small pictures, good and bad."""

import json

import numpy as np
import pytest
from PIL import Image

from capjax.folder.filling import command, pages
from capjax.folder.filling.command import Filling
from capjax.inpaint.__main__ import main
from capjax.inpaint.fills.around import Around
from capjax.inpaint.fills.mean import Mean

GOOD = ("a.jpg", "below/b.png", "c.png")
BAD = {
    "broken.png": "cannot read image",
    "full.png": "covers all of the picture",
    "nomask.png": "it has no mask; expected nomask.png",
    "size.png": "is 9x9 pixels, its photograph 40x30",
}


@pytest.fixture
def folders(tmp_path):
    """(pictures, masks): three good ones, c.png with two objects, and four bad ones."""
    images, masks = tmp_path / "images", tmp_path / "masks"
    draw = np.random.default_rng(0)
    for name in (*GOOD, *BAD):
        path = images / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw.integers(0, 256, (30, 40, 3)).astype(np.uint8)).save(path)
        mask = np.zeros((9, 9) if name == "size.png" else (30, 40), np.uint8)
        mask[4:8, 5:9] = 255
        if name == "full.png":
            mask[:] = 255
        path = (masks / name).with_suffix(".png")
        if name == "c.png":
            path = masks / "c" / "dog_1.png"
            path.parent.mkdir(parents=True)
            Image.fromarray(np.roll(mask, 20)).save(masks / "c" / "dog_2.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        if name != "nomask.png":
            Image.fromarray(mask).save(path)
    (images / "broken.png").write_bytes(b"no picture")
    return images, masks


def run(folders, out, *more: str) -> int:
    images, masks = folders
    return main([f"--images={images}", f"--masks={masks}", f"--out={out}", "--fill=mean", *more])


def records(out) -> dict[str, dict]:
    lines = map(json.loads, (out / "results.jsonl").read_text().splitlines())
    return {line["file"]: line for line in lines}


def pixels(path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def times(out) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (out / "filled").rglob("*.png")}


def test_good_pictures_are_filled_bad_ones_listed_and_nothing_is_done_twice(
    folders, tmp_path, capsys
):
    images, masks = folders
    out = tmp_path / "out"
    assert run(folders, out, "--set=around.dilate=3") == 3
    said = capsys.readouterr()
    assert "3 images filled" in said.out
    found = records(out)
    assert list(found) == sorted((*GOOD, *BAD))
    for name, reason in BAD.items():
        assert reason in found[name]["error"] and f"failed: {name}" in said.err
    for name in GOOD:
        image = pixels(images / name)
        mask = np.zeros((30, 40), bool)
        mask[4:8, 5:9] = True
        if name == "c.png":
            mask |= np.roll(mask, 20)
        wanted = Around(dilate=3).each(Mean(), [image], [mask])[0]
        np.testing.assert_array_equal(pixels(out / found[name]["filled"]), wanted.image)
        assert found[name]["removed"] == pytest.approx(mask.mean(), abs=1e-6)
        assert pixels(out / found[name]["triptych"]).shape[1] > 3 * 40
    page = (out / "index.html").read_text()
    assert 'src="triptychs/below/b.png.jpg"' in page and "4 pictures could not be filled" in page
    before = times(out)
    assert run(folders, out, "--set=around.dilate=3", "--batch-size=1") == 3
    assert times(out) == before
    Image.fromarray(np.roll(pixels(masks / "a.png")[..., 0], 3)).save(masks / "a.png")
    (out / found["c.png"]["filled"]).unlink()
    capsys.readouterr()
    assert run(folders, out, "--set=around.dilate=3") == 3
    assert "1 done again: files had changed; 1 done again: results were missing" in (
        capsys.readouterr().out
    )
    assert {name for name, time in times(out).items() if before[name] != time} == {
        "a.jpg.png",
        "c.png.png",
    }


def test_pages_hold_few_pictures_and_names_are_escaped(folders, tmp_path, monkeypatch):
    images, masks = folders
    (images / "a.jpg").rename(images / "a <b>#1.jpg")
    (masks / "a.png").rename(masks / "a <b>#1.png")
    monkeypatch.setattr(pages, "PER_PAGE", 2)
    out = tmp_path / "out"
    assert run(folders, out) == 3
    first, second = (out / name for name in ("index.html", "index-0002.html"))
    assert "<code>a &lt;b&gt;#1.jpg</code>" in first.read_text()
    assert 'src="triptychs/a%20%3Cb%3E%231.jpg.jpg"' in first.read_text()
    assert first.read_text().count("<figure>") == 2 and second.read_text().count("<figure>") == 1
    monkeypatch.setattr(pages, "PER_PAGE", 300)
    assert run(folders, out) == 3
    assert not second.exists()


def test_an_interrupted_run_is_continued(folders, tmp_path, monkeypatch):
    out = tmp_path / "out"
    each, done = Around.each, []

    def interrupted(*given):
        if done:
            raise KeyboardInterrupt
        done.append(given)
        return each(*given)

    monkeypatch.setattr(Around, "each", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(folders, out, "--batch-size=1")
    first = times(out)
    assert list(first) == ["a.jpg.png"]
    monkeypatch.setattr(Around, "each", each)
    assert run(folders, out) == 3
    assert len(times(out)) == 3 and not list(out.glob(".lock"))


def test_few_pictures_are_held_where_they_are_large(folders, tmp_path, monkeypatch):
    images, masks = folders
    for number in range(8):
        (images / f"d{number}.png").write_bytes((images / "c.png").read_bytes())
        (masks / f"d{number}.png").write_bytes((masks / "a.png").read_bytes())
    for name in BAD:
        (images / name).unlink()
    held, most = set(), []
    load, write = Filling._load, Filling._write

    def loaded(self, file):
        held.add(file)
        most.append(len(held))
        return load(self, file)

    def written(self, own, found):
        record = write(self, own, found)
        held.remove(own.file)
        return record

    monkeypatch.setattr(command, "MOST_PIXELS", 1)
    monkeypatch.setattr(Filling, "_load", loaded)
    monkeypatch.setattr(Filling, "_write", written)
    assert run(folders, tmp_path / "out") == 0
    assert len(most) == 11 and max(most) <= 3


def test_wrong_usage_is_refused_by_name(folders, tmp_path, capsys):
    images, masks = folders
    out = tmp_path / "out"
    (images / "broken.png").unlink()
    assert run(folders, out) == 3
    for more, reason in (
        (["--set=around.dilate=1", "--set=around.feather=1"], "holds the results of another run"),
        (["--set=telea.radius=5"], "not among the fills mean"),
        (["--set=dilate=5"], "expected FILL.OPTION=VALUE"),
        (["--set=around.reach=5"], "around has no option 'reach=5'"),
        ([f"--masks={images}"], "given twice"),
    ):
        capsys.readouterr()
        try:
            code = run(folders, out, *more)
        except SystemExit as error:  # of argparse
            code = error.code
        assert code == 2 and reason in capsys.readouterr().err
    assert main([f"--images={images}", f"--masks={images}", f"--out={out}"]) == 2
    assert "give masks a folder of their own" in capsys.readouterr().err
    assert main([f"--images={images}", f"--masks={tmp_path / 'none'}", f"--out={out}"]) == 2
    assert "is no folder" in capsys.readouterr().err


def test_the_list_of_fills_needs_nothing_else(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["--list-fills"])
    text = capsys.readouterr().out
    assert "navier_stokes" in text and "sigma=4.0: standard deviation" in text
    assert "dilate=5: pixels" in text
