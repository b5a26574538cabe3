"""The README's first lines run as they stand, and its picture is what they draw."""

import re
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]


def test_the_ten_lines_draw_the_picture(tmp_path, monkeypatch):
    block = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    lines = block.group(1)
    assert len(lines.strip().splitlines()) <= 12
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(compile(lines, "README.md", "exec"), names)
    assert names["result"][0].caption.text in (ROOT / "README.md").read_text()
    assert names["result"]._repr_html_().lstrip().startswith("<")
    drawn = np.asarray(Image.open(tmp_path / "strip.png").convert("RGB"), np.int16)
    shown = np.asarray(Image.open(ROOT / "docs" / "strip.png").convert("RGB"), np.int16)
    assert drawn.shape == shown.shape
    assert np.abs(drawn - shown).mean() < 2  # other fonts and rounding aside
    assert (tmp_path / "figure.png").stat().st_size > 10_000
