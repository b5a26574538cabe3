"""Training on captions of one's own: any caption file, divided by image where it has no splits."""

import csv
import json
import runpy
from pathlib import Path

import pytest

from capjax.captioner import load_captioner
from capjax.config import encoder_section
from capjax.config import experiment as settings
from capjax.data.batches.pipeline import CaptionSamples
from capjax.data.captions.origin import divide, drawn_by
from capjax.data.captions.splits import Draw
from capjax.data.sources.sources import read_captions
from capjax.evaluate import __main__ as evaluate
from capjax.experiment import run_experiment
from capjax.experiment.data import build_vocabulary, load_splits, unknown_words
from capjax.experiment.workdir import differences
from tests.train.tiny import shrink, write_dataset

ROOT = Path(__file__).parents[2]
FILES = ("captions.csv", "captions.json", "karpathy.json", "metadata.jsonl")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Sixteen pictures and their captions in four formats; Karpathy's states the drawn splits."""
    base = write_dataset(tmp_path_factory.mktemp("own")) / "flickr8k"
    entries = json.loads((base / "dataset_flickr8k.json").read_text())["images"]
    names = [entry["filename"] for entry in entries]
    said = [[each["raw"] for each in entry["sentences"]] for entry in entries]
    rows = [(name, caption) for name, own in zip(names, said, strict=True) for caption in own]
    with open(base / "captions.csv", "w", newline="") as file:
        csv.writer(file).writerows([("image", "caption"), *rows])
    images = [{"id": f"x{n}", "file_name": name} for n, name in enumerate(names)]
    pairs = [{"image_id": f"x{names.index(name)}", "caption": caption} for name, caption in rows]
    (base / "captions.json").write_text(json.dumps({"images": images, "annotations": pairs}))
    for entry, split in zip(entries, Draw().splits(names), strict=True):
        entry["split"] = split
    (base / "karpathy.json").write_text(json.dumps({"images": entries}))
    lines = [json.dumps({"file_name": n, "text": own}) for n, own in zip(names, said, strict=True)]
    (base / "metadata.jsonl").write_text("\n".join(lines))
    return base


def tiny(folder, name="captions.csv", **data):
    config = runpy.run_path(str(ROOT / "configs" / "coco_soft.py"))["get_config"]()
    config.encoder = encoder_section("convnet", widths=(8,), residuals=(0,))
    config = shrink(config, folder)
    config.data.captions = ",".join(str(folder / each) for each in name.split(","))
    config.data.images = str(folder / "images")
    config.data.train_images = config.data.validation_images = 0
    for setting, value in data.items():
        setattr(config.data, setting, value)
    return config


def test_every_format_is_the_same_data(folder):
    found = {}
    for name in FILES:
        train, validation = load_splits(settings.resolve(tiny(folder, name)).data)
        found[name] = [
            [(r.key, r.image, r.captions) for r in split.records] for split in (train, validation)
        ]
        origin = train.origin
        assert [file["name"] for file in origin["captions"]] == [name]
        assert str(folder) not in json.dumps(origin)
        assert (origin["drawn"] is None) == (name == "karpathy.json")
        assert any("data.val_share=0.1" in note for note in train.notes) == bool(origin["drawn"])
    assert all(each == found["captions.csv"] for each in found.values())
    train, validation = found["captions.csv"]
    assert len(train) > len(validation) >= 1 and len(train) + len(validation) < 16


def test_a_run_knows_later_what_it_held_out(folder, tmp_path):
    """Scored again on the same file, the split is the same, to the last digit."""
    workdir, out = tmp_path / "run", tmp_path / "metrics.json"
    config = tiny(folder)
    config.train.steps = 2
    run_experiment(config, workdir)
    card = load_captioner(workdir).card
    assert card["config"]["data"]["name"] == card["data"]["captions"][0]["name"] == "captions.csv"
    assert list(workdir.glob("features/captions.csv-val-*"))
    command = [f"--model={workdir}", f"--captions={folder / 'captions.csv'}", f"--out={out}"]
    assert evaluate.main([*command, "--split=val"]) == 0
    theirs, ours = (json.loads(path.read_text()) for path in (workdir / "validation.json", out))
    for name in ("BLEU-4", "CIDEr", "ROUGE-L", "n"):
        assert ours[name] == theirs[name]
    assert evaluate.main(command) == 2  # which of its splits?


