"""Phrases with boxes from class words, exact mentions and Flickr30k Entities; spans that move."""

import json
from pathlib import Path

import pytest

from capjax.data.boxes.grounded import (
    BoxSource,
    EntitySource,
    GroundedEvent,
    Timeline,
    moved_span,
    read_mentions,
    read_timelines,
    source_words,
)
from capjax.data.boxes.instances import AnnotatedImage, Instance
from capjax.data.boxes.object_words import ObjectWords
from capjax.data.captions.records import Record
from capjax.text.vocabulary import Vocabulary


def record(*captions, key="a/7.jpg"):
    return Record(key, Path(key), captions, "val", 7)


def instance(id, category, box):
    return Instance(id, category, box, box[2] * box[3], False, ())


SOURCE = BoxSource(
    {
        "7.jpg": AnnotatedImage(
            "7.jpg",
            7,
            40,
            60,
            (
                instance(1, "cat", (10, 5, 20, 30)),
                instance(2, "cat", (40.4, 0.2, 5.2, 9.6)),
                instance(3, "sofa", (0, 0, 0.2, 0.2)),
                instance(4, "cup", (1, 1, 2, 2)),
            ),
        )
    },
    ObjectWords(
        {
            ("cat",): ("cat",),
            ("cats",): ("cat",),
            ("dog",): ("dog",),
            ("red", "couch"): ("couch",),
            ("thing",): ("cup", "couch", "dog"),
        },
        {"sofa": "couch"},
    ),
)


def test_class_words_get_all_boxes_of_their_class():
    (caption,) = SOURCE.captions(record("Two Cats, a dog and a red couch."))
    assert caption.words == ("two", "cats", "a", "dog", "and", "a", "red", "couch")
    cats, couch = caption.phrases
    assert (cats.start, cats.end, cats.categories) == (1, 2, ("cat",))
    # Pixels whose centre is covered: 40.4..45.6 covers the centres 40.5 to 45.5.
    assert cats.boxes == ((10, 5, 29, 34), (40, 0, 45, 9))
    assert (couch.start, couch.end, couch.categories) == (6, 8, ("couch",))
    assert couch.boxes == ((0, 0, 0, 0),)  # smaller than a pixel, and still one
    (thing,) = SOURCE.phrases(record(), ["thing"])
    assert thing.categories == ("cup", "couch")
    assert SOURCE.size(record()) == (40, 60)


def test_images_without_annotation_have_no_phrase():
    stranger = record("a cat", key="8.jpg")
    assert SOURCE.size(stranger) is None
    assert SOURCE.captions(stranger)[0].phrases == ()


def test_mentions_are_exact_and_point_with_their_noun(tmp_path):
    path = tmp_path / "captions_val.json"
    image = {"id": 7, "file_name": "7.jpg"}
    text = "a large  cat beside a cat"
    annotation = {"id": 0, "image_id": 7, "caption": text, "mentions": [[1, 3, 2], [5, 6, 1]]}
    path.write_text(json.dumps({"images": [image], "annotations": [annotation]}))
    mentions = read_mentions(path)
    source = BoxSource(SOURCE.images, SOURCE.words, mentions)
    (caption,) = source.captions(record("a large cat beside a cat", key="7.jpg"))
    assert [(p.start, p.end, p.boxes) for p in caption.phrases] == [
        (2, 3, ((40, 0, 45, 9),)),
        (5, 6, ((10, 5, 29, 34),)),
    ]
    strange = BoxSource(SOURCE.images, SOURCE.words, {("7.jpg", "a cat"): [[0, 2, 99]]})
    with pytest.raises(ValueError, match=r"mentions instance 99.*belong together"):
        strange.captions(record("a cat", key="7.jpg"))


def test_captions_of_other_formats_have_no_mentions(tmp_path):
    path = tmp_path / "karpathy.json"
    path.write_text(json.dumps({"images": [], "dataset": "x"}))
    assert read_mentions(path) == {} and read_timelines(path) == {}


def test_entities_in_people_s_captions_and_in_others(tmp_path):
    (tmp_path / "Sentences").mkdir()
    (tmp_path / "Annotations").mkdir()
    (tmp_path / "Sentences/7.txt").write_text(
        "[/EN#1/people A man] sees [/EN#3/animals/other two dogs] in [/EN#4/scene a street] .\n"
    )
    box = "<bndbox><xmin>{}</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>"
    things = "".join(
        f"<object><name>{name}</name>{box.format(x)}</object>" for name, x in ((1, 2), (3, 4))
    )
    size = "<size><width>60</width><height>40</height></size>"
    xml = f"<annotation>{size}{things}</annotation>"
    (tmp_path / "Annotations/7.xml").write_text(xml)
    source = EntitySource(tmp_path)
    (caption,) = source.captions(record())
    assert [(p.start, p.end, p.categories) for p in caption.phrases] == [
        (0, 2, ("people",)),
        (3, 5, ("animals", "other")),
    ]
    assert source.size(record()) == (40, 60)
    assert source.size(record(key="8.jpg")) is None
    (dogs,) = source.phrases(record(), "many dogs on a street".split())
    assert (dogs.start, dogs.end, dogs.boxes) == (1, 2, ((3, 0, 8, 8),))


@pytest.mark.parametrize(
    ("text", "span", "expected"),
    [
        ("A man 's dog , a t-shirt .", (3, 4), ["dog"]),
        ("A man 's dog , a t-shirt .", (5, 7), ["a", "t-shirt"]),
        ("A man's hat", (1, 2), ["man", "'s"]),
        ("two dogs ( one brown ) run", (5, 6), None),
        ("two dogs ( one brown ) run", (0, 2), ["two", "dogs"]),
        ("two dogs ( one brown ) run", (6, 7), ["run"]),
    ],
)
def test_spans_move_to_the_captioner_s_words(text, span, expected):
    vocabulary = Vocabulary.build(["a man dog"])
    words, _ = vocabulary.spans(vocabulary.encode(text), text)
    found = moved_span(span, source_words(words, text.split()))
    assert (None if found is None else words[slice(*found)]) == expected


def test_events_in_the_frames_that_a_model_sees(tmp_path):
    path = tmp_path / "captions_val.json"
    image = {"id": 1, "file_name": "c.mp4", "frames": 9}
    events = [[2, 4, 0, 0, 3], [5, 6, 1, 3, 4], [6, 7, 1, 5, 9]]
    annotation = {"id": 0, "image_id": 1, "caption": "a dog sits down and b c", "events": events}
    path.write_text(json.dumps({"images": [image], "annotations": [annotation]}))
    timeline = read_timelines(path)["c.mp4", "a dog sits down and b c"]
    assert timeline.events[0] == GroundedEvent(2, 4, 0, 3)
    assert timeline.sampled(9) == timeline
    # Frames 0, 2, 4, 6, 8: the second event falls between them.
    seen = timeline.sampled(5)
    assert seen == Timeline(
        timeline.words, (GroundedEvent(2, 4, 0, 2), GroundedEvent(6, 7, 3, 5)), 5
    )


def test_an_image_shows_the_classes_of_its_boxes_and_of_what_people_say():
    shown = SOURCE.classes(record("a dog beside a red couch", "two cats"))
    assert shown == {"cat", "couch", "cup", "dog"}
    assert SOURCE.classes(record("a dog", key="a/8.jpg")) == {"dog"}  # without boxes
