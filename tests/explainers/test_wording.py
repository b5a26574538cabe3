"""Queries become sentences: phrases in brackets, unknown words, and the arrays of their targets."""

import dataclasses

import numpy as np
import pytest

from capjax.explainers.wording import Wording, pad_sentences, word_scores
from capjax.text.vocabulary import Vocabulary
from tests.explainers.toys import TEXT, attentive
from tests.text.byte_pairs import small_byte_pair


def ids(text):
    return tuple(TEXT.encode(text))


def test_brackets_leave_blanks_and_punctuation_as_they_are():
    """Pieces of words depend on both."""
    text = small_byte_pair()
    captioner = dataclasses.replace(attentive(), text=text)
    marked = Wording.of_query(captioner, "[a dog]'s leash, [t]-shirt[red]snow.")
    plain = Wording.of_query(captioner, "a dog's leash, t-shirt red snow.")
    assert marked.tokens == plain.tokens
    assert marked.words == ("a", "dog's", "leash", ",", "t-shirt", "red", "snow", ".")
    assert marked.phrases == ((0, 2), (4, 5), (5, 6))
    assert marked.unknown == ()


def test_brackets_mark_phrases_and_change_no_word():
    plain = Wording.of_query(attentive(), "a man on a horse")
    marked = Wording.of_query(attentive(), "[A man] on [a horse].")
    assert marked.tokens == plain.tokens == ids("a man on a horse")
    assert marked.words == ("a", "man", "on", "a", "horse")
    assert marked.phrases == ((0, 2), (3, 5)) and plain.phrases == ()


def test_a_bracket_after_a_mark_ends_a_word():
    """Words of many scripts end in marks, which are no letters."""
    text = Vocabulary.build(["घोड़े पर आदमी"])
    marked = Wording.of_query(dataclasses.replace(attentive(), text=text), "[घोड़े]पर[आदमी]")
    assert marked.words == ("घोड़े", "पर", "आदमी") and marked.phrases == ((0, 1), (2, 3))
    assert marked.unknown == ()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[a man", "does not close"),
        ("a man]", "do not pair"),
        ("[a [man] on]", "do not pair"),
        ("a [ ] man", "a phrase without words"),
        ("", "no words to explain"),
        (" . ", "no words to explain"),
    ],
)
def test_refuses_what_has_no_meaning(text, reason):
    with pytest.raises(ValueError, match=reason):
        Wording.of_query(attentive(), text)


def test_unknown_words_stay_and_are_read_as_a_token_or_not_at_all():
    token = Wording.of_query(attentive(), "[a zebra] on a horse")
    assert token.words == ("a", "zebra", "on", "a", "horse") and token.unknown == (1,)
    assert token.tokens[1] == TEXT.unk
    skipped = Wording.of_query(attentive(), "[a zebra] on a horse", unknown="skip")
    assert skipped.words == token.words and skipped.unknown == (1,)
    assert skipped.tokens == ids("a on a horse")
    assert skipped.spans == ((0, 1), (1, 1), (1, 2), (2, 3), (3, 4))
    assert [target and (target.start, target.end) for target in skipped.targets()] == [
        *[(0, 1), None, (1, 2), (2, 3), (3, 4)],
        (0, 1),  # what is left of the phrase
    ]
    with pytest.raises(ValueError, match="it knows none of zebra, gnu"):
        Wording.of_query(attentive(), "zebra gnu", unknown="skip")


def test_phrases_are_given_as_spans_too():
    sentence = Wording.of_query(attentive(), "a man on a horse").of_phrases([(0, 2)])
    assert sentence.phrases == ((0, 2),)
    with pytest.raises(ValueError, match="has words 0 to 4"):
        sentence.of_phrases([(3, 6)])


def test_padding_holds_every_sentence_of_every_image():
    short = Wording.of_query(attentive(), "a [red wave]")
    long = Wording.of_query(attentive(), "a man on a horse rides the red wave")
    tokens, lengths, weights, _ = pad_sentences([[short, long], [long], []])
    assert tokens.shape == (3, 2, 16) and weights.shape == (3, 2, 16, 16)
    np.testing.assert_array_equal(lengths, [[4, 10], [10, 0], [0, 0]])
    np.testing.assert_array_equal(tokens[0, 0, :4], short.tokens)
    np.testing.assert_array_equal(weights[0, 0, 3], [0, 1, 1, *[0] * 13])  # the phrase
    np.testing.assert_array_equal(weights[0, 0, 4:], 0)
    np.testing.assert_array_equal(weights[2], 0)


def test_sentences_without_words_have_room_for_some():
    weights = pad_sentences([[Wording((1, 2), (), ())], []], narrow=True).weights
    assert weights.shape == (2, 1, 8, 8) and not weights.any()


def test_a_words_score_is_the_sum_of_its_tokens():
    scores = word_scores(np.array([-1.0, -2.0, -4.0]), [(0, 2), (2, 2), (2, 3)])
    np.testing.assert_array_equal(scores, [-3.0, np.nan, -4.0])
