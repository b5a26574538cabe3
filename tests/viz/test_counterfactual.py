"""Pictures of counterfactuals: colours of objects, what is tapped, what is said."""

import dataclasses
import functools
import re

import numpy as np

from capjax.folder.stored_findings import StoredFinding
from capjax.studies.contract import Finding, Spot
from capjax.studies.counterfactual.measures import BITS
from capjax.studies.counterfactual.reading import pasted
from capjax.studies.counterfactual.removing import GivenObjects
from capjax.viz.colormaps import colour_table
from capjax.viz.counterfactual.pictures import LEAST, OPACITY, importance, sheet
from capjax.viz.findings import finding_html, with_drawn
from tests.studies.counterfactual.test_counterfactual import IMAGE, REGIONS, black, findings


@functools.cache
def found():
    return findings(GivenObjects(tuple(REGIONS)), {"a": IMAGE}, {"black": pasted(black)})[0]


def test_objects_are_coloured_from_zero_to_the_most_important_one():
    record = found().record
    large = dataclasses.replace(record, image=np.kron(IMAGE, np.ones((20, 20, 1), np.uint8)))
    drawn = importance(large, BITS).astype(int)
    assert drawn.shape == (480, 480, 3)
    place = {"red": (4, 4), "blue": (150 + 90, 4), "outside": (460, 460)}
    levels = {"red": 255, "blue": round(255 * LEAST)}
    for name, channel in (("red", 0), ("blue", 2)):
        at = place[name]
        expected = OPACITY * colour_table("heat")[levels[name]].astype(float)
        expected[channel] += (1 - OPACITY) * 255
        near = drawn[at[0] + 6, at[1] + 6]
        np.testing.assert_allclose(near, expected, atol=1)
    assert np.ptp(drawn[place["outside"]]) == 0  # grey


def test_the_sheet_shows_attention_where_there_is_some():
    record = found().record
    assert sheet(record).shape[1] > 4 * 220
    blind = dataclasses.replace(
        record,
        attention=None,
        without=tuple(dataclasses.replace(own, attention=None) for own in record.without),
    )
    assert 2 * 220 < sheet(blind).shape[1] < 3 * 220
    assert sheet(blind).shape[0] > 3 * 220


def test_a_tapped_object_shows_the_picture_without_it():
    drawn = with_drawn(found())
    assert list(drawn.pictures)[3:] == ["without red", "without green", "without blue"]
    assert drawn.record is None and with_drawn(drawn) is drawn
    page = finding_html("counterfactual", drawn)
    spots = re.findall(r'class="spot" data-view="(\d)".*?title="([^"]+)"', page)
    assert sorted(spots) == [("1", "without red"), ("2", "without green"), ("3", "without blue")]
    stage = page[page.index('class="stage"') : page.index("</div>")]
    assert stage.count("<img") == 4 and stage.count(" hidden>") == 3
    assert "<b>without red:</b> <del>red</del> <ins>nothing</ins> green nothing" in page
    assert page.count("<figure>") == 2  # the other importance, and the sheet
    assert 'role="group" tabindex="0" aria-label="objects">' in page  # a wide table takes the keys
    inner = Finding(
        "a", {"photo": IMAGE, "small": IMAGE, "large": IMAGE}, spots={
            "small": Spot((0.1, 0.1, 0.2, 0.2)), "large": Spot((0, 0, 1, 1)),
        },
    )  # fmt: skip
    inside = re.findall(r'data-view="(\d)"', finding_html("own", inner))
    assert inside == ["2", "1"]  # the smaller place lies on top


def test_spots_are_stored_with_a_finding(tmp_path):
    spots = found().spots
    stored = StoredFinding({"fill": "mean"}, spots=spots)
    assert StoredFinding.from_json(stored.to_json()) == stored
    assert stored.load("a", tmp_path).spots == spots
    assert "spots" not in StoredFinding({}).to_json()
