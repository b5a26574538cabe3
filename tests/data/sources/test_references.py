"""References for files at hand: by path, else by a name that means one file; the rest is said."""

import pytest

from capjax.data.sources.references import read_references


@pytest.fixture
def root(tmp_path):
    for name in ("a/1.jpg", "b/1.jpg", "a/2.jpg", "b/3.jpg", "b/4.jpg"):
        (tmp_path / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "images" / name).touch()
    return tmp_path / "images"


def read(root, rows):
    path = root.parent / "captions.csv"
    path.write_text("image,caption\n" + "".join(f"{row}\n" for row in rows))
    files = sorted(p.relative_to(root).as_posix() for p in root.rglob("*.jpg"))
    told = []
    return read_references(path, root, files, tell=told.append), told


def test_by_path_by_name_and_what_has_none(root):
    rows = ["a/1.jpg,a dog", "2.jpg,a cat", "elsewhere/3.jpg,a cow", "a/1.jpg,a hound"]
    found, told = read(root, rows)
    assert found == {"a/1.jpg": ("a dog", "a hound"), "a/2.jpg": ("a cat",), "b/3.jpg": ("a cow",)}
    assert any("2 of 5 images have no caption" in note and "b/1.jpg" in note for note in told)


def test_one_reference_is_not_given_to_two_files(root):
    found, told = read(root, ["1.jpg,a dog", "2.jpg,a cat"])
    assert found == {"a/2.jpg": ("a cat",)}
    assert any("2 images have names that several" in note and "b/1.jpg" in note for note in told)


def test_captions_of_others_are_refused(root):
    with pytest.raises(ValueError, match=r"none of these images .*names '9\.jpg', here is 'a"):
        read(root, ["9.jpg,a dog"])


def test_lines_that_are_left_out_are_told(root):
    _, told = read(root, ["a/1.jpg,a dog", "notes.pdf,a page"])
    assert any("left out, 1: line 3: notes.pdf" in note for note in told)
