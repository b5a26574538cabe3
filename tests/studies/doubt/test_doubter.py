"""The combination: its prior by hand, folds that see nothing of their own, and what is refused."""

import dataclasses
import json

import numpy as np
import pytest

from capjax.data.boxes.object_words import ObjectWords
from capjax.studies.doubt.doubter import Doubter, Kept, Prior, cross_fitted, kept_doubt
from capjax.studies.doubt.object_names import ObjectName
from capjax.studies.doubt.reasons import reason
from capjax.studies.doubt.signals import Doubtable
from capjax.types import Caption
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
    weights = dict(zip(fitted.signals, fitted.weights, strict=True))
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


def test_words_of_one_kind_are_refused(material):
    captions, truth = material
    with pytest.raises(ValueError, match="0 of 160 object words"):
        Doubter.fit(captions, [np.zeros_like(own) for own in truth])


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


def test_the_reason_is_the_earlier_word_where_the_picture_says_little(material):
    fitted = Doubter.fit(*material)
    signals = {"bits": 0.3, "log_probability": -1.0, "prior": -1.0}
    owed = np.array([0.1, 2.0, 0, 0.2, 0])
    told = reason(NAMES[1], WORDS, signals, fitted, owed)
    assert told == "said because board usually comes with surfer: 0.3 bits from the picture"
    told = reason(NAMES[1], WORDS, {**signals, "bits": -2.0}, fitted, None)
    assert told == "-2.0 bits from the picture"
