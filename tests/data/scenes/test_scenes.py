"""The embedded scenes: true to their captions, the same wherever drawn, and not guessable."""

import itertools
import json

import numpy as np
import pytest
from PIL import Image

from capjax.data.scenes import still as scenes
from capjax.data.scenes.__main__ import main
from capjax.data.scenes.grammar import COLOURS, HELD_OUT_PAIRS, SHAPES, SIZES, TEXTURES
from capjax.types import Preprocessing

PLACES = ("top left", "top right", "bottom left", "bottom right")


@pytest.fixture(scope="module")
def drawn():
    return list(scenes.Scenes("val", 2000))


def spoken(scene):
    return [(m, scene.objects[m.object_index]) for m in scene.mentions[0]]


def centre(item):
    x0, y0, x1, y1 = item.box
    return (x0 + x1) / 2, (y0 + y1) / 2


def test_scene_depends_on_seed_split_and_index_alone():
    alone = scenes.scene(7, split="val", seed=3)
    among = scenes.Scenes("val", 9, seed=3)[2:9][5]
    assert np.array_equal(alone.image, among.image)
    assert alone.captions == among.captions and alone.mentions == among.mentions
    for other in (
        scenes.scene(8, split="val", seed=3),
        scenes.scene(7, split="test", seed=3),
        scenes.scene(7, split="val", seed=4),
    ):
        assert other.captions != alone.captions


def test_captions_without_rendering_are_those_of_the_scenes():
    source = scenes.Scenes("train", 40)
    assert source.captions() == [scene.captions for scene in source]


def test_mentions_are_the_words_of_their_objects(drawn):
    for scene in drawn:
        words = scene.captions[0].split()
        referents = scene.referents()
        for mention, item in spoken(scene):
            phrase = words[mention.start : mention.end]
            texture = [] if item.texture == "plain" else [item.texture]
            assert phrase == [item.size, *texture, item.colour, item.shape]
            assert words[mention.start - 1] == "a"
            assert set(referents[mention.start : mention.end]) == {mention.object_index}
        named = {i for i, referent in enumerate(referents) if referent is not None}
        attributes = {*SHAPES, *COLOURS, *SIZES, *TEXTURES}
        assert named == {i for i, word in enumerate(words) if word in attributes}


def test_every_coloured_object_is_mentioned_once_and_no_grey_one(drawn):
    for scene in drawn:
        mentioned = sorted(m.object_index for m in scene.mentions[0])
        assert mentioned == [i for i, item in enumerate(scene.objects) if item.mentioned]
        assert all((item.colour == "grey") != item.mentioned for item in scene.objects)


def test_relations_hold_in_the_picture(drawn):
    seen = set()
    for scene in drawn:
        words = scene.captions[0]
        items = [item for _, item in spoken(scene)]
        for relation, others in stated_relations(words, items):
            seen.add(relation)
            assert holds(relation, items[0], others, scene.image.shape), words
    assert seen == {"left of", "right of", "above", "below", "inside", "between", *PLACES}


def stated_relations(caption, items):
    """(relation, objects it relates the first one to), read off the caption by its words."""
    phrases = [" ".join(words) for words in noun_phrases(items)]
    gaps, rest = [], caption
    for phrase in phrases:
        gap, rest = rest.split(f"a {phrase}", 1)
        gaps.append(gap.strip().removeprefix("and").strip())
    if len(items) == 1:
        return [(rest.strip().removeprefix("in the "), [])]
    if gaps[1] == "between":
        return [("between", items[1:])]
    return list(zip(gaps[1:], [[item] for item in items[1:]], strict=True))


def noun_phrases(items):
    for item in items:
        yield [item.size, *[item.texture] * (item.texture != "plain"), item.colour, item.shape]


def holds(relation, item, others, shape):
    x, y = centre(item)
    if relation in PLACES:
        row, column = relation.split()
        return (y < shape[0] / 2) == (row == "top") and (x < shape[1] / 2) == (column == "left")
    places = [centre(other) for other in others]
    if relation == "inside":
        (a, b, c, d), (e, f, g, h) = others[0].box, item.box
        return a <= e and b <= f and c >= g and d >= h
    if relation == "between":
        return any(
            sorted([x, *(p[0] for p in places)])[1] == x
            if axis == 0
            else sorted([y, *(p[1] for p in places)])[1] == y
            for axis in (0, 1)
        )
    dx, dy = places[0][0] - x, places[0][1] - y
    return {
        "left of": dx > abs(dy),
        "right of": -dx > abs(dy),
        "above": dy > abs(dx),
        "below": -dy > abs(dx),
    }[relation]


def test_sizes_cannot_be_confused(drawn):
    sides = {"small": [], "large": []}
    for scene in drawn:
        for _, item in spoken(scene):
            x0, y0, x1, y1 = item.box
            sides[item.size].append(max(x1 - x0, y1 - y0) / min(scene.image.shape[:2]))
    assert max(sides["small"]) < min(sides["large"])


def test_boxes_are_tight_and_masks_are_disjoint(drawn):
    for scene in drawn[:300]:
        total = np.zeros(scene.image.shape[:2], int)
        for item in scene.objects:
            x0, y0, x1, y1 = item.box
            inside = item.mask[y0 : y1 + 1, x0 : x1 + 1]
            assert inside.sum() == item.mask.sum()
            assert inside[0].any() and inside[-1].any()
            assert inside[:, 0].any() and inside[:, -1].any()
            total += item.mask
        assert total.max() == 1


