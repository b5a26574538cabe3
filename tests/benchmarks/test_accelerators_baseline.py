"""No hot program is dearer than its saved estimate, or writes a buffer beyond its budget."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".venv-accelerators" / "bin" / "python"
# Read, not imported: what builds the programs needs no jax to be listed.
NAMES = re.findall(
    r'^    "(\w+)": ', (ROOT / "benchmarks/accelerator/programs.py").read_text(), re.MULTILINE
)


@pytest.mark.slow
@pytest.mark.skipif(not PYTHON.exists(), reason="no environment: `make accelerators` makes it")
@pytest.mark.parametrize("program", NAMES)
def test_no_program_is_dearer_than_its_baseline(program):
    command = [PYTHON, "benchmarks/accelerators.py", f"--programs={program}", "--check"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr[-2000:]


@pytest.mark.slow
@pytest.mark.skipif(not PYTHON.exists(), reason="no environment: `make accelerators` makes it")
def test_sixteen_chips_exchange_gradients_and_nothing_else():
    command = [PYTHON, "benchmarks/accelerators.py", "--slice"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert "an explanation exchanges nothing" in ran.stdout
    assert "all-reduce" in ran.stdout


@pytest.mark.slow
def test_what_a_gpu_should_confirm_runs_in_its_small_form():
    command = ["sh", "benchmarks/on_a_gpu.sh", "--tiny"]
    given = {**os.environ, "PYTHON": sys.executable}
    ran = subprocess.run(command, cwd=ROOT, env=given, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr[-2000:]
    reported = re.findall(r'"benchmark": "(\w+)"', ran.stdout)
    assert reported == ["on_device", "decode", "encode"]
    assert "vocabulary_loss_off" in ran.stdout and "lstm_step_off" in ran.stdout
