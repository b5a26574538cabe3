"""Counterfactuals against a captioner whose every number is known in closed form (T-CF)."""

import dataclasses
import functools

import numpy as np
import pytest
from PIL import Image

from capjax.data.boxes.object_words import ObjectWords
from capjax.data.objects.region import Limits, Region
from capjax.inpaint.fills.crops import dilated
from capjax.metrics.similarity import Distance
from capjax.studies.contract import checked
from capjax.studies.counterfactual import reading
from capjax.studies.counterfactual.alignment import align, changes
from capjax.studies.counterfactual.attention import DISTANCES, distances, moved
from capjax.studies.counterfactual.measures import BITS, GAINED, GONE, LOST, NAME_BITS
from capjax.studies.counterfactual.plan import Asking, backgrounds
from capjax.studies.counterfactual.reading import pasted
from capjax.studies.counterfactual.removing import GivenObjects, Removing, reduced
from capjax.studies.counterfactual.study import Counterfactual
from capjax.studies.counterfactual.summary import (
    AGREEMENT,
    BIAS,
    TOLD_APART,
    Objects,
    bias,
    likenesses,
    robustness,
    summarised,
    told_apart,
)
from capjax.studies.counterfactual.telling import (
    ATTENTION,
    CHANCE,
    KEPT,
    OBJECTS,
    PAIRS,
    PLACES,
    SKIPPED,
    WITHOUT,
    z_score,
)
from capjax.viz.charts.line_chart import SHARPNESS
from capjax.viz.counterfactual.charts import SIDE, scatter_panels
from tests.studies.counterfactual.toys import LITTLE, bits, captioner, picture, subject

IMAGE, REGIONS = picture((0, 0, 0, 8), (1, 12, 0, 8), (2, 0, 12, 4))
"""Red and green are said, the small blue square is not."""
SAME = pasted(lambda images, masks: images)


def black(images, masks):
    return np.where(masks[..., None], 0, images).astype(np.uint8)


def grey(images, masks):
    return np.where(masks[..., None], 60, images).astype(np.uint8)


class Several(dict):
    """Objects of photographs by name."""

    def regions(self, name, image):
        return self.get(name)


def removing(source, removers=None, **asked):
    removers = removers or {"black": pasted(black)}
    asking = Asking(Limits(0, 1), tuple(removers), **asked)
    given = asking, source, removers, Distance(), ObjectWords({})
    return Removing(*given, at_once=4)


def findings(source, images, removers=None, **asked):
    own = removing(source, removers, **asked)
    return list(own.findings(captioner(), images.items()))


def rows(finding, title, key=0):
    table = finding.tables[title]
    return {row[key]: dict(zip(table.columns, row, strict=True)) for row in table.rows}


@functools.cache
def all_of_it():
    """One run with all that can be asked, of two photographs and one without objects."""
    other, _ = picture((0, 4, 4, 12))
    source = Several(
        {"a": REGIONS, "b": [dataclasses.replace(r, category="blue") for r in REGIONS]}
    )
    images = {"none": IMAGE, "a": IMAGE, "b": other}
    removers = {"black": pasted(black), "grey": pasted(grey)}
    return findings(source, images, removers, keep=True, pairs=9, controls=3)


def test_nothing_changes_where_the_fill_changes_nothing():
    (found,) = findings(GivenObjects(tuple(REGIONS)), {"a": IMAGE}, {"same": SAME})
    for own in found.record.without:
        assert own.caption.text == "red green nothing"
        assert set(own.numbers.values()) <= {0.0, None}
        places = own.moved["on it before"], own.moved["on it after"]
        assert places[0] == places[1]
        assert {value for name, value in own.moved.items() if not name.startswith("on it")} == {0}


def test_bits_words_and_ranking_are_those_of_the_closed_form():
    _, found, _ = all_of_it()
    table = rows(found, WITHOUT)
    assert table["nothing"]["caption"] == "red green nothing"
    by_black = [own for own in found.record.without if own.fill == "black"]
    for own, region, color in zip(by_black, REGIONS, range(3), strict=True):
        after = black(IMAGE[None], region.mask[None])[0]
        np.testing.assert_array_equal(own.picture, after)
        expected = bits(IMAGE, after)
        assert own.numbers[BITS] == pytest.approx(expected.sum(), abs=1e-4)
        if color < 2:
            assert own.numbers[NAME_BITS] == pytest.approx(expected[color], abs=1e-4)
            assert (own.numbers[LOST], own.numbers[GAINED], own.numbers[GONE]) == (1, 1, 1)
            assert own.caption.text == ("nothing green nothing", "red nothing nothing")[color]
        else:
            assert own.numbers[NAME_BITS] is None and own.numbers[GONE] is None
            assert own.numbers[LOST] == 0 and own.numbers[found.record.distance] == 0
    assert [own.named for own in by_black] == [True, True, False]
    red, green, blue = (own.numbers[BITS] for own in by_black)
    assert red == pytest.approx(green) and red > 5 > 0 > blue  # without blue its absence is surer
    assert found.numbers["objects"] == 3


