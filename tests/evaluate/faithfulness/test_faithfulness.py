"""Faithfulness from end to end on scenes, with an edge detector that nobody should believe."""

import csv
import dataclasses
import functools
import json

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from capjax.data.boxes.grounded import GroundedPhrase
from capjax.data.scenes.still import write_folder
from capjax.evaluate import __main__ as evaluate
from capjax.evaluate import all_methods
from capjax.evaluate.faithfulness import options, sanity
from capjax.evaluate.faithfulness.batch import Batch
from capjax.evaluate.faithfulness.records import Kept
from capjax.evaluate.faithfulness.removal import Plan
from capjax.evaluate.faithfulness.request import digest
from capjax.evaluate.queries import Query
from capjax.explainers import METHODS, Maps, Method
from capjax.explainers.wording import Wording
from tests.explainers.toys import attentive

SCENES = 2
TIMES = {"images_per_second"}


@dataclasses.dataclass(frozen=True)
class EdgeDetector(Method):
    """Where brightness changes along a row: it looks like an explanation and is none."""

    NAME = "edges"
    COST = "none"
    SOURCE = "this test"
    UNMEASURED = ("edges",)

    def __call__(self, net, variables, request):
        """The same map for every word."""
        grey = jnp.mean(request.images.astype(jnp.float32), axis=-1)[:, None, None, None]
        edges = jnp.abs(grey[..., 1:] - grey[..., :-1])
        edges = jnp.pad(edges, [(0, 0)] * 5 + [(0, 1)])
        targets = request.weights.shape[1:3]
        return {self.NAME: Maps(jnp.broadcast_to(edges, (len(grey), *targets, *edges.shape[3:])))}


@pytest.fixture(autouse=True)
def few_methods(monkeypatch):
    """`all` is two methods here, one of which a plain net cannot give; and METEOR costs nothing."""
    few = {name: METHODS[name] for name in ("attention", "rollout")}
    monkeypatch.setattr(all_methods, "METHODS", few)
    monkeypatch.setattr(options, "Plan", functools.partial(Plan, fractions=(0.3, 0.7)))
    monkeypatch.setenv("PATH", "")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("scenes"), SCENES, "val")


def run(folder, *more):
    """Exit code, and what metrics.json holds."""
    out = folder / "out" / "metrics.json"
    fixed = ["--model=scenes-soft", f"--captions={folder}/captions_val.json", f"--out={out}"]
    flags = ["--beam=1", "--batch-size=2", "--faithfulness", "--checks=1", "--steps=3"]
    code = evaluate.main([*fixed, *flags, *more], methods=[EdgeDetector()])
    return code, json.loads(out.read_text()) if code == 0 else None


def without_times(found):
    return {
        name: {key: value for key, value in own.items() if key not in TIMES}
        for name, own in found.items()
    }


