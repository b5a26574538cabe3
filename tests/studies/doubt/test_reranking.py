"""Reranking against an enumeration of the candidates, one after the other, in NumPy."""

import dataclasses
import json

import numpy as np
import pytest
from PIL import Image

import capjax
from capjax.data.boxes.object_words import ObjectWords
from capjax.decoding import Beam, Greedy
from capjax.decoding.captions import candidate_batch, caption_batch
from capjax.evaluate import __main__ as evaluate
from capjax.folder import fitting, run
from capjax.folder.results import ResultFolder
from capjax.studies.doubt import reranking
from capjax.studies.doubt.doubter import Doubter, Kept, Prior, kept_doubt
from capjax.studies.doubt.object_names import ObjectName
from capjax.studies.doubt.reranking import Reranker, best_candidate
from capjax.studies.doubt.signals import Doubtable, read_signals
from capjax.studies.doubt.weighing import Weighing
from capjax.types import Caption
from tests.explainers.toys import TEXT, attentive

WRITING = {"decoding": Beam(4), "max_len": 6}
WORDS = ObjectWords({(word,): ("person" if word == "man" else word,) for word in TEXT.entries[4:]})
OTHERS = Weighing((-2.0, -1.0, 0.5, -1.0), (1.0, 2.0, 0.5, 0.3), (-0.7, 0.4, -1.1, -0.2), 0.3)
PERSONS = dataclasses.replace(OTHERS, bias=-2.0)
SIGNALS = ("log_probability", "prior", "stability", "score")
DOUBTER = Doubter(SIGNALS, PERSONS, OTHERS, Prior({"man": 5, "dogs": 1}, 9))


def reranker(weight):
    plain = attentive(2)
    kept = Kept(DOUBTER, plain.hash, WORDS, 2, {}, [])
    captioner = dataclasses.replace(plain, doubt=kept.to_json())
    return Reranker.of(captioner, *WRITING.values(), "doubt", weight)


@pytest.fixture(scope="module")
def material():
    """Four pictures, their candidates and what they are doubted by, each read by itself."""
    pictures = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), dtype=np.uint8)
    captioner = attentive(2)
    features, candidates = candidate_batch(captioner, pictures, **WRITING)
    alone = [
        read_signals(
            captioner, pictures, features, [[own[at]] for own in candidates], WORDS,
            max_len=WRITING["max_len"], samples=2,
        )
        for at in range(4)
    ]  # fmt: skip
    return pictures, candidates, [[own[row][0] for own in alone] for row in range(4)]


def literal(candidates, signals, weight):
    """The rule of the page, number by number."""
    best, most = None, -np.inf
    for caption, one in zip(candidates, signals, strict=True):
        expected = 0.0
        for at, name in enumerate(one.names):
            said = max(DOUBTER.prior.counts.get(of, 0) for of in name.classes)
            values = {
                "log_probability": one.signals["log_probability"][at],
                "prior": np.log((said + 0.5) / (DOUBTER.prior.captions + 1)),
                "stability": one.signals["stability"][at],
                "score": sum(map(float, caption.log_probs)) / len(caption.tokens),
            }
            kind = PERSONS if "person" in name.classes else OTHERS
            odds = kind.bias
            for signal, mean, scale, own in zip(
                SIGNALS, kind.means, kind.scales, kind.weights, strict=True
            ):
                odds += own * (values[signal] - mean) / scale
            expected += 1 / (1 + np.exp(-odds))
        score = sum(map(float, caption.log_probs)) / len(caption.tokens) - weight * expected
        if score > most + 1e-6:
            best, most = caption, score
    return best


@pytest.mark.parametrize("weight", [0.05, 0.5, 50.0])
def test_it_takes_what_an_enumeration_takes(material, weight):
    pictures, candidates, signals = material
    expected = [literal(*own, weight) for own in zip(candidates, signals, strict=True)]
    found = reranker(weight).captions(pictures, 4)
    assert [own.tokens for own in found] == [own.tokens for own in expected]
    assert [own.rank for own in found] == [own.rank for own in expected]
    assert any(own.rank for own in found) == (weight > 0.1)


def test_without_weight_nothing_changes_and_neighbours_change_nothing(material):
    pictures, candidates, _ = material
    _, plain = caption_batch(attentive(2), pictures, **WRITING)
    first = reranker(0.0).captions(pictures, 4)
    for one, same, own in zip(plain, first, candidates, strict=True):
        assert one.tokens == same.tokens == own[0].tokens and one.rank == same.rank == 0
        assert one.score == same.score
    turned = reranker(0.5).captions(pictures[::-1], 3)
    others = reranker(0.5).captions(pictures, 4)[:0:-1]
    assert [own.tokens for own in turned] == [own.tokens for own in others]