def test_attention_lies_where_the_closed_form_says():
    _, found, _ = all_of_it()
    table = rows(found, ATTENTION)
    cells = 36
    on_red = [(4 * 1 + 4 * LITTLE) / (4 + cells * LITTLE), 4 * LITTLE / (4 + cells * LITTLE)]
    third = (1 + LITTLE) / (1 + cells * LITTLE)  # the blue cell, at the third word
    before = (on_red[0] + on_red[1] + 4 * LITTLE / (1 + cells * LITTLE)) / 3
    assert 0 < third < 1
    assert table["red"]["on it before"] == pytest.approx(before, abs=1e-5)
    after = (4 / cells + on_red[1] + 4 * LITTLE / (1 + cells * LITTLE)) / 3
    (red,) = [own for own in found.record.first if own.title == "red"]
    assert red.moved["on it after"] == pytest.approx(after, abs=1e-5)
    assert red.moved["same words, TV"] == pytest.approx(0, abs=1e-6)  # "green nothing" stay
    assert red.moved["all words, TV"] == pytest.approx((on_red[0] - 4 / cells) / 3, abs=1e-5)


def test_whatever_else_is_in_a_batch_changes_nothing():
    _, a, b = all_of_it()
    (alone,) = findings(GivenObjects(tuple(REGIONS)), {"a": IMAGE})
    turned = findings(GivenObjects(tuple(REGIONS[::-1])), {"a": IMAGE}, controls=3)[0]
    first = [own.numbers for own in a.record.first]
    assert [own.numbers for own in alone.record.first] == first
    assert [own.numbers for own in turned.record.first][::-1] == first
    assert rows(turned, CHANCE) == rows(a, CHANCE)
    # All three masks of b are called blue; it says red alone, and blue has no words to lose.
    assert [own.named for own in b.record.first] == [False] * 3
    assert [own.title for own in b.record.first] == ["blue", "blue 2", "blue 3"]


def test_pairs_what_is_kept_and_chance():
    none, found, _ = all_of_it()
    assert none.refused == "nothing is known of its objects"
    single = {own.title: own.numbers[BITS] for own in found.record.first}
    pair = rows(found, PAIRS, slice(0, 2))["red", "green"]
    both = black(IMAGE[None], (REGIONS[0].mask | REGIONS[1].mask)[None])[0]
    assert pair[BITS] == pytest.approx(bits(IMAGE, both).sum(), abs=1e-4)
    assert pair[f"{BITS}, pair - sum"] == pytest.approx(
        pair[BITS] - single["red"] - single["green"]
    )
    kept = rows(found, KEPT)["green"]
    alone = black(IMAGE[None], ~REGIONS[1].mask[None])[0]
    assert kept["caption"] == "nothing green nothing"
    assert kept[BITS] == pytest.approx(bits(IMAGE, alone).sum(), abs=1e-4)
    chance = rows(found, CHANCE)["blue"]  # black in black: no background costs anything
    assert (chance["backgrounds"], chance[f"{BITS}, mean"], chance[f"{BITS}, z"]) == (3, 0, None)
    assert z_score(4.0, np.array([1.0, 2.0, 3.0])) == 2.0
    assert z_score(4.0, np.array([1.0])) is None


def test_backgrounds_have_the_objects_shape_and_miss_all_objects():
    mask = np.zeros((20, 30), bool)
    mask[3:7, 4:6] = mask[6, 4:9] = True
    taken = mask.copy()
    taken[:, 15:] = True
    found = backgrounds(mask, taken, 5, np.random.default_rng(0))
    assert len(found) == 5 and all(own.sum() == mask.sum() for own in found)
    assert not any(np.any(own & taken) for own in found)
    assert backgrounds(mask, np.ones_like(mask), 5, np.random.default_rng(0)) == []
    own = Asking(Limits(0, 1), ("black",), controls=5, dilate=3).plan(IMAGE, REGIONS)
    grown = [dilated(one.mask, 3) for one in own.removals if one.kind == "background"]
    objects = np.any([region.mask for region in REGIONS], axis=0)
    assert grown and not any(np.any(mask & objects) for mask in grown)


