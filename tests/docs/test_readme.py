"""The README is short, its first lines run as they stand, and its picture is what they draw."""

import numpy as np
from PIL import Image

from tests.docs.pages import README, ROOT, blocks


def test_it_is_read_in_five_minutes():
    assert len(README.read_text().splitlines()) <= 200


def test_the_ten_lines_draw_the_picture(tmp_path, monkeypatch):
    lines = blocks(README.read_text(), "python")[0]
    assert len(lines.strip().splitlines()) <= 12
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(compile(lines, "README.md", "exec"), names)
    assert names["result"][0].caption.text in README.read_text()
    assert names["result"]._repr_html_().lstrip().startswith("<")
    drawn = np.asarray(Image.open(tmp_path / "strip.png").convert("RGB"), np.int16)
    shown = np.asarray(Image.open(ROOT / "docs" / "img" / "strip.png").convert("RGB"), np.int16)
    assert drawn.shape == shown.shape
    assert np.abs(drawn - shown).mean() < 2  # other fonts and rounding aside
    assert (tmp_path / "figure.png").stat().st_size > 10_000
