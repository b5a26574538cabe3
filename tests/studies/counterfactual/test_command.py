"""The command over many photographs: files and scenes in, one row an object out."""

import argparse
import json
import types

import numpy as np
import pytest
from PIL import Image

from capjax.studies import __main__ as studies
from capjax.studies.counterfactual import command
from capjax.studies.counterfactual.measures import BITS
from capjax.studies.counterfactual.summary import BIAS, KNOWING, UNIFORM, likenesses
from capjax.viz.counterfactual.charts import scatter_panels, told_apart_chart
from tests.data.boxes.test_instances import FILE
from tests.studies.counterfactual.toys import LITTLE, bits, captioner, picture

SQUARES = ((0, 0, 0, 8), (1, 12, 0, 8), (2, 0, 12, 4))


def options(out, *more):
    parser = argparse.ArgumentParser()
    command.add_options(parser)
    return parser.parse_args(["--model=m", f"--out={out}", "--batch-size=4", *more])


def measured(given):
    told, drawn = [], []
    found = command.measure(given, captioner(), told.append, drawn.append)
    return found, told, drawn


def test_one_row_an_object_of_every_photograph(tmp_path):
    photographs, masks = tmp_path / "photographs", tmp_path / "masks"
    for number in range(3):
        image, regions = picture(*SQUARES)
        (masks / f"{number}").mkdir(parents=True)
        photographs.mkdir(exist_ok=True)
        Image.fromarray(image).save(photographs / f"{number}.png")
        for region in regions[: 3 - number]:
            mask = Image.fromarray(255 * region.mask.astype(np.uint8))
            mask.save(masks / f"{number}" / f"{region.category}.png")
    (photographs / "broken.png").write_bytes(b"none")
    training = tmp_path / "training.json"
    training.write_text(json.dumps(FILE | {"categories": [{"id": 18, "name": "red"}]}))
    given = options(
        *(tmp_path / "out", f"--images={photographs}", f"--objects={masks}", "--pictures=1"),
        *(
            f"--training={training}",
            "--fills=mean,blur",
            "--set",
            "dilate=0",
            "--set",
            "methods=attention",
        ),
    )
    found, told, drawn = measured(given)
    found.write(tmp_path)
    table = (tmp_path / command.TABLE).read_text().splitlines()
    assert len(table) == 1 + 6 and f"mean: {BITS}" in table[0]
    results = json.loads((tmp_path / command.RESULTS).read_text())
    assert results["numbers"] == {"objects": 6, "photographs": 3}
    assert results["settings"]["others"] == "blur" and results["refused"] == {}
    assert len(drawn) == 1 and drawn[0].record is not None
    assert len(told) == 1 and told[0].startswith("left out: broken.png")
    # The mean of what is known fills the hole: the closed form again.
    image, regions = picture(*SQUARES)
    after = image.copy()
    after[regions[2].mask] = np.rint(image[~regions[2].mask].mean(axis=0))
    blues = np.array([category == "blue" for category in found.objects.places["class"]])
    np.testing.assert_allclose(
        found.objects.importance["mean"][BITS][blues], bits(image, after).sum(), atol=0.2
    )
    assert "do fills agree" in str(found)
    seen = likenesses(found.objects)[command.FREQUENCY]
    assert seen.tolist() == [float(own == "red") for own in found.objects.places["class"]]
    # Attention at the three words, by hand: on red 4 cells of 36 + 1e-2 a cell.
    attended = found.objects.maps["attention"].reshape(-1)
    reds = np.array([category == "red" for category in found.objects.places["class"]])
    words = [4 * (1 + LITTLE) / (4 + 36 * LITTLE), 4 * LITTLE / (4 + 36 * LITTLE)]
    words.append(4 * LITTLE / (1 + 36 * LITTLE))
    np.testing.assert_allclose(attended[reds], np.mean(words), rtol=1e-4)
    assert {row[0] for row in found.summary.tables[KNOWING].rows} == {"attention", UNIFORM}
    chart = scatter_panels(likenesses(found.objects), found.objects, BITS)
    assert np.asarray(chart).min() < 50 and told_apart_chart(found.objects) is not None
    assert {row[0] for row in found.summary.tables[BIAS].rows} == set(likenesses(found.objects))


