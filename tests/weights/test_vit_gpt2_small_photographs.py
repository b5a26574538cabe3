"""A small ViT-GPT2 out of the hub's cache on COCO photographs: transformers' tokens, all maps."""

import json

import numpy as np
import pytest
from PIL import Image

import capjax
from capjax.decoding import Greedy, HuggingFaceBeam
from capjax.folder import run as explain_folder
from tests.golden import vit_gpt2_photographs as full_size
from tests.golden import vit_gpt2_small_photographs as golden
from tests.golden.photographs import files
from tests.weights.vit_gpt2_folder import REPO, write_cache, write_folder

DECODINGS = {"greedy": Greedy(), "beam4": HuggingFaceBeam(4)}
METHODS = ("attention", "rollout", "gradcam", "caption_guided")
LONGEST = golden.MAX_LENGTH - 1


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    pytest.importorskip("huggingface_hub")
    folder = write_folder(tmp_path_factory.mktemp("transformers") / "model", golden.SEED)
    place = tmp_path_factory.mktemp("hub")
    write_cache(place, folder)
    return place


@pytest.fixture
def offline(cache, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(cache))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="module")
def stored():
    with np.load(golden.OUTPUTS) as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def photographs(shared_data):
    """Whole pixels: of a JPEG that shrinks so much capjax decodes a smaller version."""
    paths = files(shared_data, full_size.PHOTOGRAPHS)
    return [Image.fromarray(np.asarray(Image.open(path).convert("RGB"))) for path in paths]


@pytest.mark.parametrize("name", DECODINGS)
def test_the_tokens_of_transformers(offline, stored, photographs, name):
    """Both libraries read the same folder, preprocessing included."""
    captioner = capjax.load(f"hf:{REPO}")
    found = capjax.caption(captioner, photographs, decoding=DECODINGS[name], batch_size=20)
    end = captioner.text.eos
    padded = [list(one.tokens) + [end] * (LONGEST - len(one.tokens)) for one in found]
    np.testing.assert_array_equal(padded, stored[name])
    assert len({one.tokens for one in found}) >= 10
    assert sum(one.finished and len(one.tokens) < LONGEST for one in found) >= 3
    assert sum(not one.finished for one in found) >= 3
    if name == "beam4":
        scores = [one.score for one in found]
        np.testing.assert_allclose(scores, stored["beam4_scores"], rtol=1e-4)


def test_photographs_are_explained_by_every_method(offline, stored, photographs, tmp_path):
    """The command, offline."""
    folder, out = tmp_path / "photographs", tmp_path / "out"
    folder.mkdir()
    for number, photograph in enumerate(photographs[:4]):
        photograph.save(folder / f"{number}.png")
    arguments = [f"--model=hf:{REPO}", f"--images={folder}", f"--out={out}"]
    assert explain_folder.main([*arguments, f"--methods={','.join(METHODS)}"]) == 0
    lines = map(json.loads, (out / "results.jsonl").read_text("utf-8").splitlines())
    results = {line["file"]: line for line in lines}
    assert len(results) == 4
    for file, result in results.items():
        tokens = stored["beam4"][int(file.removesuffix(".png"))].tolist()
        assert result["tokens"] == tokens[: len(result["tokens"])]
        assert len(result["words"]) >= 1
        with np.load(out / result["methods"]["attention"]["maps"]) as arrays:
            maps = {method: arrays[method] for method in METHODS}
        for method in METHODS:
            entry = result["methods"][method]
            assert maps[method].shape == (len(result["words"]), 1, 2, 2)
            assert np.isfinite(maps[method]).all() and (out / entry["overlay"]).is_file()
            assert not entry["flags"]["degenerate"]
            assert entry["flags"].get("contextual", False) == (method == "caption_guided")
        for method in ("attention", "rollout"):
            inside = maps[method].sum((1, 2, 3))
            mass = result["methods"][method]["flags"]["off_grid_mass"]
            np.testing.assert_allclose(inside + mass, 1, atol=1e-3)
        assert (maps["caption_guided"] < 0).all()  # log-probabilities
    page = (out / "index.html").read_text("utf-8")
    assert page.count("caption_guided: evidence stored at this token") == len(results)
    assert page.count("evidence stored at this token") == len(results)  # and of no other method


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_transformers_still_writes_the_golden_captions(stored, shared_data, tmp_path):
    pytest.importorskip("transformers")
    folder = write_folder(tmp_path / "model", golden.SEED)
    check_golden(golden.write_captions(folder, shared_data), stored)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_transformers_still_writes_the_golden_captions_at_full_size(shared_data):
    pytest.importorskip("transformers")
    with np.load(full_size.OUTPUTS) as arrays:
        expected = dict(arrays)
    outputs, shapes = full_size.make_outputs(shared_data)
    check_golden(outputs, expected)
    layout = json.loads(full_size.LAYOUT.read_text())
    assert {name: list(shape) for name, shape in shapes.items()} == layout


def check_golden(made, expected):
    """Tokens are the same; numbers as near as another release of torch may bring them."""
    assert set(made) == set(expected)
    for name, values in made.items():
        if np.issubdtype(values.dtype, np.integer):
            np.testing.assert_array_equal(values, expected[name])
        else:
            scale = np.abs(expected[name]).max()
            np.testing.assert_allclose(values / scale, expected[name] / scale, atol=1e-5)
