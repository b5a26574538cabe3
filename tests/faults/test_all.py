"""Every fault of `all.py`, two processes resumed elsewhere, and one update on many devices."""

import pytest

from tests.faults import all as faults
from tests.faults import devices, resume_elsewhere


@pytest.mark.slow
@pytest.mark.parametrize("name", faults.FAULTS)
def test_nothing_is_lost(tmp_path, name):
    (report,) = faults.check(tmp_path, names=[name], steps=40)
    assert report.lost in ("nothing", "not run"), report


@pytest.mark.slow
def test_a_run_moves_to_other_devices(tmp_path):
    result = resume_elsewhere.check(tmp_path, steps=300, seeds=3)
    assert result["passed"], result


@pytest.mark.slow
@pytest.mark.parametrize("kind", devices.KINDS)
def test_losses_are_the_same_on_all_devices(tmp_path, kind):
    rows = devices.check(tmp_path, steps=50, kinds=[kind])
    assert devices.passed(rows), rows
