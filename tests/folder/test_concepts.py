"""`python -m capjax.studies concepts`: fit, apply and sheet on a few small pictures."""

import json

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save

from capjax.studies.__main__ import main
from capjax.studies.concepts import ConceptSet

pytest.importorskip("sklearn")
pytest.importorskip("skimage")

SMALL = ["--segments=4,8", "--clusters=3", "--least=4", "--most=8", "--counterparts=4"]
SMALL += ["--random-concepts=9", "--significance=0.999", "--batch-size=16"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Red squares and blue ones, and what people say of them; of either a file cut short."""
    folder = tmp_path_factory.mktemp("squares")
    (folder / "images").mkdir()
    draw = np.random.default_rng(0)
    images, annotations = [], []
    for number in range(16):
        picture = draw.integers(70, 90, (64, 64, 3)).astype(np.uint8)
        left = int(draw.integers(2, 40))
        picture[8:40, left : left + 22] = (230, 30, 30) if number < 8 else (30, 30, 230)
        name = f"{number}.png"
        Image.fromarray(picture).save(folder / "images" / name)
        images.append({"id": number, "file_name": name})
        caption = "a [red] ball" if number < 8 else "two dogs play"
        annotations.append({"id": number, "image_id": number, "caption": caption})
    annotations.append({"id": 99, "image_id": 0, "caption": "[...]"})
    for number, caption in ((16, "a red ball"), (17, "two dogs play")):
        (folder / "images" / f"{number}.png").write_bytes(b"\x89PNG\r\n\x1a\n")
        images.append({"id": number, "file_name": f"{number}.png"})
        annotations.append({"id": number, "image_id": number, "caption": caption})
    body = {"images": images, "annotations": annotations}
    (folder / "captions.json").write_text(json.dumps(body))
    return folder


def fit(model, folder, out, *options):
    fixed = ["concepts", "fit", f"--model={model}", f"--images={folder / 'images'}"]
    return main([*fixed, f"--out={out}", *SMALL, *options])


def test_from_pictures_to_maps(model, folder, tmp_path, capsys):
    captions = f"--captions={folder / 'captions.json'}"
    path, sheet = tmp_path / "red.safetensors", tmp_path / "red.png"
    older = json.dumps({"format": "capjax concepts 1"})
    path.write_bytes(save({"random": np.zeros(1, np.float32)}, {"capjax": older}))
    assert fit(model, folder, tmp_path, captions, "--words=red,horse") == 3
    said = capsys.readouterr().err
    assert "1 caption without words left out: 0.png: '[...]'" in said
    assert "red: another version of capjax fitted" in said
    assert "2 pictures cannot be read and did not count: 16.png, 17.png" in said
    assert "red: said of 9 pictures" in said and "cannot be significant with 9 random" not in said
    assert "0 pictures say 'horse'; finding its concepts needs 2 or more" in said
    found = ConceptSet.read(path)
    assert found.kept and found.made_from["sentences"] == "people"
    assert {one.file for concept in found.kept for one in concept.examples} <= {
        f"{number}.png" for number in range(8)
    }
    # What is there stays, and is drawn again alike.
    before = path.stat().st_mtime_ns
    assert fit(model, folder, tmp_path, captions, "--words=red") == 0
    assert path.stat().st_mtime_ns == before
    again = ["concepts", "sheet", f"--concepts={path}", f"--images={folder / 'images'}"]
    assert main([*again, f"--out={tmp_path / 'again'}"]) == 0
    assert (tmp_path / "again/red.png").read_bytes() == sheet.read_bytes()
    # Every concept's maps in the report of a folder.
    new = ["--images", str(folder / "images/0.png"), str(folder / "images/9.png")]
    out = tmp_path / "applied"
    apply = ["concepts", "apply", f"--model={model}", f"--concepts={path}", f"--out={out}"]
    assert main([*apply, *new, "--query=a red ball", "--batch-size=2"]) == 0
    results = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    names = {"concepts", *(f"concept_{number + 1}" for number in range(len(found.kept)))}
    assert [set(result["methods"]) for result in results] == [names] * 2
    with np.load(out / results[0]["methods"]["concept_1"]["maps"]) as maps:
        assert np.any(maps["concept_1"][1]) and not np.any(maps["concept_1"][[0, 2]])
    # Another captioner's directions mean nothing.
    other = ["concepts", "apply", "--model=scenes-soft", f"--concepts={path}", f"--out={out}x"]
    assert main([*other, *new]) == 2
    assert "fit again" in capsys.readouterr().err


def test_the_captioner_says_it_itself(model, folder, tmp_path, capsys):
    code = fit(model, folder, tmp_path, "--words=nothing")
    assert code == 2 and "does not know the word 'nothing'" in capsys.readouterr().err
    fit(model, folder, tmp_path, "--words=red")
    kept = json.loads((tmp_path / "captions.json").read_text())["captions"]
    assert len(kept) == 18 and sum(bool(one["tokens"]) for one in kept.values()) == 16
