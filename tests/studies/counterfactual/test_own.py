"""Masks and fills of one's own, and proposals where nobody drew a mask."""

import json

import numpy as np
import pytest
from PIL import Image

import capjax
from capjax.data.boxes.object_words import ObjectWords
from capjax.inpaint.fills.mean import Mean
from capjax.studies.counterfactual.own import OwnCounterfactual, given_regions
from capjax.studies.counterfactual.proposals import (
    ProposedObjects,
    alike_regions,
    high_regions,
    on_original,
)
from capjax.studies.counterfactual.study import Counterfactual
from capjax.types import Preprocessing
from tests.studies.counterfactual.test_counterfactual import IMAGE, REGIONS, black
from tests.studies.counterfactual.toys import captioner

MASKS = {region.category: region.mask for region in REGIONS}


def test_a_notebook_sees_the_world_without_each_object():
    own = {"methods": ("attention",), "at_once": 4}
    result = capjax.counterfactual(captioner(), IMAGE, masks=MASKS, fill=black, **own)
    found = result.findings["counterfactual"]
    (table,) = (own for title, own in found.tables.items() if title.startswith("the picture"))
    assert [row[:3] for row in table.rows[:3]] == [
        ("nothing", None, "red green nothing"),
        ("red", "own", "nothing green nothing"),
        ("green", "own", "red nothing nothing"),
    ]
    page = result._repr_html_()
    assert "without red" in page and "class=&quot;spot&quot;" in page
    assert list(found.pictures)[0].startswith("importance")


def test_files_of_objects_know_photographs_by_their_paths(tmp_path):
    boxes = {0: [0, 0, 8, 8], 1: [0, 0, 8, 8], 139: [12, 0, 8, 8], 200: [0, 12, 4, 4]}
    found = [
        {"image_id": number, "category": "it", "bbox": box, "score": 1}
        for number, box in boxes.items()
    ]
    objects = tmp_path / "results.json"
    objects.write_text(json.dumps(found))
    paths = [tmp_path / f"{number:012d}.png" for number in (139, 200)]
    for path in paths:
        Image.fromarray(IMAGE).save(path)
    study = Counterfactual(objects=str(objects), fill="mean", at_once=4)
    explained = capjax.explain(captioner(), paths, methods=("attention",), studies=[study])
    for own, number in zip(explained, (139, 200), strict=True):
        x, y, width, height = (end / 24 for end in boxes[number])
        spot = own.findings["counterfactual"].spots["without it"]
        assert spot.box == pytest.approx((x, y, x + width, y + height))
    given = {"objects": str(objects), "methods": ("attention",), "at_once": 4}
    with pytest.raises(ValueError, match="image 0 is a ndarray, .* give the path, or masks="):
        capjax.counterfactual(captioner(), IMAGE, **given)
    dog = {"id": 1, "name": "dog"}
    image = {"id": 5, "file_name": paths[0].name, "width": 24, "height": 24}
    empty = {"image_id": 5, "category_id": 1, "bbox": [0, 0, 0, 4]}
    instances = {"images": [image], "annotations": [empty], "categories": [dog]}
    objects.write_text(json.dumps(instances))
    with pytest.warns(UserWarning, match="left out: 1 objects with an empty box"):
        nothing = capjax.counterfactual(captioner(), paths[0], **given)
    assert nothing.findings["counterfactual"].refused == "no object to remove of 0"


def test_masks_of_any_kind_become_regions():
    for masks in (np.stack([*MASKS.values()]), [*MASKS.values()], MASKS):
        np.testing.assert_array_equal(given_regions(masks)[1].mask, REGIONS[1].mask)
    (single,) = given_regions(255 * REGIONS[0].mask.astype(np.uint8))
    assert single.mask.dtype == bool and single.category is None
    for wrong, told in (
        ("masks.png", "expected {name: mask"),
        ([np.zeros(3)], r"mask of shape \(3,\)"),
        ([], "got no masks"),
    ):
        with pytest.raises(ValueError, match=told):
            given_regions(wrong)
    grown = OwnCounterfactual.of(MASKS, Mean(), dilate=2).remover("mean")
    (picture,) = grown([IMAGE], [REGIONS[2].mask])
    changed = np.any(picture != IMAGE, axis=-1)
    assert changed[REGIONS[2].mask].all() and np.argwhere(changed).max() < 18


def test_superpixels_are_merged_by_maps_and_by_colour():
    labels = np.arange(16).reshape(4, 4)
    values = np.zeros((4, 4))
    values[0, 0], values[3, 2:], values[1, 1] = 1.0, (0.6, 0.8), 0.4
    first, second = high_regions(labels, values)
    assert (first.sum(), second.sum()) == (1, 2) and second[3, 3]
    assert high_regions(labels, np.ones((4, 4))) == []
    image = np.zeros((4, 4, 3), np.uint8)
    image[1:3, 1:3] = (200, 30, 30)
    image[1, 1] = (210, 20, 30)
    (square,) = alike_regions(image, labels, np.zeros((4, 4), bool))
    np.testing.assert_array_equal(square, image[..., 0] > 0)  # the ground is none
    (rest,) = alike_regions(image, labels, image[..., 0] == 210)
    assert rest.sum() == 3


def test_a_proposal_lies_over_the_whole_photograph():
    cut = Preprocessing((4, 4), resize="crop", shorter=4).geometry((8, 16), (1, 1))
    mask = on_original(np.ones((4, 4), bool), cut)
    assert mask.shape == (8, 16)
    assert mask[:, 4:12].all() and not mask[:, :4].any() and not mask[:, 12:].any()


def test_the_captions_nouns_are_proposed_first():
    pytest.importorskip("skimage")
    words = ObjectWords({("red",): ("red",), ("green",): ("green",)})
    source = ProposedObjects(captioner(), words, "attention", segments=36)
    found = source.regions("any", IMAGE)
    assert [region.category for region in found[:2]] == ["red", "green"]
    for region, true in zip(found[:2], REGIONS, strict=False):
        both = np.sum(region.mask & true.mask) / np.sum(region.mask | true.mask)
        assert both > 0.5 and region.outline == "proposal"