def test_all_photographs_run_in_one_program_and_only_masks_are_filled():
    reading._forced.clear_cache()
    other, _ = picture((0, 4, 4, 12))
    source = Several({"a": REGIONS, "b": REGIONS[:1]})
    assert len(findings(source, {"a": IMAGE, "b": other}, pairs=9, controls=3)) == 2
    assert reading._forced._cache_size() == 1
    painted = pasted(lambda images, masks: np.full_like(images, 9))
    (after,) = painted([IMAGE], [REGIONS[0].mask])
    assert (after[REGIONS[0].mask] == 9).all()
    np.testing.assert_array_equal(after[~REGIONS[0].mask], IMAGE[~REGIONS[0].mask])
    halved = {"half": lambda images, masks: [image[::2] for image in images]}
    with pytest.raises(ValueError, match="the fill 'half' made uint8 .*a fill keeps size"):
        findings(GivenObjects(tuple(REGIONS)), {"a": IMAGE}, halved)


def test_objects_that_are_not_fit_are_listed():
    crowd = dataclasses.replace(REGIONS[1], crowd=True)
    (found,) = findings(GivenObjects((REGIONS[0], crowd)), {"a": IMAGE})
    assert list(rows(found, OBJECTS)) == ["red"] and found.numbers["left as they are"] == 1
    assert rows(found, SKIPPED)["green"]["why"] == "a crowd, not one object"
    (nothing,) = findings(GivenObjects((crowd,)), {"a": IMAGE})
    assert nothing.refused == "no object to remove of 1: 1 × a crowd, not one object"
    whole = Region("red", np.arange(576).reshape(24, 24) > 20, "box")
    (all_over,) = findings(GivenObjects((whole,)), {"a": IMAGE}, dilate=5)
    assert "grown by 5 pixels, covers all" in all_over.refused
    (odd,) = findings(GivenObjects((REGIONS[0],)), {"a": IMAGE[:12]})
    assert odd.refused.startswith("a mask is (24, 24) and its photograph (12, 24)")


def test_what_a_fill_cannot_fill_is_listed_and_stops_nothing():
    def up_to(pixels):
        def fill(images, masks):
            if (masks.sum(axis=(1, 2)) > pixels).any():
                raise ValueError("the hole is too large")
            return black(images, masks)

        return pasted(fill)

    source, images = GivenObjects(tuple(REGIONS)), {"a": IMAGE, "b": IMAGE}
    asked = {"keep": True, "pairs": 9}
    first = [own.numbers for own in all_of_it()[1].record.first]
    for found in findings(source, images, {"black": up_to(100)}, **asked):
        assert [own.numbers for own in found.record.first] == first
        assert [*rows(found, PAIRS, slice(0, 2))] == [("red", "blue"), ("green", "blue")]
        assert KEPT not in found.tables and found.numbers["left as they are"] == 0
        reasons = [row[2] for row in found.tables[SKIPPED].rows]
        assert "it and another cannot be removed by black: the hole is too large" in reasons
        assert sum(why.startswith("all but it") for why in reasons) == 3
    # The first fill decides which objects are told of; others may miss some of them.
    small = {"first": up_to(20), "second": up_to(100)}
    found, _ = findings(source, images, small, **asked)
    assert [(own.title, own.fill) for own in found.record.without] == [
        ("blue", "first"),
        ("blue", "second"),
    ]
    assert list(rows(found, OBJECTS)) == ["blue"] and found.numbers["left as they are"] == 2
    swapped = dict([*small.items()][::-1])
    found, _ = findings(source, images, swapped)
    assert [own.numbers for own in found.record.first] == first
    summary = Objects.of([found]).importance["first"][BITS]
    assert np.isfinite(summary).tolist() == [False, False, True]
    for found in findings(source, images, {"black": up_to(1)}):
        assert found.refused.startswith("no object to remove of 3: 3 × it cannot be removed by")


def test_words_are_aligned_by_their_longest_common_subsequence():
    before, after = "a man on a red horse".split(), "a dog on a horse there".split()
    found = align(before, after)
    assert found.pairs == ((0, 0), (2, 2), (3, 3), (5, 4))
    assert (found.lost, found.gained) == ((1, 4), (1, 5))
    told = changes(before, after)
    assert [word for word, change in told if change != "gained"] == before
    assert [word for word, change in told if change != "lost"] == after
    assert told[:3] == (("a", "kept"), ("man", "lost"), ("dog", "gained"))
    assert changes((), ("a",)) == (("a", "gained"),) and align((), ()).pairs == ()


def test_distances_of_attention_are_the_golden_ones():
    p, q = np.array([0.7, 0.2, 0.1]), np.array([0.1, 0.6, 0.3])
    found = distances(3 * p, q)  # of shares: whatever the sums are
    assert [float(found[name]) for name in DISTANCES] == pytest.approx(
        [0.6, 0.205038, 0.558585], abs=1e-6
    )
    assert {float(value) for value in distances(p, p).values()} == {0.0}
    none = moved(np.stack([p]), np.stack([q]), align(("a",), ("b",)))
    assert none["same words, TV"] is None and none["all words, TV"] == pytest.approx(0.6)


