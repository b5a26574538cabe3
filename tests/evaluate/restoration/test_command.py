"""`python -m capjax.inpaint evaluate` on small pictures, and its numbers from what it stores."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from capjax.evaluate.restoration import command
from capjax.evaluate.restoration.measuring import holes
from capjax.inpaint.__main__ import main
from capjax.inpaint.fills.named import named_fill
from capjax.metrics.pictures.restoration import restoration
from capjax.viz.inpaint.triptych import fills_sheet

SIDE = 32


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """(pictures, results, drawn): three squares of noise around a colour, and a file that is none;
    drawn are the arguments of each drawn example."""
    root = tmp_path_factory.mktemp("evaluate")
    draw = np.random.default_rng(0)
    pictures = {}
    for name in ("a.png", "b.png", "c.png"):
        noise = draw.integers(-20, 20, (SIDE, SIDE, 3))
        picture = (noise + draw.integers(40, 200, 3)).astype(np.uint8)
        picture[:, SIDE // 2 :] += 30
        pictures[name] = picture
        (root / "images").mkdir(exist_ok=True)
        Image.fromarray(picture).save(root / "images" / name)
    (root / "images" / "d.png").write_bytes(b"none")
    drawn = []

    def sheet(*given):
        drawn.append(given)
        return fills_sheet(*given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command, "fills_sheet", sheet)
        code = main(
            [
                "evaluate",
                f"--images={root / 'images'}",
                f"--out={root / 'out'}",
                "--fills=mean,telea",
                f"--side={SIDE}",
                "--batch-size=2",
                "--against=mean",
                "--examples=1",
            ]
        )
    assert code == 0
    return pictures, root / "out", drawn


def test_each_number_is_that_of_its_fill_and_hole(measured):
    pictures, out, _ = measured
    results = json.loads((out / "restoration.json").read_text())
    assert [*results["unreadable"]] == ["d.png"]
    stored = {(own["file"], own["kind"]): own["scores"] for own in results["photographs"]}
    assert len(stored) == 6
    images = np.stack([*pictures.values()])[:2]
    for kind in ("rectangle", "freeform"):
        masks = holes(kind, images, 0)
        assert masks.any(axis=(1, 2)).all() and not masks.all(axis=(1, 2)).any()
        # A hole follows from its picture, whatever else is in the batch.
        np.testing.assert_array_equal(holes(kind, images[::-1], 0)[::-1], masks)
        wanted = restoration(images, named_fill("mean")(images, masks), masks)
        for row, name in enumerate([*pictures][:2]):
            for score, values in wanted._asdict().items():
                found = stored[name, kind]["mean"][score]
                assert found == pytest.approx(float(values[row]), abs=1e-5)


def test_the_table_has_means_intervals_and_paired_differences(measured):
    _, out, _ = measured
    results = json.loads((out / "restoration.json").read_text())
    rows = list(csv.DictReader((out / "restoration.csv").read_text().splitlines()))
    assert [(row["holes"], row["fill"]) for row in rows] == [
        (kind, fill) for kind in ("rectangle", "freeform") for fill in ("mean", "telea")
    ]
    for row, entry in zip(rows, results["table"], strict=True):
        own = [
            one["scores"][entry["fill"]]
            for one in results["photographs"]
            if one["kind"] == entry["holes"]
        ]
        l1 = [one["l1_hole"] for one in own]
        assert float(row["l1_hole"]) == pytest.approx(np.mean(l1))
        assert min(l1) <= float(row["l1_hole_low"]) <= float(row["l1_hole_high"]) <= max(l1)
        if entry["fill"] == "telea":  # less of L1 is better
            less = results["table"][results["table"].index(entry) - 1]["scores"]["l1_hole"]["value"]
            assert entry["better"]["l1_hole"]["value"] == pytest.approx(less - np.mean(l1))


def test_the_first_photographs_are_drawn_with_each_kind_of_hole(measured):
    pictures, out, drawn = measured
    first = pictures["a.png"][None]
    for kind, (image, mask, *_) in zip(("rectangle", "freeform"), drawn, strict=True):
        np.testing.assert_array_equal(image, first[0])
        np.testing.assert_array_equal(mask, holes(kind, first, 0)[0])
    with Image.open(out / "examples.png") as sheet:
        assert sheet.width > 4 * SIDE and sheet.height > 2 * SIDE


def test_wrong_usage_is_refused_by_name(measured, tmp_path, capsys):
    _, out, _ = measured
    given = ["evaluate", f"--images={out.parent / 'images'}", f"--out={tmp_path}"]
    for more, reason in (
        (["--holes=round"], "got --holes=round; choose from: rectangle, freeform"),
        (["--side=100"], "expected a multiple of 8"),
        (["--fills=mean", "--against=blur"], "not among the fills mean"),
        (["--fills=,"], "got --fills=,; expected all, or some of: mean, blur"),
        (["--fills=exemplar"], "unknown fill 'exemplar'"),
        (["--fills=gated"], "needs weights: give gated.checkpoint"),
        (["--fills=mean", "--model=nowhere"], "not among the fills mean"),
    ):
        assert main([*given, *more]) == 2
        assert reason in capsys.readouterr().err
