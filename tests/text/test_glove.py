import numpy as np
import pytest

from capjax.text.glove import read_glove
from capjax.text.vocabulary import Vocabulary

VOCABULARY = Vocabulary.build(["a dog runs on grass"])


def initial(dimension=3):
    return np.full((VOCABULARY.size, dimension), -1.0, np.float32)


def write(tmp_path, text):
    path = tmp_path / "glove.txt"
    path.write_text(text, encoding="utf-8")
    return path


def test_found_rows_are_filled_and_missing_rows_kept(tmp_path):
    path = write(tmp_path, "the 9 9 9\ndog 0.5 -1 2e-1\ngrass 1 2 3\n")
    read = read_glove(path, VOCABULARY, initial=initial())
    rows = {word: read.matrix[i] for i, word in enumerate(VOCABULARY.entries)}
    np.testing.assert_allclose(rows["dog"], [0.5, -1, 0.2], rtol=1e-6)
    np.testing.assert_array_equal(rows["grass"], [1, 2, 3])
    for word in ("<pad>", "<unk>", "a", "runs", "on"):
        np.testing.assert_array_equal(rows[word], [-1, -1, -1])
    assert read.found == 2 and set(read.missing) == {"a", "runs", "on"}
    assert read.matrix.dtype == np.float32


def test_entries_with_spaces_do_not_confuse(tmp_path):
    path = write(tmp_path, "dog 1 2 3\n. . . 4 5 6\ndog @ x 7 8 9\na 4 5 6\n")
    read = read_glove(path, VOCABULARY, initial=initial())
    assert read.found == 2
    np.testing.assert_array_equal(read.matrix[VOCABULARY.entries.index("dog")], [1, 2, 3])


def test_words_are_found_in_either_normal_form(tmp_path):
    vocabulary = Vocabulary.build(["un café"])
    path = write(tmp_path, "cafe\u0301 1 2 3\n")
    read = read_glove(path, vocabulary, initial=np.zeros((vocabulary.size, 3), np.float32))
    assert read.missing == ("un",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dog 1 2 3 4\n", "line 1: expected a word and 3 numbers, got 5 fields"),
        ("dog 1 2\n", "line 1: expected a word and 3 numbers, got 3 fields"),
        ("400000 3\ndog 1 2 3\n", "line 1: expected a word and 3 numbers"),
        ("cat 1 2 3\ndog 1 2\n", "line 2: expected a word and 3 numbers, got 3 fields"),
        ("cat 1 2 3\ndog 1 x 3\n", "line 2: could not convert"),
    ],
)
def test_damage_is_named_by_line(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        read_glove(write(tmp_path, text), VOCABULARY, initial=initial())


def test_initial_rows_must_fit_the_vocabulary(tmp_path):
    with pytest.raises(ValueError, match=r"shape \(3, 3\); expected \(9, dimension\)"):
        read_glove(write(tmp_path, "dog 1 2 3\n"), VOCABULARY, initial=np.zeros((3, 3)))
