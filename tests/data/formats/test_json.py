"""JSON of captions and boxes: every shape that is read, and every field tested before its use."""

import json
import math

import pytest

from capjax.data.boxes.instances import read_instances
from capjax.data.formats.fields import Entry, Ids, load_json
from capjax.data.sources.sources import read_captions

WANTED = {"1.jpg": ("a dog", "a hound"), "2.jpg": ("a cat",)}
IMAGE = {"id": 1, "file_name": "1.jpg"}
CAPTION = {"id": 5, "image_id": 1, "caption": "a dog"}
SENTENCE = {"raw": "a dog"}
KARPATHY = {"filename": "1.jpg", "split": "train", "sentences": [SENTENCE]}
BOX = {"id": 1, "image_id": 1, "category_id": 3, "bbox": [1, 2, 3, 4]}
NAN = math.nan


def read(tmp_path, body, name="captions.json", **options):
    path = tmp_path / name
    path.write_text(body if isinstance(body, str) else json.dumps(body))
    return read_captions(path, check_images=False, **options)


def captions(found):
    return {record.key: record.captions for record in found}


def lines(*entries):
    return "\n".join(map(json.dumps, entries)) + "\n"


@pytest.mark.parametrize(
    "body",
    [
        lines(
            {"file_name": "1.jpg", "text": "a dog"},
            {"file_name": "1.jpg", "text": "a hound"},
            {"file_name": "2.jpg", "text": "a cat"},
        ),
        lines(
            {"file_name": "1.jpg", "captions": ["a dog", "a hound"], "label": 3},
            {"file_name": "2.jpg", "captions": "a cat"},
        ),
        [
            {"image": "1.jpg", "caption": ["a dog", "a hound"]},
            {"image": "2.jpg", "caption": "a cat"},
        ],
        [
            {"image_id": "1.jpg", "caption": ["a dog", "a hound"], "url": "http://a.org"},
            {"image_id": "2.jpg", "caption": ["a cat"]},
        ],
        [
            {"image": "1.jpg", "caption1": "a dog", "caption2": "a hound"},
            {"image": "2.jpg", "caption1": "a cat", "caption2": None},
        ],
        [
            {"filename": "1.jpg", "sentences": [{"raw": "a dog"}, {"raw": "a hound"}]},
            {"filename": "2.jpg", "sentences": [{"raw": "a cat"}]},
        ],
        {
            "annotations": [
                {"image": "1.jpg", "caption": "a dog"},
                {"image": "1.jpg", "caption": "a hound"},
                {"image": "2.jpg", "caption": "a cat"},
            ]
        },
        {"1.jpg": ["a dog", "a hound"], "2.jpg": "a cat"},
    ],
    ids=str,
)
def test_shapes_of_json(tmp_path, body):
    for name in ("metadata.jsonl", "captions.json"):
        assert captions(read(tmp_path, body, name)) == WANTED


def test_a_file_of_one_line_is_one_entry(tmp_path):
    assert captions(read(tmp_path, {"file_name": "1.jpg", "text": "a dog"})) == {
        "1.jpg": ("a dog",)
    }


def test_splits_of_entries_and_of_karpathy_images_without(tmp_path):
    found = read(tmp_path, [{"image": "1.jpg", "caption": "a", "split": "VALIDATION"}])
    assert found[0].split == "val"
    bare = {key: value for key, value in KARPATHY.items() if key != "split"}
    assert read(tmp_path, {"images": [bare]})[0].split == "all"
    with pytest.raises(ValueError, match="image 1 lacks 'split'"):
        read(tmp_path, {"images": [KARPATHY, {**bare, "filename": "2.jpg"}]})