def near(one, other):
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(near(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(near, one, other))
    return one == (pytest.approx(other, abs=1e-5) if isinstance(other, float) else other)


def test_every_method_gets_a_row_and_the_edge_detector_is_found_out(folder, capsys, monkeypatch):
    asked = (f"--boxes={folder}/instances_val.json", "--methods=all", "--cells=5", "--removals=1")
    code, metrics = run(folder, *asked, "--grounding", "--queries=predicted")
    assert code == 0
    found = metrics["faithfulness"]
    assert list(found) == ["attention", "edges", "random_map", "centred_blob", "rollout"]
    assert "no attention to roll out" in found["rollout"]["refused"]
    assert found["edges"]["insensitive"] and not found["attention"]["insensitive"]
    assert found["edges"]["randomisation"] == 1 and found["edges"]["other_caption"] == 1
    own, blob = found["attention"], found["centred_blob"]
    assert own["deletion"] < blob["deletion"] and own["insertion"] > blob["insertion"]
    assert own["road_morf"] < own["road_lerf"]
    assert own["relative_infidelity"] < blob["relative_infidelity"] <= 1
    assert own["infidelity"] < blob["infidelity"]
    assert blob["max_sensitivity"] == 0 < own["max_sensitivity"] < 1
    assert found["random_map"]["max_sensitivity"] == 0  # neighbours have the draws of their image
    assert found["edges"]["measure"] is None and "measure" not in found["edges"]["settings"]
    assert blob["words_distance"] == 0 < own["words_distance"]
    counted = {name: own["images"][name] for name in ("pointing_game", "deletion", "infidelity")}
    assert counted == {"pointing_game": SCENES, "deletion": 1, "infidelity": 1}
    curves = own["curves"]
    assert curves["deletion"][0] == curves["insertion"][-1] > 0.9  # the intact image
    assert len(curves["deletion"]) == 4 and len(curves["road_morf"]) == 2
    levels = own["randomisation_levels"]
    assert list(levels["cascading"])[:2] == ["readout", "decoder"]
    assert set(levels["independent"]) == set(levels["cascading"]) - {"readout"}
    # Attention's maps come from before the readout, and know nothing of it.
    assert levels["cascading"]["readout"]["spearman"] == 1
    grounding = metrics["grounding"]["attention"]
    for name in ("pointing_game", "attention_correctness"):
        assert own[name] == pytest.approx(grounding[name], abs=1e-5)
        assert own["interval"][name] == pytest.approx(grounding["interval"][name], abs=1e-5)
    printed = capsys.readouterr().out
    for part in (
        "edges (insensitive)",
        "rollout: ",
        "deletion ↓",
        "5 x 5 cells taken away in 3 steps from 1 of them",
    ):
        assert part in printed
    rows = list(csv.DictReader((folder / "out/metrics.faithfulness.csv").read_text().splitlines()))
    assert [row["method"] for row in rows] == list(found)
    with Image.open(folder / "out/metrics.faithfulness.png") as picture:
        assert picture.width > 1000 and len(picture.convert("L").getcolors(256)) > 50
    # A picture that has changed is measured again, the other one is not.
    kept = folder / "out/metrics.faithfulness.jsonl"
    before = [json.loads(line) for line in kept.read_text().splitlines()]
    assert len(before) == 1 + SCENES and set(before[1]["seconds"]) == set(found) - {"rollout"}
    with (folder / "images" / before[2]["image"]).open("ab") as picture:
        picture.write(b"more")
    seen = []
    measured = Batch.measured

    def watched(batch, *asked):
        seen.append(len(batch.here))
        return measured(batch, *asked)

    monkeypatch.setattr(Batch, "measured", watched)
    _, again = run(folder, *asked)
    assert seen == [1]
    after = [json.loads(line) for line in kept.read_text().splitlines()]
    assert after[:3] == before and after[3]["image"] == before[2]["image"]
    assert after[3]["seconds"] == {}  # its one pass compiled
    assert near(without_times(again["faithfulness"]), without_times(found))


def test_a_run_that_ended_goes_on_and_other_settings_lose_nothing(tmp_path, caplog):
    path = tmp_path / "out/m.jsonl"
    kept = Kept(path, {"boxes": 1})
    assert kept.load() == {}
    kept.add({"image": "a", "n": 1})
    kept.add({"image": "b", "n": 2})
    kept.add({"image": "a", "n": 3})
    whole = path.read_text()
    path.write_text(f"{whole}{{half")
    last = {"a": {"image": "a", "n": 3}, "b": {"image": "b", "n": 2}}
    assert kept.load() == last and path.read_text() == whole
    written = path.stat().st_mtime_ns, path.stat().st_ino
    assert kept.load() == last
    assert written == (path.stat().st_mtime_ns, path.stat().st_ino)  # not even touched
    assert not caplog.messages
    assert Kept(path, {"boxes": 2}).load() == {}
    assert "3 images measured with other settings" in caplog.messages[0]
    assert path.with_name("m.jsonl.1").read_text() == whole
    assert path.read_text() == '{"boxes": 2}\n'


def test_other_boxes_are_another_question():
    sentence = Wording((4,), ("dog",), ((0, 1),))
    asked = [
        [[Query(0, (8, 8), sentence, (GroundedPhrase(0, 1, boxes, ("dog",)),))]]
        for boxes in (((0, 0, 3, 3),), ((0, 0, 3, 3),), ((0, 0, 3, 4),))
    ]
    first, same, other = map(digest, asked)
    assert first == same != other


def test_parameters_are_shuffled_from_the_words_down():
    captioner = attentive()
    levels = sanity.parameter_levels(captioner)
    assert levels[0].paths == {("decoder", "head_kernel"), ("decoder", "head_bias")}
    assert [level.name.partition(",")[0] for level in levels] == [
        "readout",
        "decoder",
        *["encoder"] * 3,
    ]
    assert {path[1] for path in levels[-1].paths} >= {"stage0", "stage0_norm"}
    assert any("stage2" in path[1] for path in levels[2].paths)
    changed = sanity.shuffled(captioner, levels[1]).variables
    before, after = (own["params"]["decoder"] for own in (captioner.variables, changed))
    kernel = "lstm_recurrent"
    assert not np.array_equal(before[kernel], after[kernel])
    np.testing.assert_array_equal(np.sort(before[kernel].ravel()), np.sort(after[kernel].ravel()))
    np.testing.assert_array_equal(before["head_kernel"], after["head_kernel"])


def testnear_images_arenear_and_drawn_from_the_image():
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3)).astype(np.uint8)
    drawn = [sanity.neighbour(image, number, 7) for number in (0, 0, 1)]
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert (drawn[0] != drawn[2]).any()
    assert np.abs(drawn[0].astype(int) - image).max() == sanity.RADIUS


@pytest.mark.parametrize(
    ("more", "text"),
    [
        (["--methods=rollout"], "no attention to roll out"),
        (["--methods=all", "--set=ig.steps=4"], "an option is set for 'ig'"),
        (["--words=objects"], "add --boxes or --entities"),
        (["--cells=99", "--methods=attention"], "sees 80x80 pixels"),
    ],
)
def test_wrong_usage_is_explained(folder, capsys, more, text):
    assert run(folder, *more)[0] == 2
    assert text in capsys.readouterr().err


def test_flags_of_faithfulness_alone_are_refused(folder, capsys):
    fixed = ["--model=scenes-soft", f"--captions={folder}/captions_val.json", "--out=x.json"]
    assert evaluate.main([*fixed, "--steps=3"]) == 2
    assert "--steps would have no effect" in capsys.readouterr().err
