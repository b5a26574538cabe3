"""A method and a study of one's own, defined here alone: capjax shows them as it shows its own."""

import dataclasses
import json
import re

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import capjax
from capjax.data.scenes import Scenes
from capjax.data.scenes.still import write_folder
from capjax.evaluate import __main__ as evaluate
from capjax.explainers import InParts, Maps
from capjax.folder import run as folder
from capjax.folder.maps.files import read_maps, write_maps
from capjax.folder.records import Answer, Result, StoredMaps
from capjax.studies import Finding, Study, Summary, Table
from capjax.viz import word_strip
from tests.explainers.toys import attentive


@dataclasses.dataclass(frozen=True)
class Patches(InParts):
    """What a word's log-probability loses where a patch of the pixels turns grey (Zeiler & Fergus).

    Attributes:
      side: of a patch, in pixels.
    """

    side: int = 16

    NAME = "patches"
    COST = "one pass a patch"
    SOURCE = "Zeiler & Fergus 2014"

    def _grid(self, request):
        return tuple(side // self.side for side in request.images.shape[-3:-1])

    def parts(self, request):
        rows, columns = self._grid(request)
        return rows * columns

    def start(self, net, variables, request):
        rows, columns = self._grid(request)
        return jnp.zeros((*request.weights.shape[:3], rows * columns))

    def step(self, net, variables, request, tally, index):
        height, width = request.images.shape[-3:-1]
        own = jnp.arange(height)[:, None] // self.side * (width // self.side)
        own = own + jnp.arange(width)[None] // self.side
        grey = jnp.where((own == index)[None, :, :, None], 128, request.images)
        lost = request.score(net, variables, features=request.features)
        lost = lost - request.score(net, variables, images=grey)
        return tally.at[..., index].set(lost)

    def finish(self, net, variables, request, tally):
        maps = tally.reshape(*tally.shape[:3], 1, *self._grid(request))
        dense = jnp.repeat(jnp.repeat(maps, self.side, axis=-2), self.side, axis=-1)
        return {self.NAME: Maps(dense)}


@dataclasses.dataclass(frozen=True)
class Upside(Study):
    """What a captioner says of a picture that stands on its head."""

    beam: int = 1

    NAME = "upside"
    COST = "one more caption"
    SOURCE = "this test"

    def run(self, captioner, subjects):
        for subject in subjects:
            turned = np.ascontiguousarray(subject.image[::-1])
            (said,) = capjax.caption(captioner, turned, decoding=capjax.Beam(self.beam), max_len=5)
            same = said.text == subject.caption.text
            rows = (("upright", subject.caption.text), ("turned", said.text))
            yield Finding(
                subject.name,
                {"on its head": turned},
                {"captions": Table(("picture", "caption"), rows)},
                {"same": float(same)},
            )

    def summarise(self, findings):
        same = [finding.numbers["same"] for finding in findings]
        return Summary(numbers={"captions that stay": float(np.mean(same))})


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    path = tmp_path_factory.mktemp("scenes")
    write_folder(path, 3, "test")
    return path


def changed(captioner, image, text, side, row, column):
    """The method's number for the first word, one patch at a time through public calls alone."""
    grey = image.copy()
    grey[row * side : (row + 1) * side, column * side : (column + 1) * side] = 128
    scores = [
        capjax.explain(captioner, own, query=text)[0]["attention"].score[0] for own in (image, grey)
    ]
    return scores[0] - scores[1]


def test_in_python_and_in_the_notebook():
    captioner = attentive()
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    methods = ["attention", Patches(side=32), Patches(side=16)]
    images = capjax.explain(
        captioner, [image, image[::-1]], methods=methods, query="a red wave", studies=[Upside()]
    )
    first = images[0]
    assert list(first.explanations) == ["attention", "patches@side=32", "patches"]
    own = first["patches@side=32"]
    assert own.maps.shape == (3, 1, 64, 64) and own.geometry.grid == (64, 64)
    assert own.settings == {"side": 32}
    for row, column in ((0, 1), (1, 0)):
        expected = changed(captioner, image, "a red wave", 32, row, column)
        np.testing.assert_allclose(
            own.maps[0, 0, 32 * row + 9, 32 * column + 9], expected, atol=1e-5
        )
    assert first["patches"].maps[0, 0, 0, 20] == first["patches"].maps[0, 0, 15, 31]
    assert first.word_strip("patches").width > 64
    finding = first.findings["upside"]
    np.testing.assert_array_equal(finding.pictures["on its head"], image[::-1])
    assert finding.tables["captions"].rows[0] == ("upright", first.caption.text)
    page = images._repr_html_()
    for part in ("patches@side=32", "upside", "on its head", "captions that stay"):
        assert part in page


def test_in_a_folder_its_report_and_its_resume(scenes, tmp_path, capsys):
    out = tmp_path / "out"
    command = ["--model=scenes-soft", f"--images={scenes / 'images'}", f"--out={out}", "--beam=1"]
    command += ["--max-length=6", "--overlays=png"]
    own = {"methods": [Patches(side=40)], "studies": [Upside()]}
    assert folder.main(command, **own) == 0
    described = json.loads((out / "run.json").read_text())
    assert described["methods"]["patches"] == {"side": 40, "measure": "log_prob"}
    assert described["studies"] == {"upside": {"beam": 1}}
    results = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    assert len(results) == 3
    for result in results:
        stored = result["methods"]["patches"]
        with np.load(out / stored["maps"]) as arrays:
            # Dense maps are kept as means over the captioner's cells.
            assert arrays["patches"].shape == arrays["attention"].shape
        record = Result.from_json(result)
        (maps,) = read_maps(out / stored["maps"], record.answers)
        with Image.open(scenes / "images" / result["file"]) as scene:
            strip = word_strip(scene.convert("RGB"), maps["patches"])
        with Image.open(out / stored["overlay"]) as drawn:  # shows what is stored
            np.testing.assert_array_equal(np.asarray(drawn), np.asarray(strip))
        finding = result["findings"]["upside"]
        assert (out / finding["pictures"]["on its head"]).exists()
        assert finding["tables"]["captions"]["rows"][0] == ["upright", result["caption"]]
    page = (out / "index.html").read_text()
    assert "<option>patches</option>" in page and page.count("on its head") >= 3
    stays = np.mean([result["findings"]["upside"]["numbers"]["same"] for result in results])
    assert f"captions that stay <b>{stays:.4g}</b>" in page
    # What is there is not made again; what was lost is.
    lost = out / results[1]["findings"]["upside"]["pictures"]["on its head"]
    kept = out / results[0]["findings"]["upside"]["pictures"]["on its head"]
    lost.unlink()
    before = kept.stat().st_mtime_ns
    assert folder.main(command, **own) == 0
    assert lost.exists() and kept.stat().st_mtime_ns == before
    capsys.readouterr()
    assert folder.main(command, methods=[Patches(side=20)]) == 2
    assert "maps of patches with side=40, not side=20" in capsys.readouterr().err
    assert folder.main(command, studies=[Upside(beam=2)]) == 2
    assert "findings of upside with beam=1, not beam=2" in capsys.readouterr().err


def test_dense_maps_are_kept_whole_on_demand(scenes, tmp_path):
    out = tmp_path / "out"
    command = ["--model=scenes-soft", f"--images={scenes / 'images'}", f"--out={out}", "--dense"]
    command += ["--query=a large blue circle", "--no-overlays"]
    assert folder.main(command, methods=[Patches(side=40)]) == 0
    result = json.loads((out / "results.jsonl").read_text().splitlines()[0])
    with np.load(out / result["methods"]["patches"]["maps"]) as arrays:
        assert arrays["patches"].shape == (4, 1, 80, 80)
        assert arrays["attention"].shape[-2:] == (10, 10)
    assert re.search(r"<option>patches</option>", (out / "index.html").read_text())
    # A method that comes later, on a coarser grid, changes nothing of where the first one lies.
    assert folder.main([*command[:3], "--query=a large blue circle", "--no-overlays"]) == 2
    stored = read_maps(out / result["methods"]["patches"]["maps"], Result.from_json(result).answers)
    assert stored[0]["patches"].geometry.grid == (80, 80)
    assert stored[0]["attention"].geometry.grid == (10, 10)


def test_a_coarser_method_that_comes_later_moves_no_other(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    methods = [Patches(side=32), "attention"]
    (found,) = capjax.explain(attentive(), image, methods=methods, query="a red wave")
    path, own = tmp_path / "maps.npz", found.explanations
    write_maps(path, [{"patches": own["patches"]}], keep=False)
    write_maps(path, [{"attention": own["attention"]}], keep=True)
    methods = {label: StoredMaps("maps.npz", {}) for label in own}
    answer = Answer("a red wave", found.words, own["attention"].word_spans, (), (), methods)
    (stored,) = read_maps(path, [answer])
    for label, explanation in own.items():
        assert stored[label].geometry == explanation.geometry
        np.testing.assert_array_equal(stored[label].maps, explanation.maps)


def test_in_grounding(scenes, tmp_path):
    scores = tmp_path / "scores.json"
    command = [
        *("--model=scenes-soft", f"--captions={scenes / 'captions_test.json'}"),
        *(f"--images={scenes / 'images'}", f"--boxes={scenes / 'instances_test.json'}"),
        *("--grounding", "--methods=attention", f"--out={scores}"),
    ]
    assert evaluate.main(command, methods=[Patches(side=40)]) == 0
    found = json.loads(scores.read_text())["grounding"]
    assert list(found) == ["attention", "patches"]
    assert found["patches"]["settings"] == {"side": 40}
    assert found["patches"]["measure"] == "log_prob" and found["attention"]["measure"] is None
    assert 0 <= found["patches"]["pointing_game"] <= 1


def test_a_study_owes_one_finding_a_subject():
    @dataclasses.dataclass(frozen=True)
    class Lazy(Upside):
        def run(self, captioner, subjects):
            yield from (Finding(subject.name) for subject in list(subjects)[:-1])

    with pytest.raises(ValueError, match="upside gave 1 findings of 2 subjects"):
        images = [Scenes("val", 2)[index].image for index in range(2)]
        capjax.explain(attentive(), images, studies=[Lazy()])
    with pytest.raises(ValueError, match="two studies have the name 'upside'"):
        capjax.explain(attentive(), images, studies=[Upside(), Lazy()])
    with pytest.raises(ValueError, match="got 'upside' for a study"):
        capjax.explain(attentive(), images, studies=["upside"])