@pytest.mark.parametrize(
    ("image", "caption"),
    [
        *(("frame_0001", "frame_0001"), ("6f1c-22ab", "6f1c-22ab"), (7, "7"), ("7", 7)),
        *(("000007", "000007"), ("000007", 7), (7, "007"), (7.0, 7), (7, 7.0), (0, "0")),
    ],
)
def test_ids_are_numbers_or_text(tmp_path, image, caption):
    body = {
        "images": [{"id": image, "file_name": "1.jpg"}],
        "annotations": [{"image_id": caption, "caption": "a dog"}],
    }
    assert captions(read(tmp_path, body)) == {"1.jpg": ("a dog",)}


def test_ids_that_could_be_two_are_no_id():
    ids = Ids([("007", "a"), (7, "b"), ("x", "c")])
    assert [ids.find(id) for id in ("007", 7, "07", "x", "y")] == ["a", "b", None, "c", None]
    with pytest.raises(ValueError, match="the id 7 belongs to two things, 'b' and 'c'"):
        Ids([(7, "b"), (7, "c")])


def coco(images=(IMAGE,), annotations=(CAPTION,)):
    return {"images": list(images), "annotations": list(annotations)}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (coco([{"id": 1}]), "image 0 lacks 'file_name'"),
        (coco([{**IMAGE, "file_name": 3}]), "image 0: 'file_name' is 3; expected text"),
        (coco([{**IMAGE, "id": None}]), "image 0: 'id' is null; expected a number or text"),
        (coco([{**IMAGE, "id": True}]), "image 0: 'id' is true; expected a number or text"),
        (coco([{**IMAGE, "id": NAN}]), "image 0: 'id' is NaN; expected a number or text"),
        (coco([{**IMAGE, "id": 1.5}]), "image 0: 'id' is 1.5; expected a number or text"),
        (coco([IMAGE, 3]), "image 1 is 3; expected an object"),
        (
            coco([IMAGE, {**IMAGE, "file_name": "2.jpg"}]),
            "id 1 belongs to two .* image 0 and image 1",
        ),
        (coco([IMAGE, {**IMAGE, "id": 2}]), "image 1: '1.jpg' is described twice.* 1 and 2"),
        (coco(annotations=[{**CAPTION, "caption": None}]), "left out, 1: 1.jpg has no caption"),
        (
            coco(annotations=[{**CAPTION, "caption": 12}]),
            "annotation 0: 'caption' is 12; exp",
        ),
        (coco(annotations=[{**CAPTION, "caption": ["a"]}]), "'caption' is the list"),
        (coco(annotations=[{**CAPTION, "image_id": {}}]), "'image_id' is the object {}"),
        (coco(annotations=[{**CAPTION, "image_id": "x"}]), 'does not list, e.g. image_id "x"'),
        ({"images": 3, "annotations": []}, "the file: 'images' is 3; expected a list of objects"),
        ({"images": [], "annotations": None}, "the file: 'annotations' is null"),
        ({"images": [{**KARPATHY, "sentences": 1}]}, "image 0: 'sentences' is 1; expected a list"),
        (
            {"images": [{**KARPATHY, "sentences": [SENTENCE, {"raw": 4}]}]},
            "sentence 1 of image 0: 'raw' is 4; expected text",
        ),
        (
            {"images": [{**KARPATHY, "sentences": [{"tokens": ["a", 4]}]}]},
            "sentence 0 of image 0: 'tokens' is the list",
        ),
        ({"images": [{**KARPATHY, "split": 1}]}, "image 0: 'split' is 1; expected text"),
        ({"images": [{**KARPATHY, "cocoid": []}]}, "image 0: 'cocoid' is the list"),
        ({"videos": [{"video_id": 3}], "sentences": []}, "video 0: 'video_id' is 3; expected text"),
        (
            {"videos": [{"video_id": "v", "start time": "x", "end time": 1}], "sentences": []},
            "video 0: 'start time' is \"x\"; expected a number",
        ),
        ([{"image": "1.jpg", "caption": "a"}, {"image": "2.jpg"}], "entry 1 lacks 'caption'"),
        ([{"image": "1.jpg", "caption": "a"}, {"caption": "b"}], "entry 1 lacks 'image'"),
        ([{"image": "1.jpg", "caption": 7}], "entry 0: 'caption' is 7; expected text or a list"),
        ([{"image": "1.jpg", "caption": "a"}, None], "entry 1 is null; expected an object"),
        ({"1.jpg": ["a", 3]}, "'1.jpg' is the list"),
        (lines({"file_name": "1.jpg", "text": "a"}, 3), "line 2 is 3; expected an object"),
        ('{"file_name": "1.jpg", "text": "a"}\n\n{"file_name": "2.jpg"', "line 3: damaged JSON"),
        ('{"1.jpg": "a",\n "1.jpg": "b"}', "the name '1.jpg' twice in one object"),
        ("[" * 100_000, "brackets within brackets"),
    ],
)
def test_an_error_names_entry_field_and_what_came(tmp_path, body, message):
    with pytest.raises(ValueError, match=message):
        read(tmp_path, body)


