"""Caption scores against numbers worked out by hand, and what must leave them unchanged."""

import stat

import numpy as np
import pytest

from capjax.metrics import meteor as meteors
from capjax.metrics.captions import score_captions, score_images
from capjax.metrics.meteor import Meteor
from tests import java
from tests.java import needs_java

FAST = ("BLEU", "ROUGE-L", "CIDEr")

REFERENCES = {
    7: [
        "a man is climbing a rock wall",
        "a man climbs up a steep rock face outside",
        "the climber scales a wall",
    ],
    3: [
        "a large bird is flying over water",
        "a bird flies over the lake",
        "big white bird over water",
    ],
    5: ["two dogs run on the grass", "dogs playing in a field"],
}
HYPOTHESES = {
    7: "a man is climbing a rock wall",
    3: "a bird flying over water",
    5: "two dogs run on the grass",
}


def corpus(*images, metrics=FAST, meteor=None):
    """Scores of some of the three images."""
    return score_captions(
        {image: REFERENCES[image] for image in images},
        {image: HYPOTHESES[image] for image in images},
        metrics=metrics,
        meteor=meteor,
    )


def bleu(scores):
    """BLEU-1 … BLEU-4 as an array."""
    return np.array([scores[f"BLEU-{order}"] for order in range(1, 5)])


def test_two_images_worked_by_hand():
    scores = corpus(7, 3)
    np.testing.assert_allclose(bleu(scores), [1.0, 0.948683, 0.877205, 0.819036], atol=1e-6)
    assert scores["ROUGE-L"] == pytest.approx(0.904509, abs=1e-6)
    assert scores["CIDEr"] == pytest.approx(3.282551, abs=1e-6)
    assert (scores["n"], scores["notes"]) == (2, [])


def test_three_images_worked_by_hand():
    scores = corpus(7, 3, 5)
    np.testing.assert_allclose(bleu(scores)[1:], [0.966092, 0.919641, 0.881917], atol=1e-6)
    assert scores["CIDEr"] == pytest.approx(3.940872, abs=1e-6)


def test_images_have_their_own_scores():
    images = score_images(REFERENCES, HYPOTHESES, metrics=FAST)
    assert list(images) == [7, 3, 5]
    cider = [images[image]["CIDEr"] for image in (7, 3, 5)]
    np.testing.assert_allclose(cider, [3.963901, 2.583063, 5.275653], atol=1e-6)
    assert images[7]["ROUGE-L"] == pytest.approx(1.0)
    assert images[3]["ROUGE-L"] == pytest.approx(0.809019, abs=1e-6)
    assert images[7]["BLEU-4"] == pytest.approx(1.0, abs=1e-8)


def test_one_image_has_no_cider_and_says_why():
    scores = corpus(7)
    assert scores["CIDEr"] == 0.0
    assert any("single image" in note for note in scores["notes"])


def test_order_of_images_and_references_does_not_matter():
    backwards = score_captions(
        {image: REFERENCES[image][::-1] for image in (5, 3, 7)}, HYPOTHESES, metrics=FAST
    )
    expected = corpus(7, 3, 5)
    for name in ("BLEU-1", "BLEU-4", "ROUGE-L", "CIDEr"):
        assert backwards[name] == pytest.approx(expected[name], abs=1e-12)


def test_every_image_twice():
    references = {**REFERENCES, **{image + 100: own for image, own in REFERENCES.items()}}
    hypotheses = {**HYPOTHESES, **{image + 100: own for image, own in HYPOTHESES.items()}}
    twice = score_captions(references, hypotheses, metrics=FAST)
    np.testing.assert_allclose(bleu(twice), bleu(corpus(7, 3, 5)), atol=1e-8)
    # CIDEr keeps its value only where each n-gram of a caption occurs in some reference; those
    # that occur in none have their weight grow with the number of images.
    known = {7: 7, 5: 5, 107: 7, 105: 5}
    doubled = score_captions(
        {image: REFERENCES[original] for image, original in known.items()},
        {image: HYPOTHESES[original] for image, original in known.items()},
        metrics=("CIDEr",),
    )
    assert doubled["CIDEr"] == pytest.approx(corpus(7, 5)["CIDEr"], abs=1e-9)


def test_a_short_caption_is_only_punished():
    short = {**HYPOTHESES, 7: "a man is climbing"}
    scores = score_captions(REFERENCES, short, metrics=("BLEU",))
    assert (bleu(scores) < bleu(corpus(7, 3, 5))).all()


