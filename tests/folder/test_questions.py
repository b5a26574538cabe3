"""explain.py asked why one word and not another: what is written, compared, counted and refused."""

import json

import numpy as np
import pytest
from PIL import Image

import capjax
from capjax.folder.maps.files import read_maps
from capjax.folder.records import Result
from tests.api.conftest import write_photographs
from tests.folder.test_queries import described
from tests.folder.test_run import lines, run

QUERIES = ("--query=a man on a horse", "--query=the red wave")
ASKED = ("--contrast=man:dogs", "--keyword=a", "--whole-sentence")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    write_photographs(folder, 2)
    return folder


@pytest.fixture(scope="module")
def asked(model, images, tmp_path_factory):
    """Two sentences, one of which says what is asked about, and two measures."""
    out = tmp_path_factory.mktemp("out") / "asked"
    methods = "--methods=gradcam,gradcam@measure=logit"
    assert run(model, images, out, *QUERIES, *ASKED, methods) == 0
    return out


def test_maps_records_and_run_say_what_was_asked_and_by_what_measure(asked, images, model):
    described = json.loads((asked / "run.json").read_text())
    assert described["contrasts"] == ["man:dogs"] and described["keywords"] == ["a"]
    assert described["whole_sentence"] is True
    assert described["methods"] == {
        "gradcam": {"stage": "", "measure": "log_prob"},
        "gradcam@measure=logit": {"stage": "", "measure": "logit"},
    }
    line = lines(asked)["0.jpg"]
    assert [own["label"] for own in line["targets"]] == [
        *("the whole sentence", "every “a”", "man rather than dogs")
    ]
    assert line["targets"][2]["contrast"] is True and line["targets"][1]["words"] == [0, 3]
    assert "lacking" not in line
    assert line["more"][0]["lacking"] == ["every “a”", "man rather than dogs"]
    assert [own["label"] for own in line["more"][0]["targets"]] == ["the whole sentence"]
    measures = {name: own["measure"] for name, own in line["methods"].items()}
    assert measures == {"gradcam": "log_prob", "gradcam@measure=logit": "logit"}
    with pytest.warns(UserWarning, match="is not explained of 1 of 2 sentences, which has"):
        found = capjax.explain(
            *(capjax.load(model), images / "0.jpg"),
            methods=["gradcam", "gradcam@measure=logit"],
            query=[option.partition("=")[2] for option in QUERIES],
            contrast="man:dogs",
            keyword="a",
            whole_sentence=True,
        )
    stored = read_maps(asked / "maps" / "0.jpg.npz", Result.from_json(line).answers)
    for here, there in zip(stored, found, strict=True):
        for label, own in here.items():
            theirs = there[label]
            assert (own.measure, own.lacking) == (theirs.measure, theirs.lacking)
            np.testing.assert_allclose(own.target_maps, theirs.target_maps, atol=1e-5)
            for one, other in zip(own.targets, theirs.targets, strict=True):
                assert one.label == other.label and one.words == other.words
                assert abs(one.score - other.score) < 1e-4
    with np.load(asked / "maps" / "0.jpg.npz") as arrays:
        assert str(arrays["gradcam@measure=logit.measure"]) == "logit"
        assert arrays["targets"].tolist()[2] == "man rather than dogs"
        assert arrays["2/gradcam.targets"].shape == (1, 1, 8, 8)
        # What competes with both words falls out, so that both measures contrast alike.
        contrasts = [arrays[f"{name}.targets"][2] for name in measures]
        np.testing.assert_allclose(*contrasts, atol=1e-5)
        assert np.abs(arrays["gradcam"] - arrays["gradcam@measure=logit"]).max() > 1e-4


def test_the_report_names_them_and_counts_what_was_not_explained(asked):
    page = (asked / "index.html").read_text("utf-8")
    for text in (
        "Measure log_prob (gradcam), logit (gradcam@measure=logit)",
        "the whole sentence, every “a”, man rather than dogs</dd>",
        "man rather than dogs: not explained of 2 of 4 sentences, which have no such word",
        "the sentence has no such word: every “a”, man rather than dogs",
    ):
        assert text in page
    with Image.open(asked / "overlays" / "0.jpg.gradcam.jpg") as strip:
        assert strip.width > 500


def test_another_question_or_measure_never_passes_for_the_same(model, images, asked, capsys):
    before = {path: path.stat().st_mtime_ns for path in (asked / "maps").iterdir()}
    both = "--methods=gradcam,gradcam@measure=logit"
    for options, said in [
        ((both,), "contrasts is None, there it is ['man:dogs']"),
        ((both, "--contrast=man:ball", *ASKED[1:]), "contrasts is ['man:ball']"),
        (("--methods=gradcam", "--measure=prob", *ASKED), "measure=log_prob, not measure=prob"),
        (("--methods=ig,attention", *ASKED), "and attention cannot tell one from another"),
        (("--contrast=horse", *ASKED[1:]), "expected WORD:OTHER, such as dog:cat"),
        ((both, "--contrast=ball:dogs"), "no query has the word to explain: ball rather than dogs"),
    ]:
        assert run(model, images, asked, *QUERIES, *options) == 2
        assert said in capsys.readouterr().err
    assert run(model, images, asked, *QUERIES, *ASKED, both) == 0
    assert before == {path: path.stat().st_mtime_ns for path in (asked / "maps").iterdir()}


def test_captions_without_the_word_are_counted(model, images, tmp_path, capsys):
    out = tmp_path / "out"
    said = [("0.jpg", "The red man."), ("0.jpg", "a wave"), ("1.jpg", "dogs")]
    people = described(tmp_path / "captions.json", said)
    asked = ("--contrast=man:dogs", "--methods=gradcam", people, "--queries=captions")
    assert run(model, images, out, *asked, "--no-overlays") == 0
    assert "man rather than dogs: not explained of 2 of 3 sentences" in capsys.readouterr().err
    found = lines(out)
    assert [own["label"] for own in found["0.jpg"]["targets"]] == ["man rather than dogs"]
    assert found["1.jpg"]["lacking"] == found["0.jpg"]["more"][0]["lacking"]
