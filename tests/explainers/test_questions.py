"""Keywords, contrasts and whole sentences: as targets, in closed form, and through the one door."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import capjax
from capjax.explainers import METHODS, programs
from capjax.explainers.batch import check_methods
from capjax.explainers.contract import answer
from capjax.explainers.programs import make_request, measured
from capjax.explainers.targets import Contrast, Keyword, Questions, Sentence
from capjax.explainers.wording import Wording, asked_of_all
from capjax.types import NO_TOKEN, Features
from tests.api.conftest import photograph
from tests.explainers.toys import TEXT, attentive, linear_net
from tests.text.byte_pairs import small_byte_pair

ASKED = {"keyword": "a", "contrast": ["man:dogs", "a:the", "ball:wave"], "whole_sentence": True}
QUERY = "a man on a horse"


def ids(text):
    return TEXT.encode(text)[:-1]


def questions(text=TEXT, **asked):
    return Questions.of(text, **asked)


def test_words_are_found_wherever_a_sentence_says_them():
    asked = questions(keywords="a", contrasts=ASKED["contrast"], sentence=True)
    sentence = Wording.of_query(attentive(), QUERY).asked(asked)
    (dogs,), (the,) = ids("dogs"), ids("the")
    assert [(extra.label, extra.words, extra.target) for extra in sentence.extras] == [
        ("the whole sentence", (0, 1, 2, 3, 4), Sentence()),
        ("every “a”", (0, 3), Keyword(((0, 1), (3, 4)))),
        ("man rather than dogs", (1,), Contrast(1, dogs)),
        ("a rather than the (word 1)", (0,), Contrast(0, the)),
        ("a rather than the (word 4)", (3,), Contrast(3, the)),
    ]
    assert sentence.lacking == ("ball rather than wave",)
    assert sentence.asked(asked) == sentence and sentence.asked(Questions()).extras == ()
    assert asked.to_json() == {
        "keywords": ["a"],
        "contrasts": ["man:dogs", "a:the", "ball:wave"],
        "whole_sentence": True,
    }
    assert Questions.from_json(asked.to_json()).labels == asked.labels
    assert not Questions() and Questions().to_json() == {}


def test_words_in_pieces_are_contrasted_at_the_first_that_differs():
    """Up to there both read the same; at the beginning of a sentence pieces have no blank."""
    text = small_byte_pair()
    piece = text.entries.index
    asked = questions(text, contrasts=["woman:wave", "dogs:dogma", "snow:man"], keywords="woman")
    tokens = text.encode("woman near a woman in snow dogs")
    written = ["wo", "man", "Ġnear", "Ġa", "Ġwoman", "Ġin", "Ġsnow", "Ġdog", "s"]
    assert [text.entries[token] for token in tokens[:-1]] == written
    words, spans = text.spans(tokens)
    extras, lacking = asked.about(words, spans, tokens)
    assert not lacking
    assert [extra.target for extra in extras] == [
        Keyword(((0, 2), (4, 5))),
        Contrast(0, piece("wav")),
        Contrast(4, piece("Ġwav")),
        Contrast(8, piece("m")),  # after the "dog" that both begin with
        Contrast(6, piece("Ġman")),
    ]
    compared = [re.search(r"compares piece (\d)", extra.note) for extra in extras[1:]]
    assert [found and found[1] for found in compared] == ["1", "1", "2", None]
    with pytest.raises(ValueError, match="dog:dogs is of words that no step tells apart"):
        questions(text, contrasts="dog:dogs")


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        ({"contrasts": "dogs"}, "got the contrast 'dogs'; expected WORD:OTHER, such as dog:cat"),
        ({"contrasts": "man:dogs:ball"}, "expected WORD:OTHER"),
        ({"contrasts": "man:zebra"}, "does not know the word 'zebra'"),
        ({"contrasts": "man:man"}, "of words that no step tells apart"),
        ({"keywords": "red wave"}, "expected one word, and the captioner reads red, wave"),
        ({"keywords": "..."}, "expected one word, and the captioner reads none"),
    ],
)
def test_what_cannot_be_asked_is_refused(asked, text):
    with pytest.raises(ValueError, match=re.escape(text)):
        questions(**asked)


def test_a_query_without_the_word_is_refused():
    sentences = [Wording.of_query(attentive(), text) for text in (QUERY, "two dogs")]
    assert asked_of_all(sentences, questions(contrasts="dogs:man"))[0].lacking
    with pytest.raises(ValueError, match="no query has the word to explain: ball rather than dogs"):
        asked_of_all(sentences, questions(contrasts="ball:dogs"))


@functools.partial(jax.jit, static_argnames=("name", "measure"))
def linear_maps(positions, weights, alternatives, *, name, measure):
    """Maps [N P] of tokens 1 and 4, of `Linear`: logit k is the mean of channel k."""
    features = Features.from_grid(positions)
    tokens, lengths = jnp.array([[[1, 4]]]), jnp.array([[2]])
    request = make_request(
        *(linear_net(), {}, features, tokens, lengths, weights), alternatives=alternatives
    )
    found = answer(METHODS[name], linear_net(), {}, measured(request, measure))[name]
    return found.values[0, 0].reshape(weights.shape[2], -1)


def test_a_contrast_of_a_linear_captioner_has_a_closed_form():
    """What competes with both words falls out: log-probabilities differ as logits do."""
    grid = np.random.default_rng(0).normal(size=(1, 3, 4, 5)).astype(np.float32)
    weights = np.eye(2, dtype=np.float32)[None, None]
    alternatives = np.array([[[[3, NO_TOKEN], [NO_TOKEN, 0]]]], np.int32)
    flat = grid.reshape(12, 5)
    share = (flat - flat.mean(axis=0)) / 12
    expected = np.stack([share[:, 1] - share[:, 3], share[:, 4] - share[:, 0]])
    for measure in ("logit", "log_prob"):
        maps = linear_maps(grid, weights, alternatives, name="ig", measure=measure)
        np.testing.assert_allclose(maps, expected, atol=1e-6)
    # A keyword is the sum of its places.
    logits = linear_maps(grid, weights, None, name="ig", measure="logit")
    both = linear_maps(grid, weights.sum(2, keepdims=True), None, name="ig", measure="logit")
    np.testing.assert_allclose(both[0], logits.sum(axis=0), atol=1e-6)


@pytest.fixture(scope="module")
def explained():
    """One query with all kinds of questions, by two measures of one method."""
    image = photograph(3, 50, 80)
    methods = ["gradcam", "gradcam@measure=prob"]
    programs.explain_targets.clear_cache()
    with pytest.warns(UserWarning, match="ball rather than wave is not explained of 1 of 2"):
        found = capjax.explain(
            attentive(), image, methods=methods, query=[QUERY, "a man with a ball"], **ASKED
        )
    assert programs.explain_targets._cache_size() == 1
    return found


def test_what_is_asked_is_explained_beside_the_words(explained):
    first, second = explained
    logs, shares = first["gradcam"], first["gradcam@measure=prob"]
    assert (logs.measure, shares.measure) == ("log_prob", "prob")
    assert logs.settings == shares.settings == {"stage": ""}
    labels = [target.label for target in logs.targets]
    assert labels[:3] == ["the whole sentence", "every “a”", "man rather than dogs"]
    assert logs.lacking == ("ball rather than wave",) and second["gradcam"].lacking == ()
    assert second["gradcam"].targets[-1].label == "ball rather than wave"
    whole, every, *contrasts = logs.targets
    log_probs = first.explained.log_probs
    np.testing.assert_allclose(whole.score, log_probs.sum(), rtol=1e-5)
    np.testing.assert_allclose(every.score, log_probs[[0, 3]].sum(), rtol=1e-5)
    np.testing.assert_allclose(logs.target_maps[1], logs.maps[[0, 3]].sum(axis=0), atol=1e-5)
    assert [target.contrast for target in contrasts] == [True] * 3
    # Grad-CAM is linear in the gradient: d (p - q) = p d log p - q d log q.
    at, other = 1, float(np.exp(log_probs[1] - contrasts[0].score))
    alternative = logs.maps[at] - logs.target_maps[2]
    expected = np.exp(log_probs[at]) * logs.maps[at] - other * alternative
    np.testing.assert_allclose(shares.target_maps[2], expected, rtol=1e-3, atol=1e-6)
    assert np.ptp(logs.target_maps[2]) > 1e-4


def test_the_alternative_s_score_is_that_of_the_sentence_that_says_it(explained):
    """And a contrast turned round is its negative."""
    other, _ = capjax.explain(
        *(attentive(), photograph(3, 50, 80)),
        methods=["gradcam", "gradcam@measure=prob"],
        query=["a dogs on a horse", "dogs"],
        contrast="dogs:man",
    )
    assert programs.explain_targets._cache_size() == 1
    first, turned = explained[0].explained, other.explained
    difference = first.log_probs[1] - turned.log_probs[1]
    np.testing.assert_allclose(first.targets[2].score, difference, atol=1e-4)
    np.testing.assert_allclose(turned.targets[0].score, -difference, atol=1e-4)
    maps = [own.explanations["gradcam"].target_maps for own in (first, turned)]
    np.testing.assert_allclose(maps[0][2], -maps[1][0], atol=1e-5)


def test_a_notebook_shows_what_was_asked_and_names_the_measure(explained):
    page = explained._repr_html_()
    for text in ("man rather than dogs", "every “a”", "the whole sentence"):
        assert text in page
    assert "Measure log_prob (gradcam), prob (gradcam@measure=prob)" in page
    assert "the sentence has no such word: ball rather than wave" in page


@pytest.mark.parametrize("name", [name for name, own in METHODS.items() if not own.CONTRASTS])
def test_methods_that_cannot_contrast_are_refused_by_name(name):
    with pytest.raises(ValueError, match=rf"and ({name}|caption_guided, {name}) .*choose of: "):
        check_methods(attentive(), [name], contrasts=True)
