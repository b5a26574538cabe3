"""explain.py where the device has too little memory for a batch after all, by injected refusals."""

import json

import jax
import numpy as np

from capjax.api import load
from capjax.data.pictures.images import load_prepared
from capjax.folder.pipeline import folder_run
from capjax.folder.run import main
from capjax.runtime import fingerprint
from tests.api.conftest import model, write_photographs

__all__ = ["model"]


def run(model, images, out, size):
    fixed = [f"--model={model}", f"--images={images}", f"--out={out}", "--overlays=none"]
    fixed += ["--max-length=7", "--no-visual-information", "--beam=1"]
    return main([*fixed, f"--batch-size={size}"])


def lines(out):
    raw = (out / "results.jsonl").read_text().splitlines()
    return {line["file"]: line for line in map(json.loads, raw)}


def test_a_refused_batch_is_halved_and_an_image_refused_alone_fails_by_name(
    model, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(fingerprint, "_TICK", -(10**12))  # images count as written long ago
    images = tmp_path / "images"
    write_photographs(images, 6)
    assert run(model, images, tmp_path / "pairs", 2) == 0
    real, largest = folder_run.explain_steps, "3.jpg"
    refused_at = []

    def refusing(captioner, batch, sizes, **options):
        steps = real(captioner, batch, sizes, **options)
        next(steps)
        yield
        if len(sizes) > 2 or any((batch == one).all((1, 2, 3)).any() for one in refused_at):
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 1 byte")
        return (yield from steps)

    monkeypatch.setattr(folder_run, "explain_steps", refusing)
    capsys.readouterr()
    assert run(model, images, tmp_path / "halved", 4) == 0
    said = capsys.readouterr().err
    assert said.count("too little memory for 4 images at once; going on with 2 images at once") == 1
    pairs, halved = lines(tmp_path / "pairs"), lines(tmp_path / "halved")
    assert pairs == halved
    for file in pairs:
        with np.load(tmp_path / "pairs" / f"maps/{file}.npz") as one:
            with np.load(tmp_path / "halved" / f"maps/{file}.npz") as other:
                np.testing.assert_array_equal(one["attention"], other["attention"])
    refused_at.append(load_prepared(images / largest, load(model).preprocessing)[0])
    assert run(model, images, tmp_path / "one", 4) == 3
    said = capsys.readouterr().err
    assert "going on with 1 image at once" in said
    one = lines(tmp_path / "one")
    assert {file for file, line in one.items() if "error" in line} == {largest}
    error = one[largest]["error"]
    assert largest in error and "too little memory for it alone; ask for fewer methods" in error
    assert {file: line["caption"] for file, line in one.items() if file != largest} == {
        file: line["caption"] for file, line in pairs.items() if file != largest
    }
    monkeypatch.setattr(folder_run, "explain_steps", real)
    assert run(model, images, tmp_path / "one", 4) == 0  # on a device with more, it is done again
