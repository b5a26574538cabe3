"""Sums on a CPU are right, whatever jaxlib computes them."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from capjax.runtime.wrong_sums import OPTION, SAFE, avoid_wrong_sums, is_affected


def test_sums_over_a_broadcast_operand_are_right():
    random = np.random.default_rng(0)
    weights = random.standard_normal((32, 100)).astype(np.float32)
    values = random.standard_normal((16, 32, 100)).astype(np.float32)

    def centred(values):
        return values - jnp.sum(weights * values, axis=-1, keepdims=True)

    found = jax.jit(jax.vmap(centred))(values)
    expected = values - (weights * values).sum(-1, keepdims=True)
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize(
    ("version", "affected"),
    [("0.7.2", False), ("0.10.1", False), ("0.10.2", True), ("0.11.0", True), ("0.12.0.1", False)],
)
def test_affected_versions(version, affected):
    assert is_affected(version) == affected


def started_with(monkeypatch, flags):
    monkeypatch.setattr("importlib.metadata.version", lambda name: "0.10.2")
    monkeypatch.setenv("XLA_FLAGS", flags)


def test_what_the_user_chose_stays(monkeypatch):
    started_with(monkeypatch, f"{OPTION}=")
    avoid_wrong_sums()
    assert os.environ["XLA_FLAGS"] == f"{OPTION}="


def test_too_late_is_a_warning(monkeypatch):
    jnp.zeros(1)
    started_with(monkeypatch, "")
    with pytest.warns(UserWarning, match="import capjax before the first array, or set XLA_FLAGS"):
        avoid_wrong_sums()


def test_other_flags_stay():
    script = (
        "import importlib.metadata, os\n"
        "importlib.metadata.version = lambda name: '0.10.2'\n"
        "os.environ['XLA_FLAGS'] = '--xla_cpu_copy_insertion_use_region_analysis=true'\n"
        "import capjax, sys\n"
        "assert 'jax' not in sys.modules\n"
        "print(os.environ['XLA_FLAGS'])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.split() == ["--xla_cpu_copy_insertion_use_region_analysis=true", SAFE], done
