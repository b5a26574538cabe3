"""explain.py --estimate and --warm-up: what they print, and what they leave to a run."""

import dataclasses
import json
import re
import time

import jax
import pytest

from capjax.explainers.targets import Questions
from capjax.explainers.wording import TOKEN_BUCKET, Wording, padded_sizes
from capjax.folder.pipeline import folder_run
from capjax.folder.pipeline.stages import Stages
from capjax.folder.run import main
from capjax.folder.speed.estimate import Estimate, spread
from capjax.folder.speed.warming import caption_sizes
from tests.api.conftest import model, write_photographs

__all__ = ["model"]


def files_below(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_a_run_after_warming_up_compiles_nothing_and_is_estimated(
    model, tmp_path, capsys, compiled, monkeypatch
):
    images, out = tmp_path / "images", tmp_path / "out"
    write_photographs(images, 3)
    # Captions of up to 12 tokens are padded to one length or another; a batch of two, one of one.
    fixed = [f"--model={model}", f"--images={images}", f"--out={out}", "--max-length=12"]
    fixed += ["--batch-size=2", "--beam=1", "--overlays=none", "--no-visual-information"]
    jax.clear_caches()
    with monkeypatch.context() as patched:
        patched.setattr(folder_run, "read_image", None)  # no image is read
        assert main([*fixed, "--warm-up"]) == 0
    assert re.search(r"programs ready in [\d.]+ s, kept in \S+", capsys.readouterr().out)
    assert compiled and not out.exists()
    compiled.clear()
    figures = tmp_path / "figures.json"
    assert main([*fixed, f"--estimate={figures}"]) == 0
    said = capsys.readouterr().out
    assert not compiled and not out.exists()
    assert "estimate for 3 images" in said and "with 2 images of them" in said
    shares = re.findall(r"(decode|encode|explain|fetch|write) (\d+) %", said)
    assert len(shares) == 5 and sum(int(share) for _, share in shares) == pytest.approx(100, abs=3)
    assert float(re.search(r"speed +([\d.e+]+) images a second", said)[1]) > 0
    found = json.loads(figures.read_text())
    assert (found["images"], found["tried"], found["batch"]) == (3, 2, 2)
    assert 1 <= found["tokens"] <= 12 and found["written_bytes"] > 0
    sizes = [path.stat().st_size for path in images.iterdir()]
    assert min(sizes) <= found["read_bytes"] <= max(sizes)
    whole = sum(found["seconds"].values())
    assert found["images_per_second"] == pytest.approx(1 / whole)
    assert all(found["processor_seconds"][stage] > 0 for stage in found["seconds"])
    assert main([*fixed, f"--estimate={tmp_path}"]) == 2
    assert "it is no ordinary file" in capsys.readouterr().err
    assert main(fixed) == 0
    assert not compiled
    before = files_below(out)
    assert main([*fixed, "--estimate"]) == 0
    assert files_below(out) == before
    for file in images.iterdir():
        file.write_bytes(b"")
    assert main([*fixed, "--estimate"]) == 2
    assert "none of 2 images tried can be read" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stopped:
        main([*fixed, "--estimate", "--warm-up"])
    assert stopped.value.code == 2


def test_stages_add_up_on_a_processor_and_overlap_beside_an_accelerator():
    seconds = {"decode": 2.0, "encode": 1.0, "explain": 4.0, "fetch": 1.0, "write": 2.0}
    processor = {"decode": 1.5, "encode": 1.9, "explain": 7.5, "fetch": 0.5, "write": 3.0}
    sizes = {"batch": 16, "tokens": 11, "host": 10**9, "device": None}
    sizes |= {"read": 10**6, "written": 5 * 10**6}
    alone = Estimate(1000, 10, seconds, processor, ready=30.0, alone=True, **sizes)
    assert alone.per_image == 1.0 and alone.whole == 1030
    beside = dataclasses.replace(alone, alone=False)
    assert beside.per_image == 0.6 and beside.whole == 630
    slow = dataclasses.replace(beside, seconds={**seconds, "write": 6.0})
    assert slow.per_image == 0.8
    said = alone.describe("image")
    for words in ("1 images a second", "0.5 GB", "explain 40 %", "1.0 GB of this process"):
        assert words in said
    assert "17.2 min, of which 30 s until" in said
    # 150 + 50 + 300 ms of a core an image, a hundred times.
    assert "reading 150 ms" in said and "keeps 50 cores busy" in said
    assert "sets the pace" not in said
    assert "here the device sets the pace" in beside.describe("image")
    assert "here the processor sets the pace" in slow.describe("image")
    assert alone.to_json()["processor_seconds"]["write"] == 0.3


def test_the_processor_time_of_a_stage_is_work_and_not_waiting():
    stages = Stages()
    with stages("decode"):
        time.sleep(0.2)
    with stages("write"):
        began = time.thread_time()
        while time.thread_time() - began < 0.1:
            pass
    assert stages.processor["decode"] < 0.1 <= stages.processor["write"]


def test_a_trial_is_spread_over_the_files():
    names = [str(number) for number in range(10)]
    assert spread(names, 5) == ["0", "2", "4", "6", "8"]
    assert spread(names, 99) == names


def test_sizes_of_captions_are_all_that_occur():
    questions = Questions(keywords=("a", "b"), sentence=True)
    found = set()
    for tokens in range(1, 21):
        for words in range(1, tokens + 1):  # a word takes one token or more
            for extras in range(4):
                spans = tuple((place, place + 1) for place in range(words))
                sentence = Wording(("w",) * words, tuple(range(tokens)), spans)
                bare = padded_sizes([[sentence]])
                more = -(-(words + extras) // TOKEN_BUCKET) * TOKEN_BUCKET
                found.add(bare._replace(targets=max(bare.targets, more)))
    assert caption_sizes(20, questions) == found
