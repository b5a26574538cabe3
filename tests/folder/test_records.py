"""Results as records: the lines that other tools read, and folders of older versions."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from capjax.folder.maps.files import read_maps, write_maps
from capjax.folder.queries import Queries
from capjax.folder.records import Answer, Result, StoredMaps
from capjax.folder.report import write_report
from capjax.folder.results import MismatchError, ResultFolder
from capjax.runtime.fingerprint import Fingerprint
from capjax.types import Explanation, Geometry

OLDER = Path(__file__).parent / "older"
"""Written by the version before records: an image and a broken one, by captions and by a query."""


def older_lines(name):
    return [json.loads(line) for line in (OLDER / name / "results.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("name", ["captions", "query"])
def test_lines_of_one_sentence_are_those_of_older_versions(name):
    for line in older_lines(name):
        written = Result.from_json(line).to_json()
        for method, stored in written.get("methods", {}).items():
            # Older versions knew the unit of logarithms by the method's name.
            assert stored.pop("unit", "") == {"caption_guided": "p"}.get(method, "")
            # And all explained log-probabilities, but for those that show what was read.
            assert stored.pop("measure") == {"attention": None}.get(method, "log_prob")
        assert json.dumps(written) == json.dumps(line)
    explained, torn = map(Result.from_json, older_lines(name))
    assert torn.failed and "cannot read image" in torn.error and not torn.answers
    assert explained.known.sha256 == older_lines(name)[0]["sha256"]
    (answer,) = explained.answers
    assert answer.query == (None if name == "captions" else "[a red] wave")
    assert all(stored.maps == "maps/one.png.npz" for stored in answer.methods.values())


def test_older_folders_open_and_are_reported(tmp_path):
    for name in ("captions", "query"):
        out = tmp_path / name
        shutil.copytree(OLDER / name, out)
        described = json.loads((out / "run.json").read_text())
        queries = Queries(() if name == "captions" else ("[a red] wave",))
        with ResultFolder(out, {**described, **queries.to_json()}) as folder:
            path = write_report(folder, ["one.png", "torn.jpg"], references={}, title="older")
        assert path.read_text("utf-8").count('<article class="item"') == 1
    (words,) = read_maps(out / "maps" / "one.png.npz", folder.read("one.png").answers)
    assert list(words) == ["attention", "caption_guided"]
    assert words["caption_guided"].phrases == ((0, 2),)
    assert words["caption_guided"].phrase_maps.shape == (1, 1, 8, 8)
    assert words["attention"].words == ("a", "red", "wave")


def answer(query="q", count=2, **methods):
    words = tuple(f"w{index}" for index in range(count))
    spans = tuple((index, index + 1) for index in range(count))
    return Answer(query, words, spans, (5,) * count, (-0.5,) * count, methods)


def test_a_line_of_several_sentences_has_the_first_ones_fields_and_the_others_in_a_list():
    stored = StoredMaps(
        "maps/a.npz",
        {"flat": False},
        overlay="overlays/a.m.jpg",
        drawn={"height": 4},
        figures=("figures/a.m.pdf",),
        figures_drawn={"boxes": "0f"},
        settings={"steps": 6},
    )
    whole = Result(
        "a.mp4",
        7,
        Fingerprint(7, "00", (1, 2)),
        caption="c",
        tokens=(4, 2),
        score=-1.0,
        answers=(answer("one", m=stored), answer("two", 3, m=StoredMaps("maps/a.npz", {}))),
        frames=2,
        seconds=(0.0, 0.5),
    )
    line = json.loads(json.dumps(whole.to_json()))
    assert line["query"] == "one" and [own["query"] for own in line["more"]] == ["two"]
    assert set(line["more"][0]) == {
        *("query", "words", "word_spans", "tokens", "log_probabilities", "methods")
    }
    assert line["methods"]["m"]["settings"] == {"steps": 6} and line["frames"] == 2
    assert "overlay" not in line["more"][0]["methods"]["m"]
    assert Result.from_json(line) == whole and whole.queries == ("one", "two")
    assert "more" not in dataclasses.replace(whole, answers=whole.answers[:1]).to_json()


def explanation(seed, count, **fields):
    maps = np.random.default_rng(seed).normal(size=(count, 1, 2, 3)).astype(np.float32)
    own = answer(count=count)
    geometry = Geometry((4, 6), (4, 6), (0, 0, 4, 6), (2, 3))
    return Explanation(maps, own.words, own.spans, own.score, "m", geometry, **fields)


def test_maps_of_several_sentences_are_kept_apart_and_added_to(tmp_path):
    path = tmp_path / "a.npz"
    phrases = {"phrases": ((0, 2),), "phrase_maps": np.ones((1, 1, 2, 3), np.float32)}
    first, second = explanation(0, 2), explanation(1, 3, **phrases)
    other = [explanation(2, 2), explanation(3, 3)]
    write_maps(path, [{"m": first}, {"m": second}], keep=False)
    write_maps(path, [{"n": other[0]}, {"n": other[1]}], keep=True)
    stored = StoredMaps("maps/a.npz", {})
    answers = [answer(m=stored, n=stored), answer(count=3, m=stored, n=stored)]
    found = read_maps(path, answers)
    np.testing.assert_array_equal(found[0]["m"].maps, first.maps)
    np.testing.assert_array_equal(found[1]["m"].maps, second.maps)
    np.testing.assert_array_equal(found[1]["n"].maps, other[1].maps)
    np.testing.assert_array_equal(found[1]["m"].phrase_maps, phrases["phrase_maps"])
    assert found[0]["m"].phrases == () and found[1]["m"].phrases == ((0, 2),)
    with np.load(path) as arrays:  # the first sentence has the names that it always had
        assert {"m", "words", "geometry", "2/m", "2/words", "2/phrases"} <= set(arrays)


@pytest.mark.parametrize("line", ["3", "[]", '"file"', '{"file": 3}', '{"file": "a"}', "{"])
def test_a_line_that_is_no_result_is_dropped(tmp_path, line):
    out = tmp_path / "out"
    out.mkdir()
    described = {"model_hash": "m", **Queries().to_json(), "decoding": {}}
    (out / "run.json").write_text(json.dumps(described))
    (out / "results.jsonl").write_text('{"file": "b", "bytes": 1, "error": "e"}\n' + line + "\n")
    with ResultFolder(out, described) as folder:
        assert set(folder.lines) == {"b"} and folder.read("b").error == "e"


def test_an_option_is_its_default_where_an_older_folder_knows_none(tmp_path):
    described = {"model_hash": "m", **Queries().to_json(), "decoding": {}}
    ResultFolder(tmp_path, {**described, "methods": {"gradcam": {}}}).close()
    now = {"stage": "", "measure": "log_prob"}
    ResultFolder(tmp_path, {**described, "methods": {"gradcam": now}}).close()
    with pytest.raises(MismatchError, match="maps of gradcam with stage=, not stage=layer3"):
        ResultFolder(tmp_path, {**described, "methods": {"gradcam": {**now, "stage": "layer3"}}})


def test_an_option_of_a_study_is_known_by_its_older_name(tmp_path):
    described = {"model_hash": "m", **Queries().to_json(), "decoding": {}}
    (tmp_path / "run.json").write_text(
        json.dumps({**described, "studies": {"adversarial": {"epsilon": 8, "encoder": "clip"}}})
    )
    with pytest.raises(MismatchError, match="adversarial with similarity=clip, not similarity=;"):
        ResultFolder(tmp_path, {**described, "studies": {"adversarial": {"similarity": ""}}})
    ResultFolder(
        tmp_path, {**described, "studies": {"adversarial": {"similarity": "clip"}}}
    ).close()
