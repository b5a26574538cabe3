"""Flickr30k Entities: the fixture of two captions, and what trips its parsers."""

import pytest

from capjax.data.boxes.entities import EntityPhrase, parse_sentence, read_entities

SENTENCES = """\
[/EN#1/people A man] in [/EN#2/clothing a red shirt] sees [/EN#3/animals/other two dogs] .
[/EN#1/people Someone] waits in [/EN#4/scene the street] [/EN#0/notvisual that day] .
"""


def boxed(names, x0, y0, x1, y1):
    """An object of the XML file with a box, counted from 1."""
    tags = "".join(f"<name>{name}</name>" for name in names)
    corners = f"<xmin>{x0}</xmin><ymin>{y0}</ymin><xmax>{x1}</xmax><ymax>{y1}</ymax>"
    return f"<object>{tags}<bndbox>{corners}</bndbox></object>"


def unboxed(name, nobndbox, scene):
    """An object without a box."""
    flags = f"<nobndbox>{nobndbox}</nobndbox><scene>{scene}</scene>"
    return f"<object><name>{name}</name>{flags}</object>"


ANNOTATION = (
    "<annotation><filename>7.jpg</filename>"
    "<size><width>60</width><height>40</height><depth>3</depth></size>"
    + boxed(["1"], 11, 6, 30, 40)
    + boxed(["3"], 31, 21, 40, 30)
    + boxed(["3"], 41, 21, 50, 30)
    + unboxed("4", 0, 1)
    + unboxed("2", 1, 0)
    + "</annotation>"
)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "Sentences").mkdir()
    (tmp_path / "Annotations").mkdir()
    (tmp_path / "Sentences/7.txt").write_text(SENTENCES)
    (tmp_path / "Annotations/7.xml").write_text(ANNOTATION)
    return tmp_path


def test_words_spans_types_and_boxes(folder):
    image = read_entities(folder, "7")
    assert (image.height, image.width) == (40, 60)
    first, second = image.sentences
    assert " ".join(first.words) == "A man in a red shirt sees two dogs ."
    assert [phrase.start for phrase in first.phrases] == [0, 3, 7]
    assert [first.words[p.start : p.end] for p in first.phrases] == [
        ("A", "man"),
        ("a", "red", "shirt"),
        ("two", "dogs"),
    ]
    assert first.phrases[2].types == ("animals", "other")
    assert image.boxes == {"1": [(10, 5, 29, 39)], "3": [(30, 20, 39, 29), (40, 20, 49, 29)]}
    evaluable = [phrase.chain for own in image.sentences for phrase in image.with_boxes(own)]
    assert evaluable == ["1", "3", "1"]
    assert second.phrases[2] == EntityPhrase("0", ("notvisual",), 5, 7)


def test_an_object_may_carry_several_names_and_chain_0_never_has_boxes(folder):
    objects = boxed(["1", "0", "9"], 1, 1, 60, 40)
    text = ANNOTATION.replace("</annotation>", f"{objects}</annotation>")
    (folder / "Annotations/7.xml").write_text(text)
    boxes = read_entities(folder, "7").boxes
    assert boxes["1"] == [(10, 5, 29, 39), (0, 0, 59, 39)]
    assert boxes["9"] == [(0, 0, 59, 39)]
    assert set(boxes) == {"1", "3", "9"}


def test_brackets_that_open_no_phrase_are_words():
    sentence = parse_sentence("[ sic ] [/EN#5/other a sign] [reads [/EN#6/other STOP]")
    assert sentence.words == ("[", "sic", "]", "a", "sign", "[reads", "STOP")
    assert [(p.start, p.end) for p in sentence.phrases] == [(3, 5), (6, 7)]


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("[/EN#1/people A man", "never closed"),
        ("[/EN#1/people A [/EN#2/other hat] man]", "before the last one ended"),
    ],
)
def test_damaged_sentences_are_named(folder, line, text):
    (folder / "Sentences/7.txt").write_text(line)
    with pytest.raises(ValueError, match=f"7.txt.*{text}"):
        read_entities(folder, "7")


@pytest.mark.parametrize(
    "content",
    ["", "<annotation/>", ANNOTATION.replace("<xmin>11</xmin>", ""), ANNOTATION.replace("40", "x")],
)
def test_damaged_annotations_are_named(folder, content):
    (folder / "Annotations/7.xml").write_text(content)
    with pytest.raises(ValueError, match="7.xml is no annotation"):
        read_entities(folder, "7")


def test_absent_files_are_named(folder):
    with pytest.raises(FileNotFoundError, match="Sentences/8.txt"):
        read_entities(folder, "8")
