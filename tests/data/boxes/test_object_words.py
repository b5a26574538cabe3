"""Caption words to classes: longest phrases, plurals, what only looks like an object."""

import json

import pytest

from capjax.data.boxes.object_words import ObjectWords, read_object_words


@pytest.fixture(scope="module")
def shipped():
    return read_object_words()


@pytest.mark.parametrize(
    ("caption", "named"),
    [
        ("a hot dog on a plate", {"hot dog": "hot dog"}),
        ("a dog eats two hotdogs", {"dog": "dog", "hotdogs": "hot dog"}),
        ("a teddy bear beside a bear", {"teddy bear": "teddy bear", "bear": "bear"}),
        ("several Women and men", {"Women": "person", "men": "person"}),
        ("knives , geese and sheep", {"knives": "knife", "geese": "bird", "sheep": "sheep"}),
        ("a traffic light at night", {"traffic light": "traffic light"}),
        ("the bus stop near the train tracks", {}),
        ("a bus near a train", {"bus": "bus", "train": "train"}),
        ("a baby elephant and its mother", {"baby elephant": "elephant", "mother": "person"}),
        ("an orange cat eats an orange", {"orange": "orange"}),
        ("a clock tower", {}),
        ("a man wearing a cowboy hat", {"man": "person"}),
        ("a couple of zebras", {"zebras": "zebra"}),
        ("a young couple on skis", {"couple": "person", "skis": "skis"}),
        ("a man skis down a ski slope", {"man": "person"}),
        ("", {}),
    ],
)
def test_what_a_caption_names(shipped, caption, named):
    words = caption.split()
    found = {" ".join(words[s.start : s.end]): s.classes for s in shipped.find(words)}
    assert found == {phrase: (name,) for phrase, name in named.items()}


def test_a_word_may_name_several_classes(shipped):
    (bag,) = shipped.find(["bag"])
    assert set(bag.classes) == {"backpack", "handbag", "suitcase"}


def test_every_class_names_itself_and_no_span_overlaps(shipped):
    classes = sorted({name for own in shipped.phrases.values() for name in own})
    assert len(classes) == 80
    for name in classes:
        (span,) = shipped.find(name.split())
        assert name in span.classes and span.end == len(name.split())
    words = [word for phrase in shipped.phrases for word in phrase]
    spans = shipped.find(words)
    assert all(one.end <= other.start for one, other in zip(spans, spans[1:], strict=False))


def test_classes_of_the_photographs_are_known(shipped, shared_data):
    body = json.loads((shared_data / "coco/annotations/instances_val.json").read_text())
    classes = {entry["name"] for entry in body["categories"]}
    assert shipped.including(classes) == shipped


def test_classes_without_an_entry_go_by_their_own_name():
    words = ObjectWords({("bus",): ("bus",)}).including(["bus", "red kite"])
    assert words.find("two red kites and a red kite".split()) == [
        (1, 3, ("red kite",)),
        (5, 7, ("red kite",)),
    ]


def test_a_file_of_one_s_own(tmp_path):
    path = tmp_path / "words.toml"
    path.write_text(
        '[classes]\nring = ["ring", "Rings"]\nbell = ["ring"]\n'
        '[aliases]\nhoop = "ring"\n[nothing]\nx = ["ring road"]\n'
    )
    words = read_object_words(path)
    assert words.find(["ring", "rings", "ring", "road"]) == [
        (0, 1, ("ring", "bell")),
        (1, 2, ("ring",)),
    ]
    assert words.including(["hoop", "ring"]) == words
    assert words.aliases == {"hoop": "ring"}


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("dog = 3", "its tables are 'dog'"),
        ("[classes]\ndog = 'dog'", "'dog' is 'dog', no list of phrases"),
        ("[classes]\ndog = ['a']\n[nothing]\nx = ['a']", "'a' names 'dog' and, by 'x', nothing"),
        ("[classes]\ndog = ['a']\n[aliases]\nhound = 'hund'", "hund"),
        ("[classes", "no object words"),
    ],
)
def test_other_files_are_refused(tmp_path, content, text):
    path = tmp_path / "words.toml"
    path.write_text(content)
    with pytest.raises(ValueError, match=text):
        read_object_words(path)


def test_an_absent_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere.toml.*copy"):
        read_object_words(tmp_path / "nowhere.toml")
