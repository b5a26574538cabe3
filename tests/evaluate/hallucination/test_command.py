"""The commands end to end, on a random captioner whose every word is an object."""

import dataclasses
import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from capjax.api import caption
from capjax.captioner import load_captioner
from capjax.decoding import Greedy
from capjax.decoding.rules import describe
from capjax.evaluate import __main__ as evaluate
from capjax.evaluate.hallucination import fitting, options
from capjax.evaluate.hallucination.__main__ import main
from capjax.evaluate.hallucination.measuring import judge
from capjax.evaluate.hallucination.reranking import read_choices
from capjax.studies.doubt import reranking
from capjax.studies.doubt.doubter import kept_doubt
from tests.explainers.toys import TEXT, attentive

COUNT = 12
MAX_LEN = 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model, pictures, boxes of every other one, and captions that name nothing."""
    folder = tmp_path_factory.mktemp("hallucination")
    card = {"decoding": describe(Greedy(), MAX_LEN)}
    dataclasses.replace(attentive(), card=card).save(folder / "model")
    draw = np.random.default_rng(0)
    (folder / "images").mkdir()
    images = []
    for number in range(COUNT):
        pixels = draw.integers(0, 256, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"{number}.png")
        images.append({"id": number, "file_name": f"{number}.png", "width": 64, "height": 64})
    captions = [
        {"id": number, "image_id": number, "caption": "nothing here"} for number in range(COUNT)
    ]
    boxes = [
        {"id": number, "image_id": number, "category_id": 1, "bbox": [0, 0, 9, 9], "iscrowd": 0}
        for number in range(0, COUNT, 2)
    ]
    category = [{"id": 1, "name": "thing"}, {"id": 2, "name": "other"}]
    (folder / "captions.json").write_text(json.dumps({"images": images, "annotations": captions}))
    (folder / "boxes.json").write_text(
        json.dumps({"images": images, "annotations": boxes, "categories": category})
    )
    words = TEXT.decode(range(4, TEXT.size)).split()
    listed = ", ".join(map(json.dumps, words))
    (folder / "words.toml").write_text(f'[classes]\nthing = [{listed}]\nother = ["ghost"]\n')
    return folder


def given(folder):
    return [
        f"--captions={folder / 'captions.json'}",
        f"--images={folder / 'images'}",
        f"--boxes={folder / 'boxes.json'}",
        f"--object-words={folder / 'words.toml'}",
    ]


def test_what_is_fitted_is_kept_used_and_scored(folder, capsys, monkeypatch):
    monkeypatch.setenv("PATH", "")  # without Java, METEOR costs nothing
    model = folder / "model"
    signals = "--signals=log_probability,entropy,flatness,peak"
    assert main(["fit", f"--model={model}", *given(folder), signals, "--batch-size=4"]) == 0
    told = capsys.readouterr().out
    assert "CHAIR-i 0.5" in told and f"written: {model / 'doubt.json'}" in told
    captioner = load_captioner(model)
    kept = kept_doubt(captioner)
    assert kept.doubter.signals == ("log_probability", "entropy", "flatness", "peak")
    assert len(kept.fitted_on["photographs"]) == COUNT
    assert kept.fitted_on["hallucinated"] * 2 == kept.fitted_on["words"]

    files = [folder / "images" / f"{number}.png" for number in range(4)]
    batch = caption(captioner, files, batch_size=4, doubt=True)
    for one, file in zip(batch, files, strict=True):
        (alone,) = caption(captioner, file, doubt=True)
        assert [own.word for own in one.doubts] == list(one.words)
        assert [own.reason for own in one.doubts] == [own.reason for own in alone.doubts]
        chances = [[own.hallucinated for own in both.doubts] for both in (one, alone)]
        np.testing.assert_allclose(*chances, rtol=1e-4)
        assert set(one.doubts[0].signals) == {*kept.doubter.signals, "prior"}

    out = folder / "metrics.json"
    where = [f"--model={model}", f"--out={out}", "--hallucination", "--batch-size=4"]
    assert evaluate.main([*where, *given(folder)]) == 0
    scores = json.loads(out.read_text())["hallucination"]
    assert scores["fitted"].startswith("cross-fitted")  # these very photographs
    assert scores["all"]["chair_i"]["value"] == 0.5 and scores["all"]["chair_s"]["value"] == 0.5
    assert "peak" in scores["all"]["signals"]
    assert (folder / "metrics.calibration.png").exists()
    rows = (folder / "metrics.calibration.csv").read_text().splitlines()
    assert rows[0] == "words,predicted,observed,n" and len(rows) > 2


def test_what_is_missing_is_said(folder, capsys, tmp_path, monkeypatch):
    for option in ("--signals=guess", "--signals="):
        with pytest.raises(SystemExit):
            main(["fit", f"--model={folder / 'model'}", *given(folder), option])
        assert "names of log_probability" in capsys.readouterr().err
    # No pictures to compare with: said at once, and not fitted on other signals instead.
    monkeypatch.setattr(fitting, "caption_records", None)
    with pytest.raises(SystemExit, match="2"):
        main(["fit", f"--model={folder / 'model'}", *given(folder), "--signals=usual,bits"])
    assert "cannot tell bits; leave it out of --signals, or give it" in capsys.readouterr().err
    shutil.copytree(folder / "model", tmp_path / "model")
    with pytest.raises(SystemExit, match="2"):
        main(["fit", f"--model={tmp_path / 'none'}", *given(folder)])
    assert "no folder of a saved captioner" in capsys.readouterr().err


def test_scores_are_kept_where_the_curve_fails_and_an_old_doubt_is_a_note(
    folder, capsys, monkeypatch, tmp_path
):
    shutil.copytree(folder / "model", tmp_path / "model")
    (tmp_path / "model" / "doubt.json").write_text('{"format": 1}')
    monkeypatch.setattr(evaluate, "_fit", lambda *_: 1)
    monkeypatch.setattr(evaluate, "caption_records", lambda *_, **__: [])
    monkeypatch.setattr(evaluate, "coco_results", lambda *_: [])
    card = {"notes": [], "card": {"decoding": {}}}
    monkeypatch.setattr(evaluate, "score_records", lambda *_, **__: card)
    monkeypatch.setattr(evaluate, "format_scores", str)
    asked = []

    def scored(captioner, records, captions, request, **_):
        asked.append(request)
        return {"made": 1}, "table"

    def failing(*_, **__):
        raise ValueError("nothing to tell apart")

    monkeypatch.setattr(options, "evaluate_hallucination", scored)
    monkeypatch.setattr(options, "evaluate_reranking", failing)
    out = tmp_path / "metrics.json"
    where = [f"--model={tmp_path / 'model'}", f"--out={out}", "--hallucination"]
    where += ["--search=beam", "--beam=2"]
    assert evaluate.main([*where, "--rerank-curve", *given(folder)]) == evaluate.WRONG_USAGE
    assert f"nothing to tell apart; kept: {evaluate.results_path(out)}" in capsys.readouterr().err
    assert json.loads(out.read_text())["hallucination"] == {"made": 1}
    (request,) = asked
    assert request.kept is None and "has format 1; this is" in request.notes[-1]


def test_reading_signals_counts_in_what_fits(monkeypatch):
    class AskedError(Exception):
        pass

    def fit(count, need):
        raise AskedError(count, need(3))

    def memory(captioner, count, *, max_len, usable, samples, signals):
        assert (max_len, usable, samples, signals) == (MAX_LEN, 9e9, 2, ("peak",))
        return 1000.0 * count

    monkeypatch.setattr(reranking, "caption_memory", lambda captioner, count, **_: 10.0 * count)
    monkeypatch.setattr(reranking, "signals_memory", memory)
    source = SimpleNamespace(size=lambda record: (64, 64))
    record = SimpleNamespace(key="0.png", image="0.png", captions=("a man",))
    reading = {"decoding": Greedy(), "max_len": MAX_LEN, "fit": fit, "usable": 9e9}
    reading |= {"samples": 2, "signals": ("peak",)}
    for call in (
        lambda: judge(attentive(), [record], [None], source, **reading),
        lambda: read_choices(attentive(), [record], source, **reading),
    ):
        with pytest.raises(AskedError) as found:
            call()
        assert found.value.args == (1, 3000.0)
