"""What overlapping batches record is what each batch gives by itself, bit for bit."""

import json

import numpy as np

from capjax.api import load, pad_batch
from capjax.data.pictures.given import read_picture
from capjax.decoding import Beam
from capjax.explainers.batch import check_methods, explain_batch
from capjax.folder.run import main
from tests.api.conftest import model, write_photographs

__all__ = ["model"]
METHODS = ("attention", "gradcam")
SIZE = 2


def test_results_are_those_of_each_batch_by_itself(model, tmp_path):
    images, out = tmp_path / "images", tmp_path / "out"
    write_photographs(images, 7)
    fixed = [f"--model={model}", f"--images={images}", f"--out={out}", "--overlays=none"]
    fixed += ["--max-length=7", "--no-visual-information", f"--methods={','.join(METHODS)}"]
    assert main([*fixed, f"--batch-size={SIZE}"]) == 0
    lines = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    captioner = load(model)
    asked = {"methods": check_methods(captioner, METHODS), "decoding": Beam(3), "max_len": 7}
    for start in range(0, len(lines), SIZE):
        batch = lines[start : start + SIZE]
        pictures = [read_picture(images / line["file"], captioner.preprocessing) for line in batch]
        prepared = pad_batch([picture.prepared for picture in pictures], SIZE)
        sizes = [picture.original for picture in pictures]
        for line, (found,) in zip(
            batch, explain_batch(captioner, prepared, sizes, **asked), strict=True
        ):
            assert line["caption"] == found.caption.text
            assert line["tokens"] == [*found.caption.tokens]
            with np.load(out / line["methods"]["attention"]["maps"]) as maps:
                for name in METHODS:
                    np.testing.assert_array_equal(maps[name], found.explanations[name].maps)
