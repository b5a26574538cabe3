"""The short version of `kill_resume.py`: two kills, one of them during a save."""

import pytest

from tests.faults.kill_resume import check


@pytest.mark.slow
def test_a_killed_run_ends_like_a_quiet_one(tmp_path):
    result = check(tmp_path, kills=2, steps=60, seed=1)
    assert result["passed"], result
