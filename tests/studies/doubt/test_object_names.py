"""CHAIR's rule on captions and photographs made up by hand."""

import numpy as np

from capjax.data.boxes.object_words import ObjectWords
from capjax.studies.doubt.object_names import is_hallucinated, is_person, object_names
from capjax.types import Caption

WORDS = ObjectWords(
    {
        ("dog",): ("dog",),
        ("hot", "dog"): ("hot dog",),
        ("bat",): ("baseball bat", "bat"),
        ("man",): ("person",),
    }
)


def said(text: str, *words: str) -> Caption:
    words = words or tuple(text.split())
    return Caption(text, words, (), np.zeros(0), 0.0, True)


def test_the_longest_phrase_counts_and_any_of_its_classes_acquits():
    names = object_names(said("a man eats a hot dog with a bat"), WORDS)
    assert [(own.start, own.end) for own in names] == [(1, 2), (4, 6), (8, 9)]
    assert [is_person(own) for own in names] == [True, False, False]
    there = {"person", "dog", "bat"}
    assert [is_hallucinated(own, there) for own in names] == [False, True, False]


def test_places_are_of_the_captioners_own_words():
    (name,) = object_names(said("A man's, Dog!", "A", "man's,", "Dog!"), WORDS)[1:]
    assert (name.start, name.end) == (2, 3)
