"""explain.py on doubts: in every line, marked on the page, and refused where nothing is known."""

import json
import math
import shutil

import numpy as np
import pytest
from PIL import Image

from capjax.captioner import load_captioner
from capjax.data.boxes.object_words import ObjectWords
from capjax.folder.records import Result
from capjax.folder.run import main
from capjax.runtime import fingerprint
from capjax.studies.doubt.doubter import Doubter, Kept, Prior
from capjax.studies.doubt.weighing import Weighing
from tests.explainers.toys import TEXT
from tests.folder.test_run import lines

WORDS = ObjectWords({(word,): ("thing",) for word in TEXT.decode(range(4, TEXT.size)).split()})
"""Whatever the toy writes, it names a thing."""


def write_doubt(model, bias):
    """A doubt.json by which every word is hallucinated with one probability."""
    own = Weighing((0.0,), (1.0,), (0.0,), bias)
    doubter = Doubter(("log_probability",), own, own, Prior({}, 0))
    Kept(doubter, load_captioner(model).hash, WORDS, 2, {"photographs": []}, []).write(model)


@pytest.fixture(scope="module")
def doubtful(model, tmp_path_factory):
    """A model that everything is doubted of, pictures, and what explain.py makes of them."""
    folder = tmp_path_factory.mktemp("doubt")
    shutil.copytree(model, folder / "model")
    write_doubt(folder / "model", math.log(3))
    (folder / "images").mkdir()
    draw = np.random.default_rng(0)
    for number in range(2):
        pixels = draw.integers(0, 256, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"{number}.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fingerprint, "_TICK", -(10**12))  # images count as written long ago
        assert run(folder) == 0
        yield folder


def run(folder, *options, out="out", model="model"):
    where = [f"--model={folder / model}", f"--images={folder / 'images'}", f"--out={folder / out}"]
    fixed = ["--max-length=7", "--beam=1", "--batch-size=2"]
    return main([*where, *fixed, "--no-overlays", "--no-visual-information", *options])


def test_a_model_with_doubts_has_its_words_marked_and_their_numbers_in_every_line(doubtful):
    found = lines(doubtful / "out")
    page = (doubtful / "out" / "index.html").read_text("utf-8")
    words = 0
    for line in found.values():
        assert [own["word"] for own in line["doubts"]] == line["words"]
        for number, own in enumerate(line["doubts"]):
            words += 1
            assert (own["start"], own["end"], own["classes"]) == (number, number + 1, ["thing"])
            assert own["hallucinated"] == 0.75 and own["reason"]
            said = sum(line["log_probabilities"][slice(*line["word_spans"][number])])
            assert own["signals"]["log_probability"] == pytest.approx(said, abs=1e-3)
            assert all(map(math.isfinite, own["signals"].values()))
        result = Result.from_json(line)
        assert json.loads(json.dumps(result.to_json())) == line
        assert result.as_caption(TEXT).doubts == result.doubts
    assert page.count("? 75 %</small>") == words > 0
    assert f"{words} of {words} object words" in page


def test_another_threshold_marks_other_words_and_reads_nothing_again(doubtful):
    before = lines(doubtful / "out")
    assert run(doubtful, "--doubt-threshold=0.8") == 0
    assert "? 75 %" not in (doubtful / "out" / "index.html").read_text("utf-8")
    assert lines(doubtful / "out") == before
    with pytest.raises(SystemExit):
        run(doubtful, "--doubt-threshold=1.1")


def test_doubts_are_added_to_a_folder_without_and_stay_where_nobody_asks(doubtful):
    assert run(doubtful, "--no-doubt", out="later") == 0
    assert all("doubts" not in line for line in lines(doubtful / "later").values())
    assert run(doubtful, out="later") == 0
    found, expected = lines(doubtful / "later"), lines(doubtful / "out")
    for file, line in found.items():
        for one, other in zip(line["doubts"], expected[file]["doubts"], strict=True):
            assert one.pop("signals") == pytest.approx(other.pop("signals"), abs=1e-4)
            assert one == other
    found = lines(doubtful / "later")
    assert run(doubtful, "--no-doubt", out="later") == 0
    assert lines(doubtful / "later") == found


def test_what_cannot_be_is_refused_with_what_to_do(doubtful, model, capsys):
    other = doubtful / "other"
    shutil.copytree(model, other)
    assert run(doubtful, "--doubt", model="other", out="new") == 2
    assert "evaluate.hallucination fit" in capsys.readouterr().err
    assert run(doubtful, "--doubt-threshold=0.3", model="other", out="new") == 2
    assert "no doubt.json" in capsys.readouterr().err
    write_doubt(other, 0.0)
    assert run(doubtful, model="other") == 2
    assert "holds doubts of doubt.json with fitted=" in capsys.readouterr().err
