"""Objects as masks: from each kind of file against masks that are known, and which are fit."""

import json

import numpy as np
import pytest
from PIL import Image

from capjax.data.objects.annotated import COCO_IDS, read_objects
from capjax.data.objects.pictures import MaskFolder
from capjax.data.objects.region import Limits, Region, box_mask, box_of, covered, place, titles
from capjax.data.objects.scene_objects import SceneObjects, scene_regions
from capjax.data.scenes import Scenes, scene
from tests.data.boxes.test_instances import FILE

PICTURE = np.zeros((4, 6, 3), np.uint8)
SQUARE = box_mask((1, 1, 2, 2), (4, 6))


def written(tmp_path, body):
    path = tmp_path / "objects.json"
    path.write_text(json.dumps(body))
    return path


def test_instances_become_masks_of_the_photograph_at_any_size(tmp_path):
    source = read_objects(written(tmp_path, FILE))
    dog, crowd = source.regions("elsewhere/x.jpg", PICTURE)
    np.testing.assert_array_equal(dog.mask, SQUARE)
    assert (dog.category, dog.outline, crowd.outline, crowd.crowd) == (
        "dog",
        "polygon",
        "runs",
        True,
    )
    larger, _ = source.regions("x.jpg", np.zeros((8, 12, 3), np.uint8))
    np.testing.assert_array_equal(larger.mask, np.kron(SQUARE, np.ones((2, 2), bool)))
    assert source.regions("other.jpg", PICTURE) is None
    with pytest.raises(ValueError, match=r"x\.jpg has 4x6 pixels .* 6x4, of another shape"):
        source.regions("x.jpg", np.zeros((6, 4, 3), np.uint8))


def test_a_detectors_results_are_known_by_number_name_and_class(tmp_path):
    runs = {"size": [2, 3], "counts": "122O"}
    entries = [
        {"image_id": 139, "category_id": 18, "bbox": [1, 1, 2, 2], "score": 0.4},
        {"image_id": 139, "category_id": 90, "segmentation": runs, "score": 0.9},
        {"image_id": "x", "category": "kiwi", "bbox": [4.6, 2.6, 9, 9], "score": 1},
    ]
    source = read_objects(written(tmp_path, entries))
    brush, dog = source.regions("COCO_val2014_000000000139.jpg", PICTURE)
    assert (brush.category, dog.category, dog.score) == ("toothbrush", "dog", 0.4)
    np.testing.assert_array_equal(dog.mask, SQUARE)
    golden = np.array([[0, 1, 0], [1, 0, 1]], bool)
    np.testing.assert_array_equal(brush.mask, np.kron(golden, np.ones((2, 2), bool)))
    (kiwi,) = source.regions("a/x.png", PICTURE)
    assert kiwi.category == "kiwi" and box_of(kiwi.mask) == (5, 3, 5, 3)  # cut at the border
    assert (len(COCO_IDS), COCO_IDS[1], COCO_IDS[13], COCO_IDS[84]) == (
        *(80, "person", "stop sign"),
        "book",
    )
    damaged = tmp_path / "damaged.json"
    damaged.write_text("# objects")
    with pytest.raises(ValueError, match=r"damaged\.json is no JSON of objects"):
        read_objects(damaged)
    entry = {"image_id": 1, "category_id": 1, "bbox": [0, 0, 1, 1]}
    for more, told in (
        ({}, "entry 0 .*'?score"),
        ({"segmentation": {"size": [4, 6]}}, "of entry 0 lacks 'counts'"),
        ({"segmentation": {"size": [4], "counts": "1"}}, r"'size' is the list \[4\]"),
        ({"segmentation": {"size": [4, 0], "counts": []}}, "'size'"),
        ({"segmentation": [[1, 2]]}, "entry 0: 'segmentation' is"),
    ):
        score = {"score": 1} if more else {}
        with pytest.raises(ValueError, match=told):
            read_objects(written(tmp_path, [{**entry, **score, **more}]))
    texts = {**entry, "score": "0.5", "bbox": ["0", "0", "1", "1"], "segmentation": {}}
    (text,) = read_objects(written(tmp_path, [texts])).regions("1.jpg", PICTURE)
    assert (text.score, text.outline, box_of(text.mask)) == (0.5, "box", (0, 0, 0, 0))


