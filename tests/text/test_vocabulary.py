import json

import pytest

from capjax.data.sources.sources import read_captions
from capjax.text.vocabulary import SPECIALS, Vocabulary

CAPTIONS = ["A dog runs.", "Dog on grass", "A dog sleeps"]


def test_reserved_ids_come_first():
    vocabulary = Vocabulary.build(CAPTIONS)
    assert (vocabulary.pad, vocabulary.bos, vocabulary.eos, vocabulary.unk) == (0, 1, 2, 3)
    assert vocabulary.words([0, 1, 3]) == ["<pad>", "<start>", "<unk>"]
    assert vocabulary.size == 4 + 6


def test_words_are_ranked_by_count_then_spelling():
    # dog 3, a 2, then once each: grass on runs sleeps
    assert Vocabulary.build(CAPTIONS).entries[4:] == ("dog", "a", "grass", "on", "runs", "sleeps")
    assert Vocabulary.build(CAPTIONS, threshold=2).entries[4:] == ("dog", "a")
    assert Vocabulary.build(CAPTIONS, threshold=3).entries[4:] == ("dog",)
    assert Vocabulary.build(CAPTIONS, cap=3).entries[4:] == ("dog", "a", "grass")


def test_order_of_captions_does_not_matter():
    assert Vocabulary.build(CAPTIONS).hash == Vocabulary.build(reversed(CAPTIONS)).hash
    assert Vocabulary.build(CAPTIONS).hash != Vocabulary.build(CAPTIONS, cap=3).hash


def test_an_impossible_threshold_says_so():
    with pytest.raises(ValueError, match=r"no word occurs 9 times .*6 distinct.*lower the"):
        Vocabulary.build(CAPTIONS, threshold=9)
    with pytest.raises(ValueError, match="at least 1"):
        Vocabulary.build(CAPTIONS, cap=0)


def test_encode_ends_with_the_end_token_once():
    vocabulary = Vocabulary.build(CAPTIONS)
    ids = vocabulary.encode("A dog, on grass!")
    assert vocabulary.words(ids) == ["a", "dog", "on", "grass"]
    assert ids.count(vocabulary.eos) == 1 and ids[-1] == vocabulary.eos
    assert vocabulary.encode("") == [vocabulary.eos]


def test_truncation_keeps_the_end_token():
    vocabulary = Vocabulary.build(CAPTIONS)
    full = vocabulary.encode("a dog on grass")
    assert vocabulary.encode("a dog on grass", max_len=3) == [*full[:2], vocabulary.eos]
    assert vocabulary.encode("a dog on grass", max_len=5) == full
    assert vocabulary.encode("a dog", max_len=1) == [vocabulary.eos]
    with pytest.raises(ValueError, match="room for the end token"):
        vocabulary.encode("a dog", max_len=0)


def test_decode_stops_at_the_end_and_rejects_foreign_ids():
    vocabulary = Vocabulary.build(CAPTIONS)
    ids = vocabulary.encode("a dog runs") + [0, 0, 999]
    assert vocabulary.decode(ids) == "a dog runs"
    with pytest.raises(ValueError, match="id 999 is outside this vocabulary of 10"):
        vocabulary.decode([999])


def test_unknown_words_are_shown_as_written():
    vocabulary = Vocabulary.build(CAPTIONS)
    text = "A Zebra runs."
    ids = vocabulary.encode(text)
    assert ids[1] == vocabulary.unk
    assert vocabulary.spans(ids) == (["a", "<unk>", "runs"], [(0, 1), (1, 2), (2, 3)])
    assert vocabulary.spans(ids, text)[0] == ["a", "zebra", "runs"]
    with pytest.raises(ValueError, match="'a <unk> runs', not 'a dog runs'"):
        vocabulary.spans(ids, "a dog runs")


def test_special_tokens_cannot_be_written_in_a_caption():
    vocabulary = Vocabulary(SPECIALS + ("dog",))
    for special in SPECIALS:
        assert special not in vocabulary
        assert vocabulary.encode(special)[:-1].count(vocabulary.unk) == len(
            vocabulary.encode(special)[:-1]
        )


def test_json_round_trip(tmp_path):
    vocabulary = Vocabulary.build([*CAPTIONS, "un café"])
    again = Vocabulary.from_json(vocabulary.to_json())
    assert again == vocabulary and hash(again) == hash(vocabulary)
    vocabulary.save(tmp_path / "vocabulary.json")
    assert Vocabulary.load(tmp_path / "vocabulary.json", expected_hash=vocabulary.hash) == again


def test_another_vocabulary_is_refused_with_both_hashes(tmp_path):
    one, other = Vocabulary.build(CAPTIONS), Vocabulary.build(CAPTIONS, cap=2)
    with pytest.raises(ValueError) as caught:
        Vocabulary.from_json(one.to_json(), expected_hash=other.hash)
    assert one.hash in str(caught.value) and other.hash in str(caught.value)
    body = json.loads(one.to_json())
    body["entries"][5], body["entries"][6] = body["entries"][6], body["entries"][5]
    path = tmp_path / "edited.json"
    path.write_text(json.dumps(body))
    with pytest.raises(ValueError, match=f"edited.json.*{one.hash}"):
        Vocabulary.load(path)


def test_words_as_they_were_once_cut_still_load_and_decode(tmp_path):
    """Letters and marks were words of their own before captions were brought to a normal form."""
    old = Vocabulary((*SPECIALS, "घ", "ो", "ड़", "cafe", "\u0301", "«", "dog"))
    old.save(tmp_path / "vocabulary.json")
    again = Vocabulary.load(tmp_path / "vocabulary.json", expected_hash=old.hash)
    assert again.decode([10, 4, 5, 7, 8, 9, 2]) == "dog घ ो cafe \u0301 «"
    assert again.encode("A dog") == [again.unk, 10, again.eos]


@pytest.mark.parametrize("text", ["[]", "{", '{"entries": []}', '{"hash": "x", "entries": ["a"]}'])
def test_a_file_that_is_no_vocabulary_says_what_was_expected(text):
    with pytest.raises(ValueError, match="expected JSON with|starts with <pad>"):
        Vocabulary.from_json(text)


def test_counts_of_the_shared_photographs(shared_data):
    """About 1,598 entries for words seen at least 4 times, as a prototype counted."""
    folder = shared_data / "coco" / "annotations"
    train = read_captions(folder / "captions_train.json", check_images=False)
    captions = [caption for record in train for caption in record.captions]
    vocabulary = Vocabulary.build(captions, threshold=4)
    # The figure comes from another tokenizer (no apostrophe rules), hence the margin.
    assert abs(vocabulary.size - 1598) < 20
