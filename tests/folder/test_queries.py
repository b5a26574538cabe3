"""explain.py asked about several sentences, and about what people wrote."""

import json

import jax
import numpy as np
import pytest

from capjax.api import explain, load
from capjax.captioner import token_log_probs
from capjax.data.pictures.images import load_prepared
from capjax.explainers.wording import Wording
from capjax.folder.queries import Queries
from tests import compiled
from tests.api.conftest import write_photographs
from tests.folder.test_run import lines, run

log_probs = jax.jit(token_log_probs, static_argnums=0)
TEXTS = ("A red zebra!", "[a red] wave", "a")


def described(path, captions):
    """A COCO captions file of (file, caption)."""
    files = list(dict.fromkeys(file for file, _ in captions))
    images = [{"id": number, "file_name": file} for number, file in enumerate(files)]
    entries = [
        {"id": number, "image_id": files.index(file), "caption": text}
        for number, (file, text) in enumerate(captions)
    ]
    path.write_text(json.dumps({"images": images, "annotations": entries}))
    return f"--captions={path}"


def answers(line):
    return [line, *line.get("more", [])]


def test_several_queries_are_answered_in_one_pass_as_each_alone(model, tmp_path):
    images, out = tmp_path / "images", tmp_path / "out"
    write_photographs(images, 3)
    asked = [f"--query={text}" for text in TEXTS]
    methods = "--methods=attention,caption_guided"
    assert run(model, images, out, *asked, methods) == 0
    written = json.loads((out / "run.json").read_text())
    assert written["query"] == list(TEXTS) and written["queries"] is None
    captioner = load(model)
    for file, line in lines(out).items():
        assert [own["query"] for own in answers(line)] == list(TEXTS)
        prepared, _ = load_prepared(images / file, captioner.preprocessing)
        features = compiled.apply(
            captioner.net, captioner.variables, prepared[None], method="encode"
        )
        for own in answers(line):
            sentence = Wording.of_query(captioner, own["query"])
            assert own["words"] == list(sentence.words) and own["tokens"] == list(sentence.tokens)
            tokens = np.array([own["tokens"]], np.int32)
            expected = log_probs(captioner.net, captioner.variables, features, tokens)
            np.testing.assert_allclose(own["log_probabilities"], expected[0], atol=1e-4)
    # Python's list of queries gives the same maps.
    found = explain(
        captioner,
        images / "0.jpg",
        methods=["attention", "caption_guided"],
        query=TEXTS,
        max_len=7,
    )
    with np.load(out / "maps" / "0.jpg.npz") as maps:
        for number, own in enumerate(found):
            start = f"{number + 1}/" if number else ""
            for method in ("attention", "caption_guided"):
                ours, theirs = maps[f"{start}{method}"], own[method].maps
                np.testing.assert_allclose(ours, theirs, atol=1e-5)
            assert maps[f"{start}words"].tolist() == list(own.words)
        assert maps["2/phrases"].tolist() == [[0, 2]] and "phrases" not in maps
    drawn = {path.name for path in (out / "overlays").glob("0.jpg.*")}
    assert drawn == {
        f"0.jpg{number}.{method}.jpg"
        for number in ("", ".2", ".3")
        for method in ("attention", "caption_guided")
    }
    page = (out / "index.html").read_text("utf-8")
    assert page.count('<article class="item"') == 3 and page.count('type="radio" name="sent') == 9
    assert "explained as an unknown word: zebra" in page


def test_a_folder_holds_one_set_of_queries_and_takes_another_method(model, tmp_path, capsys):
    images, out = tmp_path / "images", tmp_path / "out"
    write_photographs(images, 2)
    asked = [f"--query={text}" for text in TEXTS[:2]]
    assert run(model, images, out, *asked, "--no-overlays") == 0
    before = lines(out)
    with np.load(out / "maps" / "1.jpg.npz") as maps:
        attention = maps["2/attention"]
    for other in (asked[:1], asked[::-1], []):
        assert run(model, images, out, *other, "--no-overlays") == 2
        assert "query is " in capsys.readouterr().err
    assert run(model, images, out, *asked, "--no-overlays", "--methods=gradcam") == 0
    for file, line in lines(out).items():
        for own, old in zip(answers(line), answers(before[file]), strict=True):
            assert list(own["methods"]) == ["attention", "gradcam"]
            assert own["methods"]["attention"] == old["methods"]["attention"]
    with np.load(out / "maps" / "1.jpg.npz") as maps:
        np.testing.assert_array_equal(maps["2/attention"], attention)
        assert maps["2/gradcam"].shape == (3, 1, 8, 8)
    stamps = {path: path.stat().st_mtime_ns for path in (out / "maps").iterdir()}
    assert run(model, images, out, *asked, "--no-overlays") == 0
    assert stamps == {path: path.stat().st_mtime_ns for path in (out / "maps").iterdir()}


def test_people_s_captions_are_explained_and_images_without_are_named(model, tmp_path, capsys):
    images, out = tmp_path / "images", tmp_path / "out"
    write_photographs(images, 4)
    said = [("0.jpg", "A red wave."), ("0.jpg", "A [red] zebra"), ("1.jpg", "a"), ("2.jpg", "...")]
    people = described(tmp_path / "captions.json", said)
    fixed = (people, "--queries=captions", "--no-overlays")
    assert run(model, images, out, *fixed) == 0
    told = capsys.readouterr().err
    assert "left out: 2 of 4 images have no caption to explain and are not explained: 2.jpg" in told
    assert "left out: 1 captions have no words to explain: 2.jpg: '...'" in told
    assert "does not know these words of people's captions: zebra" in told
    found = lines(out)
    assert set(found) == {"0.jpg", "1.jpg"}
    assert [own["query"] for own in answers(found["0.jpg"])] == ["A red wave.", "A [red] zebra"]
    assert found["0.jpg"]["more"][0]["words"] == ["a", "red", "zebra"]
    written = json.loads((out / "run.json").read_text())
    assert (written["query"], written["queries"]) == (None, "captions")
    page = (out / "index.html").read_text("utf-8")
    assert "captions by people" in page and page.count('<article class="item"') == 2

    # Another caption is another sentence: that image is done again, the other one is not.
    stamp = (out / "maps" / "0.jpg.npz").stat().st_mtime_ns
    described(tmp_path / "captions.json", [*said[:2], ("1.jpg", "a wave"), ("3.jpg", "a red")])
    assert run(model, images, out, *fixed) == 0
    assert "(1 done again: captions by people had changed)" in capsys.readouterr().out
    assert lines(out)["1.jpg"]["words"] == ["a", "wave"] and "3.jpg" in lines(out)
    assert (out / "maps" / "0.jpg.npz").stat().st_mtime_ns == stamp
    assert run(model, images, out, people, "--no-overlays") == 2
    assert "queries is None, there it is 'captions'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--query=a", "--queries=captions"], "give one of the two"),
        (["--queries=captions"], "add --captions=FILE"),
        (["--query=a", "--query=..."], "'...' has no words to explain"),
    ],
)
def test_sentences_that_cannot_be_asked_are_refused(model, zoo, tmp_path, capsys, options, said):
    assert run(model, zoo, tmp_path / "out", *options) == 2
    assert said in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_captions_without_any_word_are_refused(model):
    with pytest.raises(ValueError, match="found no caption to explain"):
        Queries.of_captions(load(model), {"a.jpg": ["..."]}, ["a.jpg"], tell=lambda note: None)