def test_empty_captions_are_counted(tmp_path):
    entries = [CAPTION, {**CAPTION, "caption": " "}]
    assert read(tmp_path, coco(annotations=entries)).rejected == (
        "1 empty captions of images that have others, first annotation 1 (1.jpg)",
    )


OF_1 = "1 empty captions of images that have others, first {} (1.jpg)"


@pytest.mark.parametrize(
    ("name", "body", "where"),
    [
        ("a.json", coco(annotations=[CAPTION, {**CAPTION, "caption": None}]), "annotation 1"),
        ("a.json", {"images": [{**KARPATHY, "sentences": [SENTENCE, {"raw": None}]}]}, "image 0"),
        (
            "a.jsonl",
            '{"image": "1.jpg", "text": "a dog"}\n{"image": "1.jpg", "text": null}\n',
            "line 2",
        ),
        ("a.json", [{"image": "1.jpg", "captions": ["a dog", None]}], "entry 0"),
        ("a.json", [{"image": "1.jpg", "captions": [{"raw": "a dog"}, {"raw": None}]}], "entry 0"),
        ("a.json", {"1.jpg": ["a dog", None]}, "entry '1.jpg'"),
        ("a.csv", "image,caption\n1.jpg,a dog\n1.jpg,\n", "line 3"),
        ("a.csv", 'image,caption\n1.jpg,"[""a dog"", null]"\n', "line 2"),
        ("a.csv", "image;caption\n1.jpg;['a dog', None]\n", "line 2"),
    ],
)
def test_null_is_no_caption_as_an_empty_cell_is(tmp_path, name, body, where):
    found = read(tmp_path, body, name)
    assert captions(found) == {"1.jpg": ("a dog",)}
    assert found.rejected == (OF_1.format(where),)


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("a.jsonl", '{"image": "1.jpg", "text": "a dog"}\n{"image": "2.jpg", "text": null}\n'),
        ("a.json", {"1.jpg": "a dog", "2.jpg": None}),
        ("a.json", {"1.jpg": "a dog", "2.jpg": []}),
        (
            "a.json",
            [{"image": "1.jpg", "caption1": "a dog"}, {"image": "2.jpg", "caption2": None}],
        ),
        ("a.csv", "image,caption\n1.jpg,a dog\n2.jpg,\n"),
    ],
)
def test_an_image_with_null_alone_has_no_caption(tmp_path, name, body):
    found = read(tmp_path, body, name)
    assert captions(found) == {"1.jpg": ("a dog",)} and found.rejected == ("2.jpg has no caption",)


@pytest.mark.parametrize("value", ["7", "false", "NaN", '{"a": 1}', "[1]", "[[null]]"])
def test_a_caption_of_another_kind_is_an_error(tmp_path, value):
    lines = f'{{"image": "1.jpg", "text": "a dog"}}\n{{"image": "2.jpg", "text": {value}}}\n'
    with pytest.raises(ValueError, match="line 2: 'text' is "):
        read(tmp_path, lines, "a.jsonl")