def test_commands_write_what_the_reranker_takes(material, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", "")  # no Java, so METEOR costs nothing
    pictures = material[0]
    one = reranker(0.5)
    expected = one.captions(pictures, 4)
    one.captioner.save(tmp_path / "model")
    one.kept.write(tmp_path / "model")
    (tmp_path / "images").mkdir()
    for number, pixels in enumerate(pictures):
        Image.fromarray(pixels).save(tmp_path / "images" / f"{number}.png")
    (tmp_path / "captions.csv").write_text(
        "image,caption\n" + "".join(f"{number}.png,a man rides\n" for number in range(4))
    )
    images = [tmp_path / "images" / f"{number}.png" for number in range(4)]
    asked = {"rerank": "doubt", "rerank_weight": 0.5}
    found = capjax.caption(capjax.load(tmp_path / "model"), images, **WRITING, **asked)
    assert [own.tokens for own in found] == [own.tokens for own in expected]

    common = [f"--model={tmp_path / 'model'}", f"--images={tmp_path / 'images'}", "--batch-size=4"]
    common += ["--search=beam", "--beam=4", "--max-length=6", "--rerank=doubt"]
    out = tmp_path / "metrics.json"
    arguments = [*common, "--rerank-weight=0.5", f"--out={out}"]
    assert evaluate.main([*arguments, f"--captions={tmp_path / 'captions.csv'}"]) == 0
    texts = [own["caption"] for own in json.loads(evaluate.results_path(out).read_text())]
    assert texts == [own.text for own in expected]
    assert json.loads(out.read_text())["card"]["decoding"]["rerank_weight"] == 0.5

    plain = ["--no-visual-information", "--no-overlays", f"--out={tmp_path / 'out'}"]
    assert run.main([*common, *plain, "--rerank-weight=0.5"]) == 0
    page = (tmp_path / "out" / "index.html").read_text("utf-8")
    assert "width 4, reranked by doubt, weight 0.5" in page
    with ResultFolder(tmp_path / "out", json.loads((tmp_path / "out/run.json").read_text())) as own:
        results = [own.read(f"{number}.png") for number in range(4)]
    assert [(own.tokens, own.rank) for own in results] == [(a.tokens, a.rank) for a in expected]
    assert run.main([*common, *plain]) == run.WRONG_USAGE  # another weight

    # What reading signals takes counts before anything is done, though captions would fit.
    for module in (reranking, fitting):
        monkeypatch.setattr(module, "signals_memory", lambda *_, **__: 1e18)
    monkeypatch.setattr(reranking, "caption_memory", lambda *_, **__: 0.0)
    monkeypatch.setattr(fitting, "explain_memory", lambda *_, **__: 0.0)
    capsys.readouterr()
    assert evaluate.main([*arguments, f"--captions={tmp_path / 'captions.csv'}"]) == 2
    assert "at once need" in capsys.readouterr().err
    plain[-1] = f"--out={tmp_path / 'new'}"
    assert run.main([*common, *plain, "--no-doubt"]) == run.WRONG_USAGE
    assert "at once need" in capsys.readouterr().err


def test_captions_without_object_words_are_read(material):
    pictures, candidates, _ = material
    captioner = attentive(2)
    features, _ = caption_batch(captioner, pictures, **WRITING)
    none = ObjectWords({("zebra",): ("zebra",)})
    given = captioner, pictures, features, [own[:1] for own in candidates], none
    found = read_signals(*given, max_len=WRITING["max_len"], samples=2)
    assert [own.names for (own,) in found] == [()] * 4


def test_equal_candidates_keep_their_order():
    name = ObjectName(0, 1, ("dog",))
    captions = [Caption("", (), (), np.zeros(0), own, True) for own in (-1.0, -1.5, -1.5)]
    found = [Doubtable(own, (name,), {}) for own in captions]
    doubts = [np.array([0.9]), np.array([0.1, 0.3]), np.array([0.4])]
    assert [best_candidate(found, doubts, own) for own in (0, 0.9, 1.1)] == [0, 0, 1]


def test_what_cannot_be_reranked_is_refused():
    captioner = attentive(2)
    for decoding, said in ((Greedy(), "ends with one caption"), (Beam(1), "beam of one")):
        with pytest.raises(ValueError, match=f"{said}.*beam=5"):
            Reranker.of(captioner, decoding, 6, "doubt")
    with pytest.raises(ValueError, match=r"no doubt\.json"):
        Reranker.of(captioner, Beam(3), 6, "doubt")
    with pytest.raises(ValueError, match="nothing is reranked"):
        Reranker.of(captioner, Beam(3), 6, None, 0.2)
    with pytest.raises(ValueError, match="choose one of: doubt"):
        Reranker.of(captioner, Beam(3), 6, "length")
    with pytest.raises(ValueError, match="expected 0 or more"):
        Reranker.of(captioner, Beam(3), 6, "doubt", -1.0)
    assert Reranker.of(captioner, Greedy(), 6, None) is None


def test_records_say_by_what_was_chosen():
    one = reranker(0.25)
    assert isinstance(one.kept, Kept) and one.kept == kept_doubt(one.captioner)
    described = one.describe()
    assert described["rerank"] == "doubt" and described["rerank_weight"] == 0.25
    other = dataclasses.replace(one, kept=dataclasses.replace(one.kept, samples=3)).describe()
    assert other["rerank_doubt"] != described["rerank_doubt"]
