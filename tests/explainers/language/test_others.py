"""Other pictures beside a model: part of its folder, and of nothing that decides an output."""

import json
import shutil

import jax
import numpy as np
import pytest
from PIL import Image

from capjax.captioner import load_captioner
from capjax.data.pictures.given import prepared
from capjax.explainers.language.__main__ import main
from capjax.explainers.language.others import chosen_others, with_others
from tests.explainers.toys import attentive


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A saved captioner, and twenty pictures of which one is torn."""
    model, pictures = (tmp_path_factory.mktemp(name) for name in ("model", "pictures"))
    attentive().save(model)
    draw = np.random.default_rng(0)
    for number in range(20):
        pixels = draw.integers(0, 256, (40, 50, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(pictures / f"{number:02d}.png")
    (pictures / "03.png").write_bytes(b"torn")
    return model, pictures


def test_the_command_adds_sixteen_pictures_and_leaves_the_model_as_it_is(folders, tmp_path, capsys):
    model, pictures = tmp_path / "model", folders[1]
    shutil.copytree(folders[0], model)
    weights = next(model.glob("model-*.safetensors"))
    before = json.loads((model / "model.json").read_text())
    assert load_captioner(model).others is None
    for _ in range(2):  # again: the same ones, in the place of those that are there
        assert main([f"--model={model}", f"--images={pictures}"]) == 0
        assert "compares with 16 pictures" in capsys.readouterr().out
    after = json.loads((model / "model.json").read_text())
    named = after.pop("others")
    assert after == before and weights.is_file()
    assert [path.name for path in model.glob("others-*")] == [named["file"]]
    captioner = load_captioner(model)
    assert captioner.hash == attentive().hash
    assert captioner.others.positions.shape == (16, 1, 64, 24) and captioner.others.grid == (8, 8)

    files = sorted(path.name for path in pictures.iterdir())
    own = chosen_others(
        files, lambda at: prepared(pictures / files[at], captioner.preprocessing)[0]
    )
    expected = with_others(attentive(), np.stack(own)).others
    for one, other in zip(
        jax.tree.leaves(captioner.others), jax.tree.leaves(expected), strict=True
    ):
        np.testing.assert_array_equal(one, other)

    captioner.save(tmp_path / "copy")
    assert load_captioner(tmp_path / "copy").others.grid == (8, 8)
    attentive().save(tmp_path / "copy")  # which has none
    assert not list((tmp_path / "copy").glob("others-*"))

    path = model / named["file"]
    path.write_bytes(path.read_bytes()[:-1] + b"\x07")
    with pytest.raises(ValueError, match=r"others-\w+\.safetensors has sha256"):
        load_captioner(model)


def test_wrong_usage_is_named(folders, capsys):
    model, pictures = folders
    for arguments, said in (
        ([f"--model={pictures}", f"--images={pictures}"], "no folder of a saved captioner"),
        ([f"--model={model}", f"--images={pictures / '00.png'}"], "1 of 1 pictures could be read"),
    ):
        with pytest.raises(SystemExit) as stopped:
            main(arguments)
        assert stopped.value.code == 2 and said in capsys.readouterr().err
    with pytest.raises(ValueError, match="got 1 pictures"):
        with_others(attentive(), np.zeros((1, 64, 64, 3), np.uint8))