def test_plain_objects_have_the_hue_of_their_word(drawn):
    hues = {colour: [] for colour in COLOURS}
    for scene in drawn[:600]:
        for _, item in spoken(scene):
            if item.texture == "plain":
                inner = scene.image[item.mask].astype(float)
                hues[item.colour].append(np.median(inner, axis=0))
    means = {colour: np.mean(found, axis=0) for colour, found in hues.items()}
    for one, other in itertools.combinations(COLOURS, 2):
        spread = max(np.std(hues[c], axis=0).max() for c in (one, other))
        assert np.linalg.norm(means[one] - means[other]) > 3 * spread, (one, other)


def test_pointing_at_random_or_at_the_centre_does_not_pay(drawn):
    random, middle = [], []
    for scene in drawn:
        height, width = scene.image.shape[:2]
        for mention, item in spoken(scene):
            x0, y0, x1, y1 = item.box
            share = (x1 - x0 + 1) * (y1 - y0 + 1) / (height * width)
            hit = x0 <= width / 2 <= x1 and y0 <= height / 2 <= y1
            words = mention.end - mention.start
            random += [share] * words
            middle += [hit] * words
    assert np.mean(random) <= 0.15
    assert np.mean(middle) <= 0.25


def test_scenes_are_varied(drawn):
    counts = np.array([len(scene.mentions[0]) for scene in drawn])
    assert np.mean(counts >= 3) >= 0.5 and counts.min() == 1
    assert np.mean([any(not i.mentioned for i in scene.objects) for scene in drawn]) > 0.5
    assert {scene.image.shape[:2] for scene in drawn} == set(scenes.IMAGE_SIZES)
    assert sum(height != width for height, width in scenes.IMAGE_SIZES) >= 3
    used = [item for scene in drawn for item in scene.objects if item.mentioned]
    for words, name in ((SHAPES, "shape"), (COLOURS, "colour"), (TEXTURES, "texture")):
        assert {getattr(item, name) for item in used} == set(words)


@pytest.fixture(scope="module")
def captions():
    """Of four thousand scenes of training."""
    return [caption for (caption,) in scenes.Scenes("train", 4000).captions()]


def test_thousands_of_captions(captions):
    assert len(set(captions)) >= 3000


def test_pairs_are_held_out_of_training_only(drawn, captions):
    train = " | ".join(captions)
    val = " | ".join(scene.captions[0] for scene in drawn)
    for colour, shape in HELD_OUT_PAIRS:
        assert f"{colour} {shape}" not in train
        assert f"{colour} {shape}" in val


def test_scene_images_are_prepared_as_asked():
    source = scenes.Scenes("val", 5)
    batch = scenes.SceneImages(source, Preprocessing(size=(64, 80)))(np.array([4, 1]))
    picture = Image.fromarray(source[4].image)
    rows = picture.resize((80, picture.height), Image.Resampling.BILINEAR)
    expected = rows.resize((80, 64), Image.Resampling.BILINEAR)
    assert batch["image"].shape == (2, 64, 80, 3) and batch["image"].dtype == np.uint8
    assert np.array_equal(batch["image"][0], np.asarray(expected))


def test_folder_holds_the_scenes(tmp_path):
    main(["--out", str(tmp_path / "s"), "--n", "6", "--split", "test", "--seed", "2"])
    captions = json.loads((tmp_path / "s/captions_test.json").read_text())
    instances = json.loads((tmp_path / "s/instances_test.json").read_text())
    names = {category["id"]: category["name"] for category in instances["categories"]}
    for entry, scene in zip(captions["images"], scenes.Scenes("test", 6, seed=2), strict=True):
        picture = np.asarray(Image.open(tmp_path / "s/images" / entry["file_name"]))
        assert np.array_equal(picture, scene.image)
        said = [a for a in captions["annotations"] if a["image_id"] == entry["id"]]
        assert [a["caption"] for a in said] == list(scene.captions)
        there = {a["id"]: a for a in instances["annotations"] if a["image_id"] == entry["id"]}
        assert len(there) == len(scene.mentions[0])
        for (start, end, identity), mention in zip(
            said[0]["mentions"], scene.mentions[0], strict=True
        ):
            item, annotation = scene.objects[mention.object_index], there[identity]
            x, y, width, height = annotation["bbox"]
            assert (start, end) == (mention.start, mention.end)
            assert (x, y, x + width - 1, y + height - 1) == item.box
            assert names[annotation["category_id"]] == item.shape
            assert np.array_equal(decode(annotation["segmentation"]), item.mask)


def decode(segmentation):
    """Run lengths drawn one pixel at a time."""
    values, value = [], False
    for count in segmentation["counts"]:
        values += [value] * count
        value = not value
    return np.array(values).reshape(segmentation["size"], order="F")


def test_run_lengths_known_answer():
    mask = np.array([[0, 1, 0], [1, 0, 1]], bool)
    assert scenes.run_lengths(mask) == {"size": [2, 3], "counts": [1, 2, 2, 1]}
    assert scenes.run_lengths(np.ones((1, 2), bool))["counts"] == [0, 2]


@pytest.mark.parametrize(
    ("index", "split", "seed", "message"),
    [(0, "dev", 0, "train, val, test"), (-1, "val", 0, "0 or more"), (0, "val", -1, "0 or more")],
)
def test_wrong_requests_are_explained(index, split, seed, message):
    with pytest.raises(ValueError, match=message):
        scenes.scene(index, split=split, seed=seed)


def test_no_scene_beyond_the_last():
    with pytest.raises(IndexError, match="there are 3"):
        scenes.Scenes("val", 3)[3]
    with pytest.raises(ValueError, match="one or more"):
        scenes.Scenes("val", 0)
