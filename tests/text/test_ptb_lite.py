"""`ptb_lite` against hand-cut sentences and against Stanford's tokenizer."""

import json
import shutil

import pytest
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

from capjax.text.ptb_lite import tokenize

needs_java = pytest.mark.skipif(shutil.which("java") is None, reason="Stanford's jar needs Java")


@pytest.mark.parametrize(
    ("caption", "words"),
    [
        ("A man's dog isn't running.", "a man 's dog is n't running"),
        ("red, white and blue T-shirt", "red white and blue t-shirt"),
        ("two-year old -- boy", "two-year old boy"),
        ("They're here; it's 5 o'clock", "they 're here it 's 5 o'clock"),
        ("The dogs' toys cannot move", "the dogs toys can not move"),
        ('a "quoted" (small) [dog]', "a quoted small dog"),
        ("“curly” isn’t ‘straight’", "curly is n't straight"),
        ("At 10:30 a.m. on Main St.", "at 10:30 a.m. on main st."),
        ("1,000 people... and 3.5 more!!", "1,000 people and 3.5 more"),
        ("first line\nsecond line", "first line second line"),
        ("naïve café", "naïve café"),
        (" . -- ?", ""),
        ("", ""),
    ],
)
def test_hand_cut_sentences(caption, words):
    assert " ".join(tokenize(caption)) == words


def shared_captions(folder):
    """Every caption of the shared sets, without repetitions."""
    captions = set()
    for split in ("train", "val"):
        coco = json.loads((folder / f"coco/annotations/captions_{split}.json").read_text())
        captions.update(row["caption"] for row in coco["annotations"])
    ucm = json.loads((folder / "ucm/dataset_ucm.json").read_text())
    captions.update(sentence["raw"] for row in ucm["images"] for sentence in row["sentences"])
    return sorted(captions)


@needs_java
def test_differs_from_the_jar_in_brackets_only(shared_data):
    captions = shared_captions(shared_data)
    jar = PTBTokenizer().tokenize({i: [{"caption": text}] for i, text in enumerate(captions)})
    differing = [text for i, text in enumerate(captions) if jar[i][0].split() != tokenize(text)]
    assert len(captions) > 14_000
    assert len(differing) <= 2, differing
    # The jar's lower-cased brackets (-lrb-) slip through coco-caption's upper-case filter.
    assert all(set("()[]{}") & set(text) for text in differing)


def test_words_joined_by_spaces_are_cut_the_same_way(shared_data):
    """A decoded caption is its words joined by spaces, so scoring must not cut it again."""
    for caption in shared_captions(shared_data):
        words = tokenize(caption)
        assert tokenize(" ".join(words)) == words
