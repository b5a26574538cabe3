"""Tables of faithfulness, where scores agree, and what one rule alone says; of made-up numbers."""

import csv

import numpy as np
import pytest

from capjax.metrics.agreement import disagreements, only_by_one_rule, rank_agreement
from capjax.metrics.faithfulness_summary import summarise_method
from capjax.metrics.faithfulness_table import faithfulness_csv, format_faithfulness

ALIKE = {"spearman": [0.2, 0.6], "spearman_abs": [0, 0], "ssim": [0, 0]}
SAME = {"spearman": [1.0, 1.0], "spearman_abs": [1, 1], "ssim": [1, 1]}


def method(area, hits, pixels, *, alike=ALIKE, checked=True):
    """Two words and two phrases of an image."""
    checks = {
        "cascading": {"readout": SAME, "encoder": alike},
        "captions": {"another image's": alike},
        "max_sensitivity": [0.5, None],
    }
    return {
        "curves": {
            "deletion": [[1.0, area, 0.0], [0.004, 0.002, 0.0]],
            "insertion": [[0.0, 1 - area, 1.0], [0.0, 0.002, 0.004]],
            "road_morf": [[0.5, 0.1], [0.0, 0.2]],
            "road_lerf": [[0.9, 0.7], [0.1, 0.1]],
        },
        "relative_infidelity": [0.4, 0.6],
        "infidelity": [0.01, 0.03],
        "gini": [0.1, 0.1],
        "entropy": [0.9, 0.9],
        "words_distance": [0.3],
        "phrases": {
            "pointing_game": [hits, hits],
            "pointing_pixels": [pixels, pixels],
            "attention_correctness": [0.5, 0.5],
            "correctness_span": [0.5, 0.5],
            "centre": [0.5, 0.5],
            "random": [0.1, 0.1],
            "uniform": [0.1, 0.1],
        },
        "checks": checks if checked else {},
    }


@pytest.fixture
def records():
    return [
        {
            "image": str(image),
            # Of the first image nothing but compilation was timed.
            "seconds": {"sharp": 0.5, "corner": 2.0, "edges": 0.1} if image else {},
            "words": ["a", "dog"],
            "intact": [1.0, 0.004],
            "methods": {
                "sharp": method(0.2, 1.0, 1.0, checked=not image),
                "corner": method(0.4, 1.0, 0.0, checked=not image),
                "edges": method(0.6, 0.0, 0.0, alike=SAME, checked=not image),
            },
        }
        for image in range(3)
    ]


def test_a_method_has_means_intervals_and_levels(records):
    own = summarise_method(records, "sharp")
    areas = [(1 + 0.4) / 4, 0.002]  # G-20's rule: (s_0 / 2 + s_1 + s_2 / 2) / 2
    assert own["deletion"] == pytest.approx(np.mean(areas))
    assert own["deletion_of_intact"] == pytest.approx(areas[0])  # the other word is improbable
    assert own["road_morf"] == pytest.approx(np.mean([0.3, 0.1]))
    assert own["curves"]["deletion"] == pytest.approx([0.502, 0.101, 0])
    assert own["n"]["deletion"] == 6 and own["images"]["deletion"] == 3
    assert own["n"]["randomisation"] == 2 and own["images"]["randomisation"] == 1
    assert own["randomisation"] == pytest.approx(0.4) and not own["insensitive"]
    assert own["randomisation_levels"]["cascading"]["readout"]["ssim"] == 1
    assert own["max_sensitivity"] == 0.5 and own["n"]["max_sensitivity"] == 1
    assert own["baselines"] == pytest.approx({"centre": 0.5, "random": 0.1, "uniform": 0.1})
    assert own["images_per_second"] == 2
    assert own["relative_infidelity"] == 0.5 and own["infidelity"] == pytest.approx(0.02)
    assert summarise_method(records, "edges")["insensitive"]
    for name, (low, high) in own["interval"].items():
        assert low <= own[name] + 1e-12 and own[name] <= high + 1e-12


def test_without_checks_and_times_nothing_is_said_of_them(records):
    (first, *_) = records
    first["methods"]["sharp"]["checks"] = {}
    own = summarise_method([first], "sharp")
    unknown = {"randomisation", "other_caption", "max_sensitivity", "insensitive"}
    assert not {*unknown, "images_per_second"} & own.keys()
    assert own["randomisation_levels"] == {} and own["relative_infidelity"] == 0.5
    title, row = format_faithfulness({"sharp": own}).splitlines()[:2]
    assert "max-sensitivity" not in title and row.split()[-1] == "-"


def test_the_table_names_reasons_and_the_insensitive(records):
    scores = {label: summarise_method(records, label) for label in ("sharp", "corner", "edges")}
    scores["rollout"] = {"refused": "no attention to roll out"}
    pairs = rank_agreement({name: scores[name] for name in ("sharp", "corner", "edges")})
    text = format_faithfulness(scores, pairs, ["three images"])
    lines = text.splitlines()
    assert "edges (insensitive)" in text and "rollout: no attention to roll out" in lines
    assert lines[-1] == "note: three images"
    assert "infidelity, relative ↓" in lines[0] and "infidelity  " not in lines[0]
    assert "1.000 1.00–1.00" in lines[1] and lines[1].endswith("2")
    rows = list(csv.DictReader(faithfulness_csv(scores).splitlines()))
    assert [row["method"] for row in rows] == list(scores)
    assert float(rows[0]["deletion"]) == pytest.approx(scores["sharp"]["deletion"])
    assert rows[3]["refused"] == "no attention to roll out" and not rows[3]["deletion"]


def test_scores_that_order_methods_in_opposite_ways_are_said():
    scores = {
        name: {"pointing_game": hit, "deletion": area, "insertion": rise}
        for name, hit, area, rise in (("a", 1, 0.5, 0.9), ("b", 0.5, 0.4, 0.5), ("c", 0, 0.3, 0.1))
    }
    pairs = rank_agreement(scores)
    assert {tuple(pair["scores"]): pair["spearman"] for pair in pairs} == pytest.approx(
        {
            ("pointing_game", "deletion"): -1,
            ("pointing_game", "insertion"): 1,
            ("deletion", "insertion"): -1,
        }
    )
    told = disagreements(pairs)
    assert len(told) == 2
    assert told[0] == (
        "pointing game and deletion disagree on 3 methods (Spearman -1.00, Kendall -1.00): the one "
        "puts a first, the other c"
    )
    assert rank_agreement({name: scores[name] for name in "ab"}) == []


def test_conclusions_of_one_rule_alone_are_said(records):
    told = only_by_one_rule(records, ["sharp", "corner", "edges"])
    assert told == ["corner is above the centre by cell centres, and below it by pixels"]
