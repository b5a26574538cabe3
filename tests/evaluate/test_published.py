"""Published scores beside an evaluation's, each with its split."""

import pytest

from capjax.evaluate.published import ENTRIES, format_published, read_published
from capjax.metrics.published import FACTS

SCORES = {"BLEU-1": 0.61, "BLEU-4": 0.17, "METEOR": None, "CIDEr": 0.5, "n": 1000, "card": {}}

# Typed from the documents, in their own units: Table 1 of the one, Table 3 of the other.
TABLES = {
    "fosado.coco": {"BLEU-1": 70.0, "BLEU-2": 52.3, "BLEU-3": 38.2, "BLEU-4": 27.3},
    "ramanishka2017_soft.msvd": {"METEOR": 30.0},
    "ramanishka2017.msvd": {"METEOR": 31.0},
    "ramanishka2017_soft.msrvtt": {"METEOR": 25.4},
    "ramanishka2017.msrvtt": {"METEOR": 25.9},
    "ramanishka2017_soft.flickr30k": {"METEOR": 18.5},
    "ramanishka2017.flickr30k": {"METEOR": 18.3},
}


@pytest.mark.parametrize("name", TABLES)
def test_tables_are_as_printed(name):
    scores = {key: value for key, value in ENTRIES[name].items() if key not in FACTS}
    assert {key: 100 * value for key, value in scores.items()} == pytest.approx(TABLES[name])
    assert "split" not in ENTRIES[name]  # the documents name none


def test_a_score_of_the_test_split_stands_beside_one_of_the_test_split():
    entries = read_published("xu2015_soft.flickr8k")
    heads, ours, theirs = format_published(SCORES, "test", entries).splitlines()
    assert heads.split() == ["split", "BLEU-1", "BLEU-4", "METEOR"]
    assert ours.split() == ["scored", "here", "test", "0.610", "0.170"]
    assert theirs.split()[-4:] == ["test", "0.670", "0.195", "0.189"]
    assert theirs.startswith("Xu et al. 2015, Table 1, soft attention")


@pytest.mark.parametrize(
    ("split", "names"),
    [("val", "xu2015_soft.flickr8k"), (None, "fosado.coco"), ("test", "fosado.coco")],
)
def test_other_splits_are_said_not_to_compare(split, names):
    *rows, warning = format_published(SCORES, split, read_published(names)).splitlines()
    assert warning.endswith("do not compare")
    unnamed = [row for row in rows if "not named" in row]
    assert len(unnamed) == (split is None) + (names == "fosado.coco")


def test_unknown_names_are_refused_with_those_there_are():
    with pytest.raises(ValueError, match=r"known as 'xu2015_soft'; choose from: xu2015_soft\.fl"):
        read_published("xu2015_soft")
