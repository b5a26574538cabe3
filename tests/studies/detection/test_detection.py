"""Spoilt copies, what changes on them, and the command that tells attacked pictures."""

import argparse
import json

import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from PIL import Image

from capjax.captioner import Captioner, CaptionNet
from capjax.explainers.choosing import with_options
from capjax.studies.adversarial import batch
from capjax.studies.contract import Subject
from capjax.studies.detection import Instability, command
from capjax.studies.detection.copies import as_jpeg, with_noise
from capjax.studies.detection.detectors import COMBINATION, separations
from capjax.studies.detection.instability import changed_share, map_changes
from capjax.text.vocabulary import Vocabulary
from capjax.types import Caption, Preprocessing
from capjax.viz.charts.interval_chart import interval_chart
from tests.explainers.toys import Pixels
from tests.studies.toys import greedy

STUDY = Instability(noises=2, qualities=(60,), at_once=8)  # two pictures a batch
DRAW = np.random.default_rng(0)
PICTURES = DRAW.integers(0, 256, (3, 64, 64, 3)).astype(np.uint8)


class Wavering(nn.Module):
    """One word, "bright" or "dark", by the mean of the pixels; at a mean of 100 by a hair."""

    def _all(self, features):
        mean = features.positions.mean(axis=(1, 2, 3))
        logits = jnp.full((len(mean), 2, TEXT.size), -50.0)
        far = (mean - 100) / 10
        one, other = (TEXT.encode(word)[0] for word in ("bright", "dark"))
        logits = logits.at[:, 0, one].set(far).at[:, 0, other].set(-far)
        return logits.at[:, 1, TEXT.eos].set(50.0)

    def __call__(self, features, tokens, keys=None):
        return self._all(features)[:, jnp.minimum(jnp.arange(tokens.shape[1]), 1)], None

    def start(self, features, length=None):
        return jnp.zeros(len(features.positions), jnp.int32), self._all(features)

    def step(self, carry, token, memory):
        return carry + 1, memory[jnp.arange(len(carry)), jnp.minimum(carry, 1)], None

    def readout(self, hidden):
        return hidden


TEXT = Vocabulary.build(["bright dark"])


@pytest.fixture(scope="module")
def found():
    """Three pictures at once and each alone."""
    subjects = [
        Subject(f"{n}", own, own, Caption("", (), (), np.zeros(0), 0.0, True))
        for n, own in enumerate(PICTURES)
    ]
    together = list(STUDY.run(greedy(), subjects))
    return together, [next(STUDY.run(greedy(), [own])) for own in subjects]


def test_copies_are_of_the_pixels_alone():
    flat = np.full((2, 16, 24, 3), 90, np.uint8)  # a clip of two frames
    np.testing.assert_array_equal(with_noise(flat, 0.0, 1), flat)
    np.testing.assert_array_equal(as_jpeg(flat, 50), flat)
    first, second = with_noise(flat, 4.0, 0), with_noise(flat, 4.0, 1)
    np.testing.assert_array_equal(first, with_noise(flat.copy(), 4.0, 0))
    assert (first != second).any()
    assert np.std(first.astype(float)) == pytest.approx(4, rel=0.1)
    np.testing.assert_array_equal(as_jpeg(PICTURES, 50)[1], as_jpeg(PICTURES[1], 50))
    assert (as_jpeg(PICTURES[0], 50) != PICTURES[0]).any()


def test_changes_of_words_and_maps_by_hand():
    words = "a man on a horse".split()
    assert changed_share(words, words) == 0 == changed_share([], [])
    assert changed_share(words, "a dog on a red horse".split()) == 2 / 6
    assert changed_share([], words) == changed_share(words, []) == 1
    ranked = np.arange(12.0).reshape(2, 6)
    after = np.stack([ranked, -ranked, np.stack([ranked[0], -ranked[1]])])
    np.testing.assert_allclose(map_changes(ranked, after), [0, 2, 1])
    np.testing.assert_array_equal(map_changes(np.zeros((0, 6)), np.zeros((2, 0, 6))), [0, 0])


