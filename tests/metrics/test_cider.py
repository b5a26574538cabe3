"""CIDEr-D of single captions: the golden corpus, and pycocoevalcap on real captions."""

import json
import random

import numpy as np
import pytest
from pycocoevalcap.cider.cider import Cider

from capjax.metrics.cider import CiderD
from capjax.text.ptb_lite import tokenize

GOLDEN = [
    (
        "a man is climbing a rock wall",
        [
            "a man is climbing a rock wall",
            "a man climbs up a steep rock face outside",
            "the climber scales a wall",
        ],
        3.963901,
    ),
    (
        "a bird flying over water",
        [
            "a large bird is flying over water",
            "a bird flies over the lake",
            "big white bird over water",
        ],
        2.583063,
    ),
    (
        "two dogs run on the grass",
        ["two dogs run on the grass", "dogs playing in a field"],
        5.275653,
    ),
]


def test_golden_corpus():
    scorer = CiderD([[text.split() for text in refs] for _, refs, _ in GOLDEN])
    found = [scorer.scores(i, [caption.split()])[0] for i, (caption, _, _) in enumerate(GOLDEN)]
    np.testing.assert_allclose(found, [score for _, _, score in GOLDEN], atol=1e-5)


def test_real_captions_score_as_with_pycocoevalcap(shared_data):
    file = shared_data / "coco" / "annotations" / "captions_val.json"
    by_image: dict[int, list[list[str]]] = {}
    for entry in json.loads(file.read_text())["annotations"]:
        by_image.setdefault(entry["image_id"], []).append(tokenize(entry["caption"]))
    references = list(by_image.values())[:150]
    shuffled = random.Random(0)
    written = [list(shuffled.choice(own)) for own in references]
    for words in written[::2]:  # some are scrambled, some cut, one is empty
        shuffled.shuffle(words)
        del words[shuffled.randint(3, 9) :]
    written[7] = []
    _, expected = Cider().compute_score(
        {i: [" ".join(words) for words in own] for i, own in enumerate(references)},
        {i: [" ".join(words)] for i, words in enumerate(written)},
    )
    scorer = CiderD(references)
    found = [scorer.scores(i, [words])[0] for i, words in enumerate(written)]
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_several_captions_at_once_and_no_corpus():
    scorer = CiderD([["a cat".split()], ["a dog".split()]])
    assert scorer.scores(0, [["cat"], ["dog"]])[1] == 0.0
    assert scorer.scores(0, [["cat"], ["dog"]])[0] > 0.0
    with pytest.raises(ValueError, match="no references"):
        CiderD([])