def test_the_summary_tells_mentioned_objects_from_others():
    found = all_of_it()
    summary = summarised(found)
    assert summary.numbers == {"objects": 6.0, "photographs": 2.0}
    objects = Objects.of(found)
    assert objects.photographs == ("a",) * 3 + ("b",) * 3
    measured = told_apart(objects)["black", "all", BITS]
    truth, values = np.array([1, 1, 0, 0, 0, 0]), objects.importance["black"][BITS]
    wins = np.sign(values[truth == 1][:, None] - values[truth == 0][None])
    assert measured["AUC"]["value"] == pytest.approx(((wins + 1) / 2).mean())
    assert (measured["mentioned"], measured["others"]) == (2, 4)
    assert {row[0] for row in summary.tables[TOLD_APART].rows} == {"black", "grey"}
    (row,) = summary.tables[AGREEMENT].rows
    assert row[:2] == ("black, grey", 6)
    assert ("lower edge", BITS) in {row[:2] for row in summary.tables[BIAS].rows}
    assert set(next(iter(summary.curves.values())).lines) == {"black", "grey"}
    assert summarised([found[0]]).tables == {}


def test_objects_without_a_class_are_no_class_and_all_sizes_count():
    places = {
        "class": [None, "dog", None, "dog", "cat"],
        "outline": ["proposal"] * 5,
        **{name: [0.0005, 0.001, 0.02, 0.25, 0.5] for name in PLACES},
        "named": [None, 1, None, 0, 1],
    }
    distances = np.array([0.1, 0.2, 0.3, 0.4, 0.9])
    known = {"photographs that show it": {"dog": 7.0}}
    fill = {"fill": {"sentence distance": distances}}
    objects = Objects(("a", "b", "a", "b", "c"), places, fill, classes=known)
    found = likenesses(objects)
    for name, expected in (
        ("photographs with its class", [np.nan, 1, np.nan, 1, 1]),
        ("how often captions name its class", [np.nan, 1, np.nan, 1, 1]),
        ("photographs that show it", [np.nan, 7, np.nan, 7, 0]),
    ):
        np.testing.assert_array_equal(found[name], expected)
    counts = {what: own["objects"] for (what, _), own in bias(objects).items()}
    assert (counts["lower edge"], counts["photographs that show it"]) == (5, 3)
    less = {"edge": found["lower edge"], "nothing": np.full(5, np.nan)}
    assert scatter_panels(less, objects, "sentence distance").height < 2 * SIDE * SHARPNESS
    line = robustness(objects, "fill")
    assert [y for _, y in line] == pytest.approx([0.15, 0.3, 0.4, 0.9])
    assert line[-1][0] == pytest.approx(np.log10(0.5))


def test_options_say_what_is_wrong_with_them(tmp_path):
    for wrong, told in (
        ({"least": 0.5}, "sizes from 0.5 to 0.25"),
        ({"others": "mean,mean"}, "name each once"),
        ({"controls": -1}, "controls=-1"),
        ({"at_once": 0}, "at_once=0"),
    ):
        with pytest.raises(ValueError, match=told):
            Counterfactual(**wrong)
    with pytest.raises(ValueError, match="needs objects to remove"):
        Counterfactual().check(captioner())
    with pytest.raises(ValueError, match="unknown fill 'none'"):
        Counterfactual(objects=str(tmp_path), fill="none").check(captioner())
    clips = dataclasses.replace(
        captioner(), preprocessing=dataclasses.replace(captioner().preprocessing, frames=2)
    )
    with pytest.raises(ValueError, match="this captioner sees clips"):
        Counterfactual().check(clips)
    assert reduced(np.zeros((100, 50, 3), np.uint8), 20).shape == (20, 10, 3)


def test_the_study_removes_what_pictures_of_masks_say(tmp_path):
    Image.fromarray(255 * REGIONS[0].mask.astype(np.uint8)).save(tmp_path / "a.png")
    study = Counterfactual(objects=str(tmp_path), fill="mean", dilate=1, at_once=4)
    study.check(captioner())
    (found,) = checked(study, [subject("a.jpg", IMAGE)], captioner())
    (row,) = list(rows(found, WITHOUT).values())[1:]
    assert row["caption"] == "nothing green nothing" and row["fill"] == "mean"
    outside = found.pictures["without object"][12:]
    np.testing.assert_array_equal(outside, IMAGE[12:])
    assert found.spots["without object"].box == (0, 0, 8 / 24, 8 / 24)
    assert study.summarise([found]).numbers["objects"] == 1
