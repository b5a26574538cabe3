"""explain.py --profile: a table that adds up, and a trace with the names of its stages."""

import re
import time
from typing import get_args

import pytest
from PIL import Image

from capjax.folder.pipeline.stages import Stage, Stages
from capjax.folder.run import main
from tests.api.conftest import model, write_photographs

__all__ = ["model"]


def table_of(printed):
    """Stage -> (seconds, per cent, seconds in threads)."""
    found = {}
    for line in printed.splitlines():
        row = re.fullmatch(r"(\w+) +([\d.-]+) +([\d.-]+) %(?: +([\d.]+) \w+)?", line)
        if row:
            found[row[1]] = float(row[2]), float(row[3]), float(row[4] or 0)
    return found


def test_the_table_accounts_for_the_run_and_the_trace_names_the_stages(model, tmp_path, capsys):
    write_photographs(tmp_path / "images", 5)
    for path in (tmp_path / "images").iterdir():  # reading small ones takes 0.00 s
        Image.open(path).resize((1500, 1500)).save(path)
    fixed = [f"--model={model}", f"--images={tmp_path / 'images'}", "--max-length=7"]
    fixed += [f"--out={tmp_path / 'out'}", "--batch-size=2", "--beam=1"]
    began = time.perf_counter()
    assert main([*fixed, f"--profile={tmp_path / 'trace'}"]) == 0
    whole = time.perf_counter() - began
    said = capsys.readouterr()
    table = table_of(said.out)
    assert [*table] == [*get_args(Stage), "rest"]
    assert sum(share for _, share, _ in table.values()) == pytest.approx(100, abs=0.5)
    assert 0 <= table["rest"][1] <= 5
    assert all(seconds >= 0 for seconds, _, _ in table.values())
    assert table["explain"][0] > 0 and table["decode"][2] > 0 and table["write"][2] > 0
    stated = float(re.search(r"([\d.]+) s over 5 images", said.out)[1])
    assert stated == pytest.approx(sum(seconds for seconds, _, _ in table.values()), abs=0.1)
    assert stated <= whole
    assert "profile of 3 steps" in said.err  # of five: the first two make programs ready
    (trace,) = (tmp_path / "trace").rglob("*.xplane.pb")
    content = trace.read_bytes()
    for name in (b"decode", b"encode", b"explain", b"fetch", b"write", b"step"):
        assert name in content
    # Nothing is left to do: the same command traces nothing, and says so.
    assert main([*fixed, f"--profile={tmp_path / 'none'}"]) == 0
    said = capsys.readouterr()
    assert "no profile" in said.err and not (tmp_path / "none").exists()
    assert table_of(said.out)["explain"] == (0, 0, 0)


def test_waiting_counts_the_source_and_not_what_is_done_with_its_items():
    def slow():
        for number in range(3):
            time.sleep(0.02)
            yield number

    stages = Stages()
    found = []
    for number in stages.waiting("decode", slow()):
        time.sleep(0.05)
        found.append(number)
    assert found == [0, 1, 2]
    assert 0.06 <= stages.seconds["decode"] < 0.15
