"""The captioners that come with capjax: small, lazily read, honest about what they are."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

import capjax
from capjax.captioner import SHIPPED, load_captioner, shipped_models
from capjax.data.samples import names, photograph

ROOT = Path(__file__).resolve().parents[1]
MEGABYTES = {"photographs": 10.0, "scenes-frames": 3.0, "scenes-soft": 3.0}
ABSOLUTE = re.compile(r"^(/|~|[A-Za-z]:[\\/]|\\\\|file:)")


@pytest.fixture(scope="module")
def photographs():
    return capjax.load("photographs")


def strings(value):
    """All texts of plain JSON values."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from strings(each)
    elif isinstance(value, list):
        for each in value:
            yield from strings(each)


def test_the_names_are_those_of_the_folders():
    assert shipped_models() == sorted(MEGABYTES)
    with pytest.raises(ValueError, match="shipped models: photographs, scenes-frames, scenes-soft"):
        capjax.load("photograph")


@pytest.mark.parametrize("name", sorted(MEGABYTES))
def test_a_folder_is_small_and_names_no_place_of_its_maker(name):
    folder = SHIPPED / name
    size = sum(path.stat().st_size for path in folder.iterdir())
    assert size <= MEGABYTES[name] * 1e6, f"{size / 1e6:.2f} MB"
    description = json.loads((folder / "model.json").read_text())
    found = [text for text in strings(description) if ABSOLUTE.match(text)]
    assert not found, f"absolute paths: {found}"


@pytest.mark.parametrize("name", sorted(MEGABYTES))
def test_half_the_bytes_on_disk_and_whole_numbers_in_memory(name):
    captioner = load_captioner(SHIPPED / name)
    stored = safetensors.numpy.load_file(next((SHIPPED / name).glob("model-*.safetensors")))
    assert {array.dtype.name for array in stored.values()} == {"float16"}
    # Of the photographs that it learnt from, none may be passed on.
    assert (captioner.others is None) == (name == "photographs")
    leaves = jax.tree.leaves(captioner.variables)
    assert len(leaves) == len(stored)
    assert all(leaf.dtype == jnp.float32 and jnp.isfinite(leaf).all() for leaf in leaves)


def test_importing_capjax_reads_no_captioner():
    code = (
        "import sys; opened = []\n"
        "sys.addaudithook(lambda event, given: event == 'open' and opened.append(str(given[0])))\n"
        "import capjax\n"
        "print([path for path in opened if 'checkpoints' in path or 'photographs' in path])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_every_file_beside_the_code_is_packaged():
    """A wheel holds modules and what `package-data` names: nothing that ships is left out."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    patterns = project["tool"]["setuptools"]["package-data"]["capjax"]
    packaged = {path for pattern in patterns for path in (ROOT / "capjax").glob(pattern)}
    beside = {
        path
        for path in (ROOT / "capjax").rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc")
    }
    assert beside and not beside - packaged, f"left out: {sorted(beside - packaged)}"


def test_the_card_of_photographs_says_what_it_is(photographs):
    card = photographs.card
    assert "demonstration" in card["about"]
    assert "COCO" in card["learnt_from"] and "2,187" in card["learnt_from"]
    assert "CC BY 4.0" in card["licences"]["captions"]
    assert "Apache-2.0" in card["licences"]["encoder"]
    assert "own licence" in card["licences"]["photographs"]
    scores = card["scores"]
    assert scores["card"]["model_hash"] == photographs.hash  # of these very weights
    assert scores["n"] == 351 and scores["card"]["split"] == "val"
    assert scores["CIDEr"] > 0.5 and scores["METEOR"] > 0.19 and scores["BLEU-4"] > 0.19


def test_photographs_captions_and_explains_a_photograph(photographs):
    found = capjax.explain(
        photographs, [photograph(name) for name in names()], methods=("attention", "caption_guided")
    )
    for result in found:
        assert result.caption.finished and len(result.words) >= 4
        for method in ("attention", "caption_guided"):
            maps = result[method].maps
            assert maps.shape == (len(result.words), 1, 14, 14)
            assert np.isfinite(maps).all() and maps.std(axis=(2, 3)).min() > 0