def test_a_picture_is_as_unstable_alone_as_among_others(found):
    together, alone = found
    assert [own.name for own in together] == ["0", "1", "2"]
    for several, one in zip(together, alone, strict=True):
        assert several.numbers == one.numbers and several.tables == one.tables
    names = {name for own in together for name in own.numbers}
    measures = ("log-probability lost per word", "attention", "gradcam")
    for kind in ("noise", "JPEG"):
        for measure in measures:
            (name,) = (n for n in names if n.startswith(measure) and n.endswith(f"under {kind}"))
            assert any(own.numbers[name] != 0 for own in together)
    (table,) = together[0].tables.values()
    assert [row[0] for row in table.rows] == ["picture", "noise 1", "noise 2", "JPEG 60"]
    summary = STUDY.summarise(together)
    assert summary.numbers["pictures"] == 3


def test_a_captioner_that_wavers_on_attacked_pictures_is_told():
    net = CaptionNet(Pixels(), Wavering(), (0.0,) * 3, (1.0,) * 3)
    card = {"decoding": {"method": "greedy", "max_length": 3}}
    captioner = Captioner(net, {}, TEXT, Preprocessing((8, 8)), card)
    study = Instability(noises=15, qualities=(), methods="", at_once=96)
    clean = [np.full((8, 8, 3), 200 + row, np.uint8) for row in range(6)]
    attacked = [np.full((8, 8, 3), 100, np.uint8) for _ in range(6)]
    for row, picture in enumerate(attacked):
        picture[0, row] += 1  # other pixels, other noise
    numbers = [[one.numbers for one in study.of(captioner, own)] for own in (clean, attacked)]
    told = separations(numbers[0], numbers[1], np.ones(6, bool))
    assert told["words changed under noise"]["value"] == told[COMBINATION]["value"] == 1
    assert all(own["words changed under noise"] == 0 for own in numbers[0])


def test_the_command_tells_nothing_at_epsilon_0(tmp_path, monkeypatch):
    within = []

    def attack_all(captioner, method, images, own, epsilons, **given):
        within.append(list(epsilons))
        return batch.attack_all(captioner, method, images, own, epsilons, **given)

    monkeypatch.setattr(command, "attack_all", attack_all)
    for number, picture in enumerate(PICTURES[:2]):
        Image.fromarray(picture).save(tmp_path / f"{number}.png")
    parser = argparse.ArgumentParser()
    command.add_options(parser)
    text = f"--model=toy --images {tmp_path} --out={tmp_path / 'out'} --attacks=fgsm"
    text += " --epsilons=0,16 --counted=all --batch-size=8 --set=noises=2 --set=qualities=60"
    options = parser.parse_args([*text.split(), "--set=at_once=8"])
    told: list[str] = []
    found = command.detect(options, greedy(), told.append)
    assert within == [[0], [16]]  # attacked pictures of one are held at once
    still, moved = found.separations.values()
    assert {own["value"] for name, own in still.items() if name != COMBINATION} == {0.5}
    assert len(moved) == len(still) and found.counted["fgsm within 0/255"] == 2
    found.write(tmp_path / "out")
    results = json.loads((tmp_path / "out" / command.RESULTS).read_text())
    first = results["pictures"]["0.png"]
    assert [own["picture"] for own in first] == ["clean", *found.counted]
    assert first[0]["numbers"] == first[1]["numbers"] and first[1]["fooled"] is False
    assert len((tmp_path / "out" / command.TABLE).read_text().splitlines()) == 1 + 2 * len(still)
    assert "0.500 [0.500, 0.500]" in str(found) and told[-1].startswith("fgsm within 16/255")
    drawn = interval_chart(found.intervals, "AUC")
    assert drawn.height > interval_chart({"one": found.intervals["fgsm within 0/255"]}, "").height


def test_options_that_make_no_sense_are_refused():
    for option, text in (
        ("noises=-1", "one copy or more"),
        ("qualities=0", "expected 1 to 100"),
        ("noise=300", "levels from 0 to 255"),
        ("at_once=0", "1 or more"),
        ("steps=3", "has no option 'steps=3'"),
    ):
        with pytest.raises(ValueError, match=text):
            with_options(Instability(), [option], "instability")
    with pytest.raises(ValueError, match="one copy or more"):
        Instability(noises=0, qualities=())