def instances(tmp_path, rows, images=({**IMAGE, "width": 9, "height": 9},)):
    path = tmp_path / "instances.json"
    categories = [{"id": 3, "name": "dog"}]
    path.write_text(
        json.dumps({"images": list(images), "annotations": rows, "categories": categories})
    )
    return read_instances(path)


def test_boxes_alone_are_enough_and_empty_ones_are_counted(tmp_path):
    rows = [
        BOX,
        {**BOX, "bbox": []},
        {**BOX, "bbox": [1, 1, 0, 5]},
        {**BOX, "area": 7, "iscrowd": 1},
    ]
    found = instances(tmp_path, rows)
    assert [(item.box, item.area, item.crowd) for item in found["1.jpg"].instances] == [
        ((1, 2, 3, 4), 12, False),
        ((1, 2, 3, 4), 7, True),
    ]
    assert found.left_out == ("2 objects with an empty box, first annotation 1 (dog of 1.jpg)",)
    assert instances(tmp_path, [{**BOX, "image_id": "1", "category_id": "03"}])["1.jpg"].instances


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bbox": [1, 2, 3]}, "annotation 0: 'bbox' is the list .*expected x, y, width and height"),
        ({"bbox": [1, 2, 3, -4]}, "'bbox' is the list .*expected x, y, width and height"),
        ({"bbox": [1, 2, 3, NAN]}, "'bbox' is the list .*expected a list of numbers"),
        ({"bbox": None}, "'bbox' is null"),
        ({"image_id": 9}, "'image_id' is 9; expected the id of one of the images"),
        ({"category_id": None}, "'category_id' is null"),
        ({"category_id": 4}, "'category_id' is 4; expected the id of one of the categories"),
        ({"iscrowd": 2}, "'iscrowd' is 2; expected 0 or 1"),
        ({"area": "large"}, "'area' is \"large\"; expected a number"),
        ({"segmentation": [[1, 2, 3, 4]]}, "'segmentation' is the list .*expected polygons"),
        ({"segmentation": [1, 2, 3, 4, 5, 6]}, "'segmentation' is the list .*expected polygons"),
        ({"segmentation": [[1, 2, 3, 4, 5, None]]}, "'segmentation' is the list"),
        ({"segmentation": {"size": [9], "counts": [1]}}, "segmentation of annotation 0: 'size'"),
        ({"segmentation": {"size": [9, 9]}}, "segmentation of annotation 0 lacks 'counts'"),
        ({"segmentation": {"size": [9, 9], "counts": [-1]}}, "'counts' is the list"),
        ({"segmentation": "x"}, "'segmentation' is \"x\""),
    ],
)
def test_damaged_objects_are_named(tmp_path, change, message):
    with pytest.raises(ValueError, match=f"is no COCO instances JSON: .*{message}"):
        instances(tmp_path, [{**BOX, **change}])


def test_damaged_images_of_instances_are_named(tmp_path):
    with pytest.raises(ValueError, match="image 0 lacks 'width'"):
        instances(tmp_path, [BOX], [{**IMAGE, "height": 9}])
    with pytest.raises(ValueError, match="image 0: 'height' is 0; expected a number of pixels"):
        instances(tmp_path, [BOX], [{**IMAGE, "width": 9, "height": 0}])
    path = tmp_path / "instances.json"
    path.write_text("[]")
    with pytest.raises(ValueError, match="got the list"):
        read_instances(path)


def test_what_an_entry_gives():
    entry = Entry("entry 1", {"a": "7", "b": True, "c": None, "d": ["x"], "e": "nan"})
    assert entry.number("a") == 7 and entry.id("a") == "7" and entry.flag("b", default=False)
    assert entry.flag("c", default=True) and entry.texts("d") == ["x"] and not entry.has("c")
    with pytest.raises(ValueError, match="entry 1: 'e' is \"nan\"; expected a number"):
        entry.number("e")
    with pytest.raises(ValueError, match="entry 1: 'b' is true; expected a number"):
        entry.number("b")
    assert load_json('{"a": {"b": 1}}') == {"a": {"b": 1}}
