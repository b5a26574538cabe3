"""The curve of reranking against counts by hand, and BLEU of weighted images against the scorer."""

import numpy as np
import pytest

from capjax.data.captions.records import Record
from capjax.evaluate.hallucination import measuring
from capjax.evaluate.hallucination.measuring import digest
from capjax.evaluate.hallucination.reranking import (
    Choices,
    curve_rows,
    doubter_of_each,
    format_curve,
    said_of_curve,
    score_curve,
)
from capjax.metrics.captions import (
    bleu_counts,
    bleu_of_counts,
    score_captions,
    score_images,
)
from capjax.studies.doubt.object_names import ObjectName
from capjax.studies.doubt.reranking import best_candidate
from capjax.studies.doubt.signals import Doubtable
from capjax.types import Caption

KINDS = ("dog", "cat", "bird")
COUNT = 60


def said(kind, other, score):
    text = f"a {kind} and a {other} in the park"
    return Caption(text, tuple(text.split()), (), np.zeros(0), score, True)


@pytest.fixture(scope="module")
def choices():
    """Photographs of one animal; candidates name two, and bits say which is there, mostly."""
    draw = np.random.default_rng(0)
    records, candidates, truth = [], [], []
    for number in range(COUNT):
        there = KINDS[number % 3]
        own, known = [], []
        for rank in range(3):
            pair = draw.permutation(KINDS)[:2]
            names = (ObjectName(1, 2, (str(pair[0]),)), ObjectName(4, 5, (str(pair[1]),)))
            wrong = np.array([kind != there for kind in pair])
            bits = np.where(wrong, -1.0, 1.0) + draw.normal(size=2)
            own.append(Doubtable(said(*pair, -1.0 - 0.2 * rank), names, {"bits": bits}))
            known.append(wrong)
        texts = (f"a {there} in the park", f"the {there} sits in a park")
        records.append(Record(f"{number}.jpg", None, texts, "val", number))
        candidates.append(tuple(own))
        truth.append(tuple(known))
    return Choices(tuple(records), tuple(candidates), tuple(truth))


@pytest.fixture(scope="module")
def scores(choices):
    return score_curve(choices, None, (1.0, 100.0))


def test_every_point_is_what_counting_gives(choices, scores):
    fitted, doubters = doubter_of_each(choices, None)
    assert scores["fitted"] == fitted and fitted.startswith("cross-fitted")
    assert scores["photographs"] == COUNT
    assert [point["weight"] for point in scores["points"]] == [0.0, 1.0, 100.0]
    references = {number: own.captions for number, own in enumerate(choices.records)}
    for point in scores["points"]:
        places = [
            best_candidate(own, [doubter(one) for one in own], point["weight"])
            for own, doubter in zip(choices.candidates, doubters, strict=True)
        ]
        wrong = np.array([own[at] for own, at in zip(choices.truth, places, strict=True)])
        texts = [own[at].caption.text for own, at in zip(choices.candidates, places, strict=True)]
        expected = score_captions(references, dict(enumerate(texts)), metrics=("BLEU", "CIDEr"))
        assert point["words"] == 2 * COUNT
        assert point["changed"] == np.mean(np.array(places) > 0)
        assert point["chair_i"]["value"] == pytest.approx(wrong.mean())
        assert point["chair_s"]["value"] == pytest.approx(wrong.any(axis=1).mean())
        assert point["cider"]["value"] == pytest.approx(expected["CIDEr"])
        assert point["bleu_4"]["value"] == pytest.approx(expected["BLEU-4"], rel=1e-6)
    first, *others = scores["points"]
    assert first["changed"] == 0 and first["chair_i"]["less"]["interval"] == [0, 0]
    for point in others:
        fall = point["chair_i"]["value"] - first["chair_i"]["value"]
        assert point["chair_i"]["less"]["value"] == pytest.approx(fall)
        assert point["chair_i"]["less"]["interval"][1] < 0


def test_photographs_are_divided_once(choices, monkeypatch):
    seen = []
    monkeypatch.setattr(measuring, "digest", lambda key: seen.append(key) or digest(key))
    doubter_of_each(choices, None)
    assert len(seen) == COUNT


def test_a_photograph_is_never_judged_by_what_was_fitted_on_it(choices):
    _, before = doubter_of_each(choices, None)
    folds = choices.first.folds
    turned = [
        tuple(~own for own in known) if fold == 0 else known
        for known, fold in zip(choices.truth, folds, strict=True)
    ]
    _, after = doubter_of_each(Choices(choices.records, choices.candidates, tuple(turned)), None)
    for one, other, fold in zip(before, after, folds, strict=True):
        assert (one == other) == (fold == 0)


def test_the_tables_say_what_it_costs(scores):
    text = format_curve(scores)
    assert "reranking by doubt (cross-fitted" in text and "differences" in text
    names, *rows = curve_rows(scores["points"])
    assert len(rows) == 3 and all(len(row) == len(names) for row in rows)

    def point(weight, chair, cider):
        less = {"value": -weight, "interval": [-2 * weight, 0.0]}
        values = {"chair_i": chair, "cider": cider}
        return {"weight": weight} | {
            name: {"value": value, "less": less} for name, value in values.items()
        }

    first, free, dear = point(0.0, 0.3, 0.5), point(0.1, 0.27, 0.496), point(1.0, 0.1, 0.4)
    said = said_of_curve([first, free, dear])
    assert said.startswith("CHAIR-i falls by 10% of itself at weight 0.1")
    assert "CHAIR-i -0.100 [-0.200, +0.000], CIDEr -0.100 [-0.200, +0.000]." in said
    assert "chosen on these photographs" in said and "--rerank-curve=0.1)" in said
    assert said_of_curve([first, free]) == said[: said.index(". This weight")]  # given, not chosen
    assert said_of_curve([first, dear]).startswith("no weight lowers CHAIR-i")
    assert "nothing" in said_of_curve([point(0.0, 0.0, 0.5)])


def test_bleu_of_counts_is_the_scorers():
    references = [["a dog runs in the park", "one dog"], ["two cats on a mat", "cats sit on mats"]]
    captions = ["a dog runs in a park today", "two cats on a mat"]
    counts = bleu_counts(references, captions)
    both, first = bleu_of_counts(counts, np.array([[1.0, 1.0], [1.0, 0.0]]))
    gold, own = dict(enumerate(references)), dict(enumerate(captions))
    assert both == pytest.approx(score_captions(gold, own, metrics=("BLEU",))["BLEU-4"], rel=1e-6)
    alone = score_images({0: gold[0]}, {0: own[0]}, metrics=("BLEU",))[0]["BLEU-4"]
    assert first == pytest.approx(alone, rel=1e-6)
