"""The committed pictures of the documentation are what the command draws, and small."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("matplotlib", reason="figures need the extra capjax[viz]")

from capjax.viz.gallery.__main__ import LARGEST, LARGEST_METHOD, PICTURES, draw, main, refusal
from capjax.viz.gallery.small_png import write_small

IMAGES = Path(__file__).resolve().parents[2] / "docs" / "img"
OF_TRANSFORMERS = {"methods/rollout", "methods/chefer"}
REDRAWN = ("strip", "queries", "filled", "methods/attention", "methods/eigencam")
"""In the first tier; all of them in the second."""
OTHERS = [name for name in PICTURES if name not in {*REDRAWN, *OF_TRANSFORMERS}]


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"), np.int16)


def test_every_picture_is_there_and_small():
    committed = {str(path.relative_to(IMAGES).with_suffix("")) for path in IMAGES.rglob("*.png")}
    assert committed == set(PICTURES) - OF_TRANSFORMERS
    for name in committed:
        path = IMAGES / f"{name}.png"
        most = LARGEST_METHOD if name.startswith("methods/") else LARGEST
        assert path.stat().st_size <= most and min(pixels(path).shape[:2]) > 80
    contents = [path.read_bytes() for path in IMAGES.rglob("*.png")]
    assert len(set(contents)) == len(contents), "two names, one picture"
    for name in OF_TRANSFORMERS:
        assert "choose another method" in refusal(name.partition("/")[2])


@pytest.mark.parametrize(
    "name", [*REDRAWN, *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS)]
)
def test_the_command_draws_what_is_committed(name, tmp_path):
    """Fonts, rounding and palettes aside."""
    draw(tmp_path, name)
    found, expected = pixels(tmp_path / f"{name}.png"), pixels(IMAGES / f"{name}.png")
    assert found.shape == expected.shape
    assert np.abs(found - expected).mean() < 2


def test_only_what_is_asked_for_is_drawn_and_the_same_again(tmp_path, capsys):
    one, other = tmp_path / "one", tmp_path / "other"
    for folder in (one, other):
        assert main([f"--out={folder}", "--only=filled,methods/chefer"]) == 0
        assert [path.name for path in folder.rglob("*.png")] == ["filled.png"]
    assert (one / "filled.png").read_bytes() == (other / "filled.png").read_bytes()
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"{one / 'filled.png'}: {(one / 'filled.png').stat().st_size:,} bytes"
    assert said[1].startswith("left out: methods/chefer: AttentionLSTM has no")
    assert main([f"--out={one}", "--only=stripe"]) == 2
    assert "no picture 'stripe'; choose from: strip, " in capsys.readouterr().err


def test_a_picture_keeps_the_colours_that_its_file_has_room_for(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    image, path = Image.fromarray(noise), tmp_path / "a" / "noise.png"
    assert write_small(image, path, 20_000) == path.stat().st_size <= 20_000
    np.testing.assert_array_equal(pixels(path), noise)
    assert write_small(image, path, 4_500) == path.stat().st_size <= 4_500
    assert 32 < len(np.unique(pixels(path).reshape(-1, 3), axis=0)) <= 128
    with pytest.raises(ValueError, match="noise.png takes .* bytes with 32 colours; expected at"):
        write_small(image, path, 1_000)
    assert path.stat().st_size > 1_000  # what was there stays