def test_a_run_that_is_stopped_goes_on(tmp_path, monkeypatch):
    image, regions = picture(*SQUARES)
    files = ["a/b.png", "a_b.png", f"{'c' * 240}.png"]
    (tmp_path / "photographs" / "a").mkdir(parents=True)
    (tmp_path / "masks").mkdir()
    for file in files:
        Image.fromarray(image).save(tmp_path / "photographs" / file)
    for stem in ("b", "a_b", "c" * 240):
        mask = Image.fromarray(255 * regions[0].mask.astype(np.uint8))
        mask.save(tmp_path / "masks" / f"{stem}.png")
    out = tmp_path / "out"
    monkeypatch.setattr(studies, "load", lambda model: captioner())
    monkeypatch.setattr(studies, "_tell", lambda told: None)

    def run(pictures, *more):
        given = f"--images={tmp_path / 'photographs'}", f"--objects={tmp_path / 'masks'}"
        more = *given, f"--pictures={pictures}", "--fills=mean", "--set=dilate=0", *more
        assert studies._counterfactual(options(out, *more), out) == 0
        results = json.loads((out / command.RESULTS).read_text())
        drawn = {path.relative_to(out / command.PICTURES) for path in out.rglob("*.1.png")}
        return results, drawn

    def stop(finding):
        if finding.name == "a_b.png":
            raise KeyboardInterrupt
        return finding

    monkeypatch.setattr(studies, "with_drawn", stop)
    with pytest.raises(KeyboardInterrupt):
        run(2)
    assert not (out / command.RESULTS).exists()
    monkeypatch.setattr(studies, "with_drawn", lambda finding: finding)
    results, drawn = run(2)
    assert (results["resumed"], results["numbers"]["objects"]) == (1, 3)
    assert {path.as_posix() for path in drawn} == {"a/b.png.1.png", "a_b.png.1.png"}
    again, drawn = run(3)  # one picture more, of the one that had none
    assert (again["resumed"], len(drawn)) == (2, 3)
    assert again["photographs"] == results["photographs"]
    Image.fromarray(image[:, ::-1]).save(tmp_path / "photographs" / files[1])
    assert run(3)[0]["resumed"] == 2 and run(3)[0]["resumed"] == 3
    with pytest.raises(ValueError, match="findings of another run: dilate is 1, there it is 0"):
        run(3, "--set=dilate=1")


def test_drawing_is_none_of_the_studys_time(tmp_path, monkeypatch):
    clock = [0.0]

    def tick(seconds=1 / 1024):
        clock[0] += seconds
        return clock[0]

    def draw(finding):
        tick(7)

    monkeypatch.setattr(command, "time", types.SimpleNamespace(perf_counter=tick))

    given = options(tmp_path, "--images=scenes:val", "--count=3", "--fills=exact,mean")
    found = command.measure(given, captioner(), lambda told: None, draw)
    assert clock[0] > 21 and found.results["seconds"] < 1


def test_scenes_are_removed_exactly(tmp_path):
    given = options(tmp_path, "--images=scenes:val", "--count=3", "--fills=exact,mean")
    found, _, _ = measured(given)
    assert set(found.objects.importance) == {"exact", "mean"}
    assert set(found.objects.photographs) <= {f"scene {number}" for number in range(3)}
    grey = [own.startswith("grey ") for own in found.objects.places["class"]]
    assert any(grey) and not all(grey)
    for wrong in (["--set=controls=2"], ["--set=keep=true"], ["--objects=proposals"]):
        with pytest.raises(ValueError, match="the exact fill removes whole objects"):
            measured(options(tmp_path, "--images=scenes:val", "--fills=exact", *wrong))
    with pytest.raises(ValueError, match="leave it out, or give proposals"):
        measured(options(tmp_path, "--images=scenes:val", "--objects=x.json"))
