"""The combination: its prior by hand, folds that see nothing of their own, and what is refused."""

import dataclasses
import json

import numpy as np
import pytest

from capjax.captioner import load_captioner
from capjax.checkpoints.model_folder import add_others
from capjax.data.boxes.object_words import ObjectWords
from capjax.explainers.language.others import coarse
from capjax.studies.doubt.doubter import (
    Doubter,
    Kept,
    Prior,
    compared_with,
    cross_fitted,
    kept_doubt,
)
from capjax.studies.doubt.object_names import ObjectName
from capjax.studies.doubt.reasons import reason
from capjax.studies.doubt.signals import Doubtable
from capjax.studies.doubt.weighing import RIDGES, Weighing
from capjax.types import Caption, Features
from tests.explainers.toys import attentive

WORDS = ("a", "surfer", "on", "a", "board")
CAPTION = Caption(" ".join(WORDS), WORDS, (), np.zeros(0), 0.0, True)
NAMES = (ObjectName(1, 2, ("person",)), ObjectName(4, 5, ("surfboard",)))


@pytest.fixture(scope="module")
def material():
    """Captions whose bits tell, up to noise, which words are hallucinated."""
    draw = np.random.default_rng(0)
    captions, truth = [], []
    for _ in range(80):
        bits = draw.normal(size=2)
        signals = {"bits": bits, "log_probability": draw.normal(size=2)}
        captions.append(Doubtable(CAPTION, NAMES, signals))
        truth.append(draw.random(2) < 1 / (1 + np.exp(3 * bits)))
    return captions, truth


def test_the_prior_leaves_a_counted_caption_out():
    prior = Prior({"person": 3}, 4)
    np.testing.assert_allclose(prior.signal(NAMES), np.log([3.5 / 5, 0.5 / 5]))
    np.testing.assert_allclose(prior.signal(NAMES[:1], counted=True), np.log([2.5 / 4]))


def test_it_finds_what_tells_and_goes_through_json(material):
    fitted = Doubter.fit(*material)
    for kind in (fitted.persons, fitted.others):
        weights = dict(zip(fitted.signals, kind.weights, strict=True))
        assert weights["bits"] < -1 and abs(weights["log_probability"]) < 0.7
    again = Doubter.from_json(json.loads(json.dumps(fitted.to_json())))
    np.testing.assert_array_equal(again(material[0][0]), fitted(material[0][0]))


def test_a_fold_never_sees_its_own_truth(material):
    captions, truth = material
    folds = [at % 4 for at in range(len(captions))]
    first = cross_fitted(captions, truth, folds)
    turned = [~own if fold == 0 else own for own, fold in zip(truth, folds, strict=True)]
    second = cross_fitted(captions, turned, folds)
    for at, fold in enumerate(folds):
        assert (fold == 0) == np.array_equal(first[at], second[at])


def test_persons_are_weighed_apart_and_never_hallucinated_ones_have_a_bias_alone():
    draw = np.random.default_rng(1)
    captions, truth = [], []
    for _ in range(60):
        bits = draw.normal(size=2)
        captions.append(Doubtable(CAPTION, NAMES, {"bits": bits, "log_probability": bits}))
        truth.append(np.array([False, bits[1] < 0]))
    fitted = Doubter.fit(captions, truth, signals=("bits",))
    assert fitted.persons.weights == (0.0,)
    assert fitted.persons.bias == pytest.approx(np.log(0.5 / 60.5))
    chances = np.stack([fitted(own) for own in captions])
    assert (chances[:, 0] < 0.01).all() and np.ptp(chances[:, 1]) > 0.8
    assert fitted.added(NAMES[1], {"bits": -1.0})["bits"] > 0
    smaller = fitted.without(["bits"])
    assert smaller.signals == () and smaller.others.bias == fitted.others.bias


def test_the_chosen_ridge_is_large_where_nothing_tells_and_small_where_much_does():
    draw = np.random.default_rng(0)
    table, folds = draw.normal(size=(200, 6)), np.arange(200) % 5
    noise = draw.random(200) < 0.5
    told = draw.random(200) < 1 / (1 + np.exp(-4 * table[:, 0]))
    assert Weighing.chosen(table, noise, folds).ridge == RIDGES[-1]
    assert Weighing.chosen(table, told, folds).ridge == RIDGES[0]
    constant = np.full((200, 1), 0.1) + 1e-17 * table[:, :1]
    assert Weighing.fit(constant, told).scales == (1.0,)