def test_case_and_punctuation_do_not_count():
    shouted = {image: f"{text.upper()} !" for image, text in HYPOTHESES.items()}
    scores = score_captions(REFERENCES, shouted, metrics=FAST)
    np.testing.assert_allclose(bleu(scores), bleu(corpus(7, 3, 5)))


def test_an_empty_caption_is_scored():
    scores = score_images(REFERENCES, {**HYPOTHESES, 3: ""}, metrics=FAST)
    assert scores[3]["ROUGE-L"] == scores[3]["CIDEr"] == 0.0


@pytest.mark.parametrize(
    ("references", "hypotheses", "text"),
    [
        ({}, {}, "no image to score"),
        ({1: ["a"]}, {2: "a"}, "not both"),
        ({1: []}, {1: "a"}, "no reference"),
        ({1: "a dog"}, {1: "a"}, "one string"),
        ({1: ["."]}, {1: "a"}, "no reference has a word"),
    ],
)
def test_what_cannot_be_scored_is_named(references, hypotheses, text):
    with pytest.raises(ValueError, match=text):
        score_captions(references, hypotheses, metrics=FAST)


def test_unknown_metric_is_named():
    with pytest.raises(ValueError, match="SPICY"):
        corpus(7, 3, metrics=("SPICY",))


@needs_java
def test_meteor_worked_by_hand(capfd):
    asked = (
        [
            ["a dog runs fast"],
            ["a dog runs"],
            ["a dog runs"],
            ["café à gauche"],
            ["a dog", "a cat"],
        ],
        ["a dog runs", "dog a runs", "a dog runs", "café à gauche", ""],
    )
    with java.found(), Meteor() as meteor:
        total, each = meteor.scores(*asked)
        program = meteor._process
        again = meteor.scores([["a dog runs"]], ["dog a runs"])  # knows nothing of the others
        assert meteor._process is program
    np.testing.assert_allclose(each, [0.379946, 0.4, 1.0, 1.0, 0.0], atol=1e-6)
    assert 0.379946 < total < 1.0
    assert again == (pytest.approx(0.4, abs=1e-6), [pytest.approx(0.4, abs=1e-6)])
    assert capfd.readouterr() == ("", "")


def test_without_java_meteor_is_absent_and_explained(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    scores = corpus(7, 3, metrics=("METEOR", "ROUGE-L"))
    assert scores["METEOR"] is None
    assert scores["ROUGE-L"] == pytest.approx(0.904509, abs=1e-6)
    assert any("Java" in note for note in scores["notes"])


def write_java(folder, program, monkeypatch):
    """The only program that is found is a `java` of our own."""
    file = folder / "java"
    file.write_text(program)
    file.chmod(file.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(folder))


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("#!/bin/sh\necho 'Could not reserve enough space' >&2\nexit 1\n", "Could not reserve"),
        ("#!/bin/sh\nread line\nexit 0\n", "it stopped answering"),
        ("\x00\x01 of another machine", "cannot be started"),
    ],
)
def test_a_java_that_fails_is_quoted(program, said, monkeypatch, tmp_path):
    write_java(tmp_path, program, monkeypatch)
    with Meteor() as meteor:
        for _ in range(2):
            scores = corpus(7, 3, metrics=("METEOR",), meteor=meteor)
            assert scores["METEOR"] is None
            assert any(said in note for note in scores["notes"])
            assert meteor._process is None


ANSWERS = """#!/bin/sh
while read -r line; do
    case $line in
        SCORE*) echo 1.0 2.0 ;;
        EVAL*) echo 0.5; echo 0.25 ;;
    esac
done
"""


def test_a_program_that_ended_is_started_again(monkeypatch, tmp_path):
    write_java(tmp_path, ANSWERS, monkeypatch)
    with Meteor() as meteor:
        for _ in range(2):
            assert meteor.scores([["a dog"]], ["a dog"]) == (0.25, [0.5])
            ended = meteor._process
            ended.kill()
            ended.wait()
        assert meteor.scores([["a dog"]], ["a dog"]) == (0.25, [0.5])
        assert meteor._process is not ended
    assert meteor._process is None


def test_an_interrupted_question_ends_the_program(monkeypatch, tmp_path):
    taking = "#!/bin/sh\nwhile read -r line; do :; done\n"  # takes all and answers nothing
    write_java(tmp_path, taking, monkeypatch)
    meteor, seen = Meteor(), []

    def interrupted(*arguments):
        seen.append(meteor._process)
        raise KeyboardInterrupt

    monkeypatch.setattr(meteors, "_converse", interrupted)
    with pytest.raises(KeyboardInterrupt):
        meteor.scores([["a dog"]], ["a dog"])
    assert seen[0].returncode is not None and meteor._process is None