def test_evaluate_needs_a_split_where_there_are_some(folder, tmp_path, capsys):
    card = {"data": {"captions": [], "drawn": None}}
    found = read_captions(folder / "captions.csv", folder / "images")
    assert drawn_by(card, found.files) is None and drawn_by({}, found.files) is None
    divided = divide(found, draw=Draw(seed=3))
    assert drawn_by({"data": json.loads(json.dumps(divided.origin))}, found.files) == Draw(seed=3)
    other = read_captions(folder / "captions.json", folder / "images")
    assert drawn_by({"data": divided.origin}, other.files) is None
    out = f"--out={tmp_path / 'm.json'}"
    command = ["--model=scenes-soft", f"--images={folder / 'images'}", out, "--split=val"]
    assert evaluate.main([*command, f"--captions={folder / 'captions.csv'}"]) == 2
    assert "no splits are stated, for none of the 16 images" in capsys.readouterr().err


def test_captions_to_validate_on_may_be_in_other_files(folder, tmp_path):
    rows = (folder / "captions.csv").read_text().splitlines()
    (tmp_path / "mine.csv").write_text("\n".join(rows[:21]))
    (tmp_path / "held.tsv").write_text("\n".join([rows[0], *rows[21:]]).replace(",", "\t"))
    config = tiny(
        folder, captions=str(tmp_path / "m*.csv"), val_captions=str(tmp_path / "held.tsv")
    )
    config = settings.resolve(config)
    train, validation = load_splits(config.data)
    assert (len(train), len(validation)) == (10, 6) and config.data.name == "m*.csv"
    assert train.origin["val_captions"][0]["name"] == "held.tsv" and not train.origin["drawn"]
    (tmp_path / "held.tsv").write_text("\n".join(rows[:5]))
    with pytest.raises(ValueError, match="2 images are in the captions to learn from and in those"):
        load_splits(config.data)


def test_a_stated_training_split_gives_the_validation_images(folder, tmp_path):
    body = (folder / "captions.json").read_text()
    (tmp_path / "captions_train2017.json").write_text(body)
    found = read_captions(tmp_path / "captions_train2017.json", folder / "images")
    divided = divide(found, draw=Draw(val_share=0.25))
    assert len(divided.train) + len(divided.validation) == 16 and len(divided.validation) > 1
    assert divided.draw == Draw(0.25, 0.0, of="train")
    again = found.divided(divided.draw)
    assert again.splits["val"][0] == len(divided.validation)
    with pytest.raises(ValueError, match="no image belongs to split 'dev2'"):
        divide(found, draw=Draw(), validation_split="dev2")


def test_small_sets_keep_one_image_to_validate_on():
    for seed in range(20):
        found = Draw(seed=seed).splits(["a.jpg", "b.jpg", "c.jpg"])
        assert "val" in found or found.count("train") < 2
    assert Draw(val_share=0).splits(["a.jpg", "b.jpg"]).count("val") == 0
    assert Draw().splits([]) == []


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"captions": ""}, r"data\.images goes with data\.captions"),
        ({"captions": "", "images": "", "val_captions": "x"}, r"data\.val_captions goes with"),
        ({"val_captions": "x", "split_seed": 4}, r"data\.split_seed draws splits"),
        ({"val_share": 1.0}, "expected both at least 0, and less than 1"),
    ],
)
def test_settings_without_effect_are_refused(folder, data, message):
    with pytest.raises(ValueError, match=message):
        settings.resolve(tiny(folder, **data))


def test_where_files_lie_is_no_other_setting(folder):
    here, there = ({"data": {"captions": place, "images": place}} for place in ("a", "b"))
    assert not list(differences(here, there))


def test_clips_and_missing_files_are_named(folder, tmp_path):
    (tmp_path / "captions.csv").write_text(
        "image,caption,split\na.mp4,a dog,train\nb.mp4,a cat,val\nc.jpg,a cow,train\n"
    )
    config = settings.resolve(tiny(tmp_path))
    with pytest.raises(ValueError, match=r"2 of 3 files are clips, e\.g\. a\.mp4.*data\.frames=26"):
        load_splits(config.data)
    (tmp_path / "captions.csv").write_text(
        "image,caption,split\na.jpg,a dog,train\nc.jpg,a cow,dev\n"
    )
    with pytest.raises(FileNotFoundError, match="2 of 2 image files are missing"):
        load_splits(config.data)


def test_a_vocabulary_that_lacks_most_words_says_so(folder):
    config = settings.resolve(tiny(folder, threshold=20))
    train, _ = load_splits(config.data)
    text = build_vocabulary(config, train)
    samples = CaptionSamples.build(train.captions, text, max_length=20)
    (note,) = unknown_words(config, text, samples)
    assert note.startswith("the vocabulary lacks 58% of the words") and "20 times" in note
    everything = settings.resolve(tiny(folder, threshold=1))
    text = build_vocabulary(everything, train)
    samples = CaptionSamples.build(train.captions, text, max_length=20)
    assert unknown_words(everything, text, samples) == []
