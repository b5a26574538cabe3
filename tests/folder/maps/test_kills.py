"""A run that is killed, at whatever change on disk, loses no map and keeps none twice."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(("form", "every"), [("parquet", 7), ("arrayrecord", 11)])
def test_killed_runs_go_on(tmp_path, form, every):
    pytest.importorskip("pyarrow")
    pytest.importorskip("array_record")
    command = [sys.executable, "-m", "tests.folder.maps.kill_points", form, tmp_path, str(every)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 6, done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("form", ["parquet", "arrayrecord"])
def test_runs_killed_before_each_change_go_on(tmp_path, form):
    test_killed_runs_go_on(tmp_path, form, 1)