def test_words_of_one_kind_and_no_signal_are_refused(material):
    captions, truth = material
    with pytest.raises(ValueError, match="0 of 160 object words"):
        Doubter.fit(captions, [np.zeros_like(own) for own in truth])
    with pytest.raises(ValueError, match="no signal"):
        Doubter.fit(captions, truth, signals=())


def test_doubt_of_another_model_is_refused(material, tmp_path):
    captioner = attentive()
    with pytest.raises(ValueError, match=r"no doubt\.json"):
        kept_doubt(captioner)
    fitted = Doubter.fit(*material, signals=("log_probability", "prior"))
    words = ObjectWords({("hot", "dog"): ("hot dog",)})
    kept = Kept(fitted, captioner.hash, words, 4, {"photographs": []}, [])
    body = json.loads(kept.write(tmp_path).read_text())
    found = kept_doubt(dataclasses.replace(captioner, doubt=body))
    assert found == kept
    with pytest.raises(ValueError, match="fitted for the model"):
        kept_doubt(dataclasses.replace(attentive(1), doubt=body))


def test_bits_against_other_pictures_than_were_fitted_with_are_refused(material, tmp_path):
    draw = np.random.default_rng(0)
    cells, extra = draw.normal(size=(2, 1, 4, 3)), np.zeros((2, 0, 3))
    features = Features(np.float32(cells), np.float32(extra), np.ones((2, 1, 4), bool), (2, 2))
    first = dataclasses.replace(attentive(), others=coarse(features))
    moved = dataclasses.replace(features, positions=np.float32(cells + 1))
    second = dataclasses.replace(first, others=coarse(moved))
    words = ObjectWords({("board",): ("surfboard",)})

    def kept(captioner, signals):
        doubter = Doubter.fit(*material, signals=signals)
        own = compared_with(captioner, signals)
        return Kept(doubter, captioner.hash, words, 4, {"photographs": []}, [], own)

    bits = kept(first, ("bits", "prior"))
    first.save(tmp_path)
    bits.write(tmp_path)
    assert kept_doubt(load_captioner(tmp_path)) == bits
    add_others(tmp_path, second.others)
    with pytest.raises(ValueError, match="other pictures than .* now compares"):
        kept_doubt(load_captioner(tmp_path))
    assert kept(second, ("bits", "prior")).digest != bits.digest
    none = kept(first, ("log_probability",))
    assert kept_doubt(dataclasses.replace(second, doubt=none.to_json())) == none


def test_the_reason_is_the_earlier_word_where_the_picture_says_little(material):
    fitted = Doubter.fit(*material)
    signals = {"bits": 0.3, "log_probability": -1.0, "prior": -1.0}
    told = reason(NAMES[1], "board", signals, fitted, 0.6, {"sea": 0.1, "surfer": 2.0})
    assert told == "said because board usually comes with surfer: 0.3 bits from the picture"
    told = reason(NAMES[1], "board", {**signals, "bits": -2.0}, fitted, 0.9, {"surfer": 0.2})
    assert told == "-2.0 bits from the picture"


def test_the_reason_of_a_believed_word_speaks_for_it():
    weights = {"bits": -1.0, "prior": -2.0, "flatness": -0.1}
    own = Weighing((0.0,) * 3, (1.0,) * 3, tuple(weights.values()), 0.0)
    fitted = Doubter(tuple(weights), own, own, Prior({}, 0))
    signals = {"bits": 3.0, "prior": 1.0, "flatness": 0.5, "log_probability": -1.0}

    def told(chance, **changed):
        return reason(NAMES[1], "board", {**signals, **changed}, fitted, chance)

    assert told(0.03) == "for it: 3.0 bits from the picture"
    assert told(0.03, bits=0.5) == "for it: many captions name such a thing"
    assert told(0.3, bits=-4.0) == "-4.0 bits from the picture"  # below a half, above the average
    assert told(0.1, bits=-4.0) == "for it: many captions name such a thing"
    assert told(0.6, bits=1.0, flatness=0.5) == "nothing tells board from other words"
    # A weight against its signal's direction: of a doubtful word the number, which none misreads.
    assert told(0.1, bits=0.0, prior=0.0) == "nothing much against board"
    odd = told(0.6, bits=0.0, prior=0.0, flatness=-0.5)
    assert odd == "flatness of board is -0.50, and 0.00 on average"