def test_masks_drawn_as_pictures(tmp_path):
    labels = (SQUARE + 7 * box_mask((4, 0, 1, 4), (4, 6))).astype(np.uint8)
    (tmp_path / "b").mkdir()
    Image.fromarray(labels).convert("P").save(tmp_path / "a.png")
    for name in ("dog_1", "dog_2", "17"):
        Image.fromarray(255 * SQUARE.astype(np.uint8)).save(tmp_path / "b" / f"{name}.png")
    source = MaskFolder(tmp_path)
    first, second = source.regions("sub/a.jpg", PICTURE)
    np.testing.assert_array_equal(first.mask, SQUARE)
    assert np.count_nonzero(second.mask) == 4 and second.category is None
    several = source.regions("b.jpg", PICTURE)
    assert titles(several) == ["object", "dog", "dog 2"]
    assert source.regions("c.jpg", PICTURE) is None
    within = MaskFolder(tmp_path / "b")  # a photograph beside the folder is no mask in it
    assert within.files("../a.png") == within.files("b/../../a.png") == {}
    assert [*source.files("/photographs/b/dog_1.jpg")] == [tmp_path / "b" / "dog_1.png"]
    with pytest.raises(ValueError, match=r"a\.png is 6x4 pixels, its photograph 4x6"):
        source.regions("a.jpg", np.zeros((6, 4, 3), np.uint8))
    whole = (tmp_path / "a.png").read_bytes()
    for damaged in (b"none", whole[: len(whole) // 2]):
        (tmp_path / "a.png").write_bytes(damaged)
        with pytest.raises(ValueError, match=r"cannot read the mask .*a\.png: "):
            source.regions("a.jpg", PICTURE)


def test_a_box_beside_the_picture_covers_nothing_of_it():
    for beside in ((-12, 1, 8, 2), (1, -12, 2, 8), (9, 1, 2, 2), (1, 9, 2, 2)):
        assert not box_mask(beside, (4, 6)).any()
    assert box_of(box_mask((-2, -2, 3, 4), (4, 6))) == (0, 0, 0, 1)


def test_limits_are_inclusive_and_say_why():
    def of(pixels, **more):
        mask = np.zeros((10, 20), bool)
        mask.flat[:pixels] = True
        return Region("dog", mask, "box", **more)

    regions = [of(1), of(2), of(50), of(51), of(9, crowd=True), of(9, score=0.2), of(0)]
    limits = Limits(least=0.01, most=0.25)
    fit, skipped = limits.choose(regions, np.random.default_rng(0))
    assert [number for number, _ in fit] == [1, 2]  # a hundredth and a quarter of it, exactly
    assert {one.number: one.reason for one in skipped} == {
        0: "0.5 % of the picture, under 1 %",
        3: "25.5 % of the picture, over 25 %",
        4: "a crowd, not one object",
        5: "its score 0.20 is under 0.5",
        6: "it has no pixel",
    }
    drawn = [
        Limits(count=3).choose([of(9)] * 8, np.random.default_rng(seed))[0] for seed in (1, 1, 2)
    ]
    numbers = [[number for number, _ in own] for own in drawn]
    assert numbers[0] == numbers[1] != numbers[2] and sorted(numbers[0]) == numbers[0]


def test_where_an_object_lies():
    whole, corner = np.ones((4, 6), bool), box_mask((0, 0, 1, 1), (4, 6))
    assert place(whole) == {"centre": 0, "lower edge": 1}
    assert place(corner)["lower edge"] == 0.25
    expected = np.hypot(0.5 - 0.5 / 6, 0.5 - 0.5 / 4) / np.sqrt(0.5)
    assert place(corner)["centre"] == pytest.approx(expected)
    ring = Region("ring", whole & ~SQUARE, "polygon")
    assert covered([ring, Region("dog", SQUARE, "box")]) == pytest.approx([4 / 24, 0])


def test_scenes_without_an_object_are_the_same_scenes_elsewhere():
    scenes = Scenes("val", 6)
    source = SceneObjects(scenes)
    drawn = next(one for one in scenes if len(one.objects) > 2 and not one.objects[0].mentioned)
    regions = source.regions("any", drawn.image)
    assert regions[0].category.startswith("grey ") and regions[-1].outline == "scene"
    images = np.stack([drawn.image] * 3)
    both = regions[0].mask | regions[-1].mask
    bare, without, neither = source(images, np.stack([np.zeros_like(both), regions[-1].mask, both]))
    np.testing.assert_array_equal(bare, drawn.image)
    changed = np.any(without != drawn.image, axis=-1)
    assert changed[regions[-1].mask].all() and not changed[regions[0].mask].any()
    left, top, right, bottom = box_of(regions[-1].mask)  # and its shaded rim, nothing else
    changed[max(0, top - 3) : bottom + 4, max(0, left - 3) : right + 4] = False
    assert not changed.any()
    assert np.any(neither != without, axis=-1)[regions[0].mask].all()
    with pytest.raises(ValueError, match="no union of the scene's"):
        source(images[:1], ~both[None])
    with pytest.raises(ValueError, match="none of them"):
        source(255 - images[:1], both[None])
    assert source.regions("other", scene(90, split="val").image) is None
    assert len(scene_regions(drawn)) == len(drawn.objects)
