"""explain.py with --batch-size=auto, within a limit, and with a batch that does not fit."""

import json
import re

import jax
import numpy as np
import pytest

from capjax.api import load
from capjax.decoding import Beam
from capjax.explainers.batch import check_methods, explain_memory
from capjax.folder.run import main
from capjax.runtime.memory import GIGABYTE
from tests.api.conftest import write_photographs

METHODS = ("attention", "caption_guided")


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photographs")
    write_photographs(folder, 8)
    return folder


def run(model, images, out, *options):
    fixed = [f"--model={model}", f"--images={images}", f"--out={out}", "--overlays=none"]
    return main([*fixed, "--max-length=7", f"--methods={','.join(METHODS)}", *options])


def need(model, count):
    captioner = load(model)
    chosen = check_methods(captioner, METHODS)
    asked = {"methods": chosen, "decoding": Beam(3), "max_len": 7, "usable": np.inf}
    return explain_memory(captioner, count, **asked)


def results(out):
    lines = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    found = {}
    for line in lines:
        with np.load(out / line["methods"]["attention"]["maps"]) as maps:
            found[line["file"]] = line["caption"], {name: maps[name] for name in METHODS}
    return found


def test_auto_takes_what_fits_and_changes_no_result(model, photographs, tmp_path, capsys):
    devices = jax.local_device_count()
    two, four = need(model, 2 * devices), need(model, 4 * devices)
    assert two < four
    limit = (two + four) / 2
    assert run(model, photographs, tmp_path / "fixed", "--batch-size=3") == 0
    capsys.readouterr()
    limited = f"--memory={limit / GIGABYTE}"
    assert run(model, photographs, tmp_path / "auto", "--batch-size=auto", limited) == 0
    said = capsys.readouterr().err
    if devices == 1:
        assert "2 images at once" in said and re.search(r"; \d would need", said)
    assert "(the limit given) by the compiler's account" in said
    fixed, auto = results(tmp_path / "fixed"), results(tmp_path / "auto")
    assert fixed.keys() == auto.keys() and len(fixed) == 8
    for file, (caption, maps) in fixed.items():
        assert auto[file][0] == caption
        for name, own in maps.items():
            np.testing.assert_allclose(auto[file][1][name], own, atol=1e-5)


def test_what_is_compiled_to_find_the_size_is_what_runs(model, photographs, tmp_path, compiled):
    counts = []
    for size in ("auto", "8"):
        jax.clear_caches()
        compiled.clear()
        assert run(model, photographs, tmp_path / size, f"--batch-size={size}", "--beam=1") == 0
        counts.append(len(compiled))
    assert counts[0] == counts[1] > 2
    compiled.clear()
    assert run(model, photographs, tmp_path / "more", "--batch-size=auto", "--beam=1") == 0
    assert not compiled


def test_a_batch_that_does_not_fit_is_refused_before_anything_is_explained(
    model, photographs, tmp_path, capsys
):
    limited = f"--memory={need(model, 4) / 2 / GIGABYTE}"
    assert run(model, photographs, tmp_path / "out", "--batch-size=4", limited) == 2
    said = capsys.readouterr().err
    assert "4 images at once need" in said and "--batch-size=auto" in said
    assert not (tmp_path / "out" / "results.jsonl").read_text()
    assert run(model, photographs, tmp_path / "out", "--batch-size=auto", "--memory=1e-6") == 2
    assert "image" in capsys.readouterr().err


@pytest.mark.parametrize("wrong", ["--batch-size=0", "--batch-size=all", "--memory=0"])
def test_sizes_without_meaning_are_refused(wrong, model, photographs, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        run(model, photographs, tmp_path / "out", wrong)
    assert stopped.value.code == 2 and "expected" in capsys.readouterr().err
