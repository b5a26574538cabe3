"""The commands of docs/data.md run as they stand, on six photographs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from capjax.data.scenes.still import Scenes
from tests.docs.pages import DOCS, ROOT, blocks, lines_of, section


@pytest.mark.slow
def test_train_evaluate_and_explain_as_the_page_says(tmp_path):
    for name in ("train.py", "explain.py", "configs"):
        (tmp_path / name).symlink_to(ROOT / name)
    rows = ["image,caption"]
    for number, scene in enumerate(Scenes("train", 6)):
        path = tmp_path / "photographs" / "ab"[number % 2] / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(scene.image).save(path)
        rows += [f"{number}.jpg,{caption}" for caption in (*scene.captions, "some shapes")]
    (tmp_path / "captions.csv").write_text("\n".join(rows) + "\n")
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "JAX_PLATFORMS": "cpu",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",  # twenty updates are not worth them
        "PATH": str(Path(sys.executable).parent),  # no Java, which takes longer than all the rest
    }
    said = []
    text = section((DOCS / "data.md").read_text(), "A folder and a table")
    for command in lines_of(blocks(text, "bash")[0]):
        done = subprocess.run(
            [sys.executable, *command.split()[1:]],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
        said.append(done.stdout)
    assert "no validation split is stated" in said[0] and "finished at step 20" in said[0]
    theirs = json.loads((tmp_path / "runs/mine/validation.json").read_text())
    ours = json.loads((tmp_path / "metrics.json").read_text())
    assert ours["card"]["split"] == "val" and ours["CIDEr"] == theirs["CIDEr"]
    assert ours["n"] == theirs["n"] >= 1
    results = (tmp_path / "report/results.jsonl").read_text().splitlines()
    assert len(results) == 6 and "some shapes" in (tmp_path / "report/index.html").read_text()
