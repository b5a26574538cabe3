"""Byte-pair words: ids, texts and how pieces become words."""

import json

import pytest
import tokenizers

from capjax.text.byte_pair import BytePair
from tests.text.byte_pairs import CORPUS, END, small_byte_pair, train


@pytest.fixture(scope="module")
def published():
    return train()


@pytest.fixture(scope="module")
def text():
    return small_byte_pair()


SENTENCES = [
    "a man riding a wave",
    "naïve café 😀 — “quoted” 100% 漢字",
    "e\u0301 combined, and more!",
    "unseen zyxwv words",
    "A dog's T-shirt costs 3.50 at 10:30, ok?",
]


@pytest.mark.parametrize("sentence", SENTENCES)
def test_any_text_comes_back(text, published, sentence):
    ids = text.encode(sentence)
    assert ids == [*published.encode(sentence).ids, text.eos]
    assert text.decode(ids) == sentence
    if sentence.isascii():
        assert "".join(text.words(ids)) == sentence


def test_blanks_and_ends(text):
    assert text.encode("  a \u00a0 man\n") == text.encode("a man")
    assert text.encode("") == [text.eos]
    assert text.decode([text.eos, 5, 6]) == "" and text.spans([text.eos]) == ([], [])
    long = text.encode(CORPUS[1])
    assert text.encode(CORPUS[1], 4) == [*long[:3], text.eos]
    # The first word has no space before it, the same word later has.
    assert text.encode("dog dog")[:-1] != 2 * text.encode("dog")[:-1]
    assert text.words(text.encode("dog"))[0][0] == "d"
    assert " " in [piece[0] for piece in text.words(text.encode("dog dog"))]
    with pytest.raises(ValueError, match="room for the end token; got 0"):
        text.encode("a", 0)
    with pytest.raises(ValueError, match="id 9999 is outside"):
        text.words([9999])


def test_a_caption_may_spell_the_end_token(text):
    ids = text.encode(f"a {END} b")
    assert ids.index(text.eos) == len(ids) - 1
    assert text.decode(ids) == f"a {END} b"


def test_nothing_is_unknown(text):
    assert text.pad == text.bos == text.unk == text.eos == text.size - 1
    assert text.unk not in text.encode("zyxwv 漢字")[:-1]


@pytest.mark.parametrize(
    ("sentence", "words"),
    [
        ("a man riding a wave", "a|man|riding|a|wave"),
        ("zyxwv 漢字 naïve", "zyxwv|漢字|naïve"),
        ("a dog's t-shirt, red.", "a|dog's|t-shirt|,|red|."),
        ("(two) dogs... run!?", "(|two|)|dogs|...|run|!?"),
        ('at 3.50 or 10:30, 1,000 "x"', 'at|3.50|or|10:30|,|1,000|"|x|"'),
        ("dogs' tails - and 'quotes'", "dogs|'|tails|-|and|'|quotes|'"),
        ("e\u0301te\u0301 😀", "e\u0301te\u0301|😀"),
    ],
)
def test_pieces_become_words(text, sentence, words):
    ids = text.encode(sentence)
    shown, spans = text.spans(ids, sentence)
    assert shown == words.split("|")
    # Every piece belongs to one word, in order, and spells it.
    assert [start for start, _ in spans] == [0, *(end for _, end in spans[:-1])]
    assert spans[-1][1] == len(ids) - 1
    for word, (start, end) in zip(shown, spans, strict=True):
        assert text.decode(ids[start:end]) == word


def test_blanks_at_the_end_are_no_word(text):
    space = text.words(range(text.size - 1)).index(" ")
    ids = [*text.encode("a man")[:-1], space, text.eos]
    assert text.spans(ids) == (["a", "man"], text.spans(text.encode("a man"))[1])
    assert text.decode(ids) == "a man"
    assert text.spans([space, text.eos]) == ([], [])
    # Broken bytes, as a model may write them, neither raise nor hide a piece.
    half = text.encode("漢")[:1]
    words, spans = text.spans([*text.encode("a man")[:-1], *half, text.eos])
    assert spans[-1][1] == len(text.encode("a man")) and words[-1].endswith("�")


def test_other_text_than_was_encoded_is_refused(text):
    with pytest.raises(ValueError, match="these ids spell 'a man', not 'a woman'"):
        text.spans(text.encode("a man"), "a woman")


def test_lowercase_is_a_choice_that_travels(text):
    lowered = BytePair(text.entries, text.merges, text.eos, lowercase=True)
    assert lowered.encode("A Man") == text.encode("a man") != text.encode("A Man")
    assert lowered.hash != text.hash
    assert BytePair.from_json(lowered.to_json()) == lowered


def test_one_file_keeps_everything(text, tmp_path):
    path = tmp_path / BytePair.FILE
    text.save(path)
    loaded = BytePair.load(path, expected_hash=text.hash)
    assert loaded == text and loaded.hash == text.hash
    library = tokenizers.Tokenizer.from_file(str(path))
    assert library.encode(CORPUS[1]).ids == text.encode(CORPUS[1])
    with pytest.raises(ValueError, match=rf"tokenizer.json: .*{text.hash}.* the model needs 00"):
        BytePair.load(path, expected_hash="00")


def test_the_two_published_forms_agree(text, tmp_path):
    vocabulary, merges = tmp_path / "vocab.json", tmp_path / "merges.txt"
    vocabulary.write_text(json.dumps({piece: n for n, piece in enumerate(text.entries)}))
    lines = "\n".join(" ".join(pair) for pair in text.merges)
    merges.write_text(f"#version: 0.2\n{lines}\n")
    assert BytePair.from_files(vocabulary, merges, eos=text.eos) == text
    vocabulary.write_text(json.dumps({"a": 0, "b": 2}))
    with pytest.raises(ValueError, match=r"vocab.json: the ids of 2 pieces are not 0 to 1"):
        BytePair.from_files(vocabulary, merges, eos=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pre_tokenizer": {"type": "Whitespace"}}, "pre_tokenizer.type is 'Whitespace'"),
        (
            {"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": True}},
            "pre_tokenizer.add_prefix_space is True; expected False",
        ),
        ({"normalizer": {"type": "NFC"}}, "normalizer is 'NFC'; expected None or 'Lowercase'"),
        ({"model": {"type": "WordPiece", "vocab": {}, "merges": []}}, "model.type is 'WordPiece'"),
        ({"model": {}}, "not a byte-pair tokenizer"),
    ],
)
def test_another_tokenizer_is_refused(text, change, message):
    body = {**json.loads(text.to_json()), **change}
    with pytest.raises(ValueError, match=message):
        BytePair.from_json(json.dumps(body))


def test_an_end_token_is_needed(published, text):
    with pytest.raises(ValueError, match="says no end token; give its id"):
        BytePair.from_json(published.to_str())
    with pytest.raises(ValueError, match="end token 999 is outside this vocabulary"):
        BytePair(text.entries, text.merges, 999)


def test_every_byte_and_every_merge_has_a_piece(text):
    with pytest.raises(ValueError, match="of 330 pieces lacks z; expected one piece for each byte"):
        BytePair([piece for piece in text.entries if piece != "z"], text.merges, 0)
    with pytest.raises(ValueError, match="lacks zq"):
        BytePair(text.entries, (*text.merges, ("z", "q")), 0)
