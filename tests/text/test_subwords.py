"""WordPiece and CLIP's BPE on toy vocabularies, and what is cut from long texts."""

import numpy as np
import pytest

from capjax.text.subwords import (
    CLIP_END,
    CLIP_START,
    Subwords,
    clip_bpe,
    read_merges,
    read_tokenizer,
    word_piece,
)

pytest.importorskip("tokenizers")

PIECES = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "un", "##aff", "##able", "naive", "cafe", ",", "##s")


def bert(max_length=8, **fields):
    return Subwords(word_piece(PIECES, **fields), pad=0, max_length=max_length)


def byte_symbols():
    """GPT-2's printable stand-ins for the 256 bytes, in its order."""
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    moved = [value for value in range(256) if value not in kept]
    return [chr(value) for value in kept] + [chr(256 + index) for index in range(len(moved))]


def clip(max_length=77, merges=(("c", "a"), ("ca", "f"), ("o", "n</w>"))):
    symbols = byte_symbols()
    symbols += [symbol + "</w>" for symbol in symbols]
    symbols += ["".join(pair) for pair in merges] + [CLIP_START, CLIP_END]
    vocabulary = {symbol: number for number, symbol in enumerate(symbols)}
    tokenizer = clip_bpe(vocabulary, merges)
    return Subwords(tokenizer, pad=vocabulary[CLIP_END], max_length=max_length)


def test_longest_pieces_first():
    assert bert().pieces("unaffable") == ["[CLS]", "un", "##aff", "##able", "[SEP]"]


def test_lower_case_accents_punctuation_and_unknown_words():
    assert bert().pieces("NAÏVE,cafés") == ["[CLS]", "naive", ",", "cafe", "##s", "[SEP]"]
    assert bert().pieces("unhappy " + "a" * 101) == ["[CLS]", "[UNK]", "[UNK]", "[SEP]"]
    assert bert(lowercase=False).pieces("NAÏVE") == ["[CLS]", "[UNK]", "[SEP]"]


def test_reading_what_was_written_gives_the_same():
    once = bert().decode(bert().encode(["Unaffable, naïve"])[0])
    assert once == "unaffable, naive"
    assert bert().decode(bert().encode([once])[0]) == once


def test_empty_texts_are_their_special_tokens():
    assert bert().encode([""]) == [[2, 3]]
    assert clip().pieces("  ") == [CLIP_START, CLIP_END]


def test_truncation_keeps_the_end():
    assert bert(5).encode(["unaffable unaffable"]) == [[2, 4, 5, 6, 3]]
    words = clip()
    ids = words.encode(["on " * 100])[0]
    assert len(ids) == 77
    assert ids[76] == words.pad
    assert words.pad not in ids[:76]


def test_rows_are_filled_with_padding():
    tokens, mask = bert().padded([[2, 4, 3], [2, 3]], (3, 4))
    np.testing.assert_array_equal(tokens, [[2, 4, 3, 0], [2, 3, 0, 0], [0, 0, 0, 0]])
    np.testing.assert_array_equal(mask.sum(1), [3, 2, 0])


@pytest.mark.parametrize("text", ["naïve café 😀", "a man on 12 surf boards !", "it's on"])
def test_bytes_come_back(text):
    words = clip()
    found = words.decode(words.encode([text])[0])
    # Blanks are not kept: every word ends with one.
    assert found.split() == " ".join(words_of(text)).split()


def words_of(text):
    """By hand, for the texts above: contractions and single digits stand alone."""
    return text.replace("12", "1 2").replace("it's", "it 's").split()


def test_merges_stop_at_words_and_go_first_to_last():
    pieces = clip().pieces("Café  ON")
    assert pieces == [CLIP_START, "caf", "Ã", "©</w>", "on</w>", CLIP_END]


def test_single_digits_and_contractions_stand_alone():
    pieces = [piece for piece in clip().pieces("on10 he's") if piece.endswith("</w>")]
    assert pieces == ["on</w>", "1</w>", "0</w>", "e</w>", "s</w>"]


def test_a_tokenizer_file_is_read_without_its_padding_and_length(tmp_path):
    tokenizer = word_piece(PIECES)
    tokenizer.enable_padding(length=16)
    tokenizer.enable_truncation(3)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    read = Subwords(read_tokenizer(tmp_path / "tokenizer.json"), pad=0, max_length=8)
    assert read.encode(["unaffable"]) == [[2, 4, 5, 6, 3]]


def test_merges_file(tmp_path):
    path = tmp_path / "merges.txt"
    path.write_text("#version: 0.2\nc a\n# b\n", encoding="utf-8")
    assert read_merges(path) == [("c", "a"), ("#", "b")]
    path.write_text("c a f\n")
    with pytest.raises(ValueError, match="'c a f'; expected two symbols"):
        read_merges(path)


def test_wrong_files_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"3 pieces lacks \[CLS\], \[SEP\]"):
        word_piece(("[PAD]", "[UNK]", "a"))
    with pytest.raises(ValueError, match="endoftext"):
        clip_bpe({CLIP_START: 0}, ())
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ValueError, match="cannot read .*tokenizer.json"):
        read_tokenizer(tmp_path / "tokenizer.json")
