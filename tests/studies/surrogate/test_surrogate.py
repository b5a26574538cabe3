"""Pairs to learn from, and a surrogate beside its original."""

import argparse
import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from capjax.api import caption
from capjax.data.sources.sources import read_captions
from capjax.explainers.results import Explained
from capjax.metrics.similarity import Distance
from capjax.studies.surrogate import command, pairs
from capjax.studies.surrogate.comparison import Said, agreement, check_alike, map_agreement
from capjax.types import Explanation, Geometry
from tests.studies.toys import greedy

DRAW = np.random.default_rng(0)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(3):
        pixels = DRAW.integers(0, 256, (64, 64, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def parsed(module, text):
    parser = argparse.ArgumentParser()
    module.add_options(parser)
    return parser.parse_args(text.split())


def test_pairs_hold_what_the_captioner_says_of_the_very_pixels(pictures, tmp_path):
    text = f"--model=toy --images {pictures} --out={tmp_path} --attack=fgsm --epsilon=6"
    told: list[str] = []
    file = pairs.write_pairs(
        parsed(pairs, f"{text} --batch-size=8 --val-share=0.5"), greedy(), told.append
    )
    records = read_captions(file)
    body = json.loads(file.read_text())
    assert body["made_from"]["model"] == greedy().hash and body["made_from"]["epsilon"] == 6
    assert len(records) == 6 and {record.split for record in records} == {"train", "val"}
    by_key = {record.key: record for record in records}
    for number in range(3):
        clean, moved = (by_key[f"{kind}/{number}.png.png"] for kind in ("clean", "adversarial"))
        assert clean.split == moved.split
        first, second = (np.asarray(Image.open(own.image)).astype(int) for own in (clean, moved))
        np.testing.assert_array_equal(first, np.asarray(Image.open(pictures / f"{number}.png")))
        assert np.abs(second - first).max() == 6
    found = caption(greedy(), [own.image for own in records], batch_size=8)
    assert [(own.text,) for own in found] == [own.captions for own in records]
    with pytest.raises(ValueError, match="this model sees clips"):
        clips = dataclasses.replace(greedy().preprocessing, frames=3)
        pairs.write_pairs(
            parsed(pairs, text), dataclasses.replace(greedy(), preprocessing=clips), told.append
        )


def test_an_interrupted_run_leaves_no_captions_of_other_pictures(pictures, tmp_path, monkeypatch):
    file = tmp_path / pairs.CAPTIONS
    file.write_text("of an earlier run")
    options = parsed(pairs, f"--model=toy --images {pictures} --out={tmp_path}")

    def stopped(*given):
        assert file.exists()  # until there is a picture to write
        yield "0.png", "clean", np.zeros((64, 64, 3), np.uint8), "a man"
        raise KeyboardInterrupt

    monkeypatch.setattr(pairs, "_pairs", stopped)
    with pytest.raises(KeyboardInterrupt):
        pairs.write_pairs(options, greedy(), lambda line: None)
    assert not file.exists() and (tmp_path / "images" / "clean" / "0.png.png").exists()


def test_a_surrogate_beside_its_original(pictures, tmp_path):
    text = f"--model=toy --original=toy --images {pictures} --out={tmp_path} --attack=fgsm"
    people = tmp_path / "people.csv"
    people.write_text("image,caption\n0.png,two dogs play\n")
    options = parsed(command, f"{text} --captions={people} --batch-size=8 --drawn=1")
    told: list[str] = []
    itself = command.compare(options, greedy(), greedy(), told.append)
    for kind in ("clean", "adversarial"):
        own = itself.results["agreement"][kind]
        assert own["equal"]["value"] == 1 and own["distance"]["value"] == 0
        assert all(
            maps["value"] == pytest.approx(1) for maps in itself.results["maps"][kind].values()
        )
        scores = itself.results["scores"][kind]
        assert scores["original"] == scores["surrogate"] and scores["original"]["n"] == 1
    assert itself.results["changed"]["original"] == itself.results["changed"]["surrogate"]
    other = command.compare(options, greedy(), greedy(3), told.append)
    assert other.results["agreement"]["clean"]["equal"]["value"] < 1
    assert other.results["maps"]["clean"]["attention"]["value"] < 0.999
    assert [own.name for own in other.drawn] == ["clean/0.png", "adversarial/0.png"]
    assert len(other.drawn[0].maps) == 4  # two methods of two models
    other.write(tmp_path)
    head, *rows = (tmp_path / command.TABLE).read_text().splitlines()
    pictures = ["clean pictures", "adversarial pictures"]
    assert head.split(",") == ["measure", *pictures, *(f"{name} counted" for name in pictures)]
    assert len(rows) == len(other.table.rows) and "captions that are equal" in str(other)
    counts = {row[0]: row[3:] for row in other.table.rows}
    assert counts.pop("captions of the original that the attack changes") == (None, 3)
    assert counts.pop("captions of the surrogate that the attack changes") == (None, 3)
    few = {name for name, own in counts.items() if own == (1, 1)}
    assert few == {name for name in counts if name.endswith("people's as references")} and few
    spoken = [
        sum(bool(own[kind]["original"]) for own in other.results["pictures"])
        for kind in ("clean", "adversarial")
    ]
    assert counts["Spearman of both models' maps, gradcam"] == tuple(spoken)
    assert "\nNote: CIDEr of a single image is 0" in str(other)


def test_maps_are_kept_of_the_pictures_that_are_drawn_alone(monkeypatch):
    asked = []

    def maps_of(captioner, pictures, sentences, methods, size):
        asked.append((captioner, list(sentences)))
        return [explained(np.arange(4.0).reshape(1, 1, 2, 2)) for _ in sentences]

    monkeypatch.setattr(command, "maps_of", maps_of)
    said = Said(np.zeros((5, 1)), ["a", "", "c", "d", "e"], ["a"] * 5)
    methods = [SimpleNamespace(labels={"m": "m"})]
    alike, pairs = command._both_maps("one", "other", said, methods, 3, [0, 3])
    assert list(pairs) == [0, 3] and alike["m"]["value"] == 1 and alike["m"]["n"] == 4
    batches = (["a", "c", "d"], ["e"])
    assert asked == [(name, own) for own in batches for name in ("one", "other")]


def test_agreement_by_hand():
    own = ["a man", "two dogs", "a ball", "a red wave"]
    said = Said(np.zeros((4, 1)), own, ["a man", "a horse", "a ball", "a red wave"])
    found = agreement(said, Distance())
    assert found["equal"]["value"] == 0.75 and found["distance"]["value"] == pytest.approx(0.25)
    assert found["CIDEr"] > agreement(Said(said.pictures, own, own[::-1]), Distance())["CIDEr"]


def test_captioners_of_other_pictures_are_refused():
    small = dataclasses.replace(greedy().preprocessing, size=(32, 32))
    with pytest.raises(ValueError, match=r"data.image_size=64 --config.data.resize=squash"):
        check_alike(greedy(), dataclasses.replace(greedy(), preprocessing=small))


def explained(maps):
    grid = maps.shape[2:]
    own = Explanation(
        maps, ("a",), ((0, 1),), np.zeros(1), "m", Geometry((8, 8), (8, 8), (0, 0, 8, 8), grid)
    )
    return Explained(None, None, np.zeros(1), {"m": own})


def test_maps_of_other_grids_are_compared_on_the_coarser():
    coarse = np.arange(4.0, dtype=np.float32).reshape(1, 1, 2, 2)
    fine = np.repeat(np.repeat(coarse, 2, axis=2), 2, axis=3)
    assert map_agreement(explained(coarse), explained(fine))["m"] == pytest.approx(1)
    assert map_agreement(explained(coarse), explained(-fine))["m"] == pytest.approx(-1)
