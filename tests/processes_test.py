"""What is told of tests that run in a process of their own."""

import os
import re
import subprocess
import sys
import types
from pathlib import Path

import pytest

from tests import processes

ROOT = Path(__file__).resolve().parents[1]
HOOKS = "pytest_configure, pytest_collection_modifyitems, pytest_runtest_logreport"
INI = "[pytest]\naddopts = --strict-markers\nmarkers =\n    slow\n    optimised\n    devices\n"
TESTS = """
import os

import jax
import pytest


def test_here():
    assert jax.device_count() == 1


@pytest.mark.devices
class TestElsewhere:
    def test_passes(self):
        assert jax.device_count() == 8

    def test_fails(self):
        assert jax.device_count() == 9, "a sentence of its own"

    def test_is_skipped(self):
        pytest.skip("not on Sundays")

    @pytest.fixture
    def broken(self):
        raise OSError("no disk to prepare")

    def test_is_not_prepared(self, broken):
        pass

    @pytest.fixture
    def untidy(self):
        yield
        raise OSError("no disk to tidy")

    def test_is_not_tidied(self, untidy):
        pass

    def test_ends_its_process(self):
        print("a last word", flush=True)
        os._exit(3)

    def test_comes_after(self):
        pass
"""


def run(folder: Path, tests: str) -> tuple[int, str]:
    """Exit code, and what pytest with our hooks says of a file of tests."""
    (folder / "pytest.ini").write_text(INI)
    (folder / "conftest.py").write_text(f"from tests.conftest import {HOOKS}\n")
    (folder / "test_told.py").write_text(tests)
    own = (processes.VARIABLE, processes.REPORTS)
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in own and not name.startswith("PYTEST")
    }
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-rA", "-p", "no:xdist", "-p", "no:cacheprovider"],
        cwd=folder,
        env={**environment, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout + done.stderr


def test_each_test_is_told_as_it_ended_there(tmp_path):
    code, said = run(tmp_path, TESTS)
    assert code == 1, said
    shown = re.findall(r"^(PASSED|FAILED) test_told.py::(?:TestElsewhere::)?(\w+)", said, re.M)
    outcomes = {name: outcome for outcome, name in shown}
    assert outcomes == {
        "test_here": "PASSED",
        "test_passes": "PASSED",
        "test_fails": "FAILED",
        "test_is_not_prepared": "FAILED",
        "test_is_not_tidied": "FAILED",
        "test_ends_its_process": "FAILED",
        "test_comes_after": "FAILED",
    }, said
    assert re.search(r"5 failed, 2 passed, 1 skipped", said)
    assert re.search(r"^SKIPPED .*not on Sundays", said, re.M)
    sections = re.split(r"^_+ (?:TestElsewhere\.)?(\w+) _+$", said, flags=re.M)
    told = dict(zip(sections[1::2], sections[2::2], strict=True))
    for name, text in {
        "test_fails": "AssertionError: a sentence of its own",
        "test_is_not_prepared": "OSError: no disk to prepare",
        "test_is_not_tidied": "OSError: no disk to tidy",
        "test_ends_its_process": r"it ended \(3\) before this test did",
        "test_comes_after": r"it ended \(3\) before this test did",
    }.items():
        assert f"in a process of its own ({processes.VARIABLE}=devices)" in told[name]
        assert re.search(text, told[name]), (name, told[name])


def test_two_marks_are_refused():
    item = types.SimpleNamespace(nodeid="test_it", get_closest_marker=lambda name: name)
    with pytest.raises(pytest.UsageError, match="test_it is marked optimised and devices: keep"):
        processes.process_of(item)
