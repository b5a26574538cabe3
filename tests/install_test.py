"""Installing capjax leaves an accelerator build of jax that is already there alone."""

import importlib.metadata
import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CORE = [Requirement(text) for text in PROJECT["dependencies"]]
EXTRAS = {
    name: [Requirement(text) for text in texts]
    for name, texts in PROJECT["optional-dependencies"].items()
}


def required(name: str, seen: set[str]) -> list[Requirement]:
    """What a distribution needs here without extras, at any depth."""
    if name in seen:
        return []
    seen.add(name)
    needs = [Requirement(text) for text in importlib.metadata.requires(name) or ()]
    needs = [need for need in needs if need.marker is None or need.marker.evaluate({"extra": ""})]
    return needs + [below for need in needs for below in required(need.name, seen)]


def test_lower_bounds_only():
    for requirement in [*CORE, *(need for needs in EXTRAS.values() for need in needs)]:
        operators = {part.operator for part in requirement.specifier}
        assert operators == {">="}, f"{requirement}: expected one lower bound"


def test_nothing_that_capjax_needs_chooses_a_build_of_jax():
    """An extra such as jax[cpu] or a pinned jaxlib would replace the accelerator's."""
    seen: set[str] = set()
    below = [need for core in CORE for need in required(core.name, seen)]
    asking = [need for need in [*CORE, *below] if need.name.startswith("jax")]
    assert any(need.name == "jax" for need in asking)
    for need in asking:
        assert not need.extras, f"{need} chooses a build"
        assert need.name in ("jax", "jaxlib", "jaxtyping"), f"{need} chooses a build"


@pytest.mark.slow
def test_install_under_a_constraints_file_keeps_jax(tmp_path):
    """pip's own plan for this environment, with its jax held fixed; builds, so needs the index."""
    held = {name: importlib.metadata.version(name) for name in ("jax", "jaxlib")}
    constraints = tmp_path / "constraints.txt"
    constraints.write_text("".join(f"{name}=={version}\n" for name, version in held.items()))
    report = tmp_path / "report.json"
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", f"--report={report}"]
        + [f"--constraint={constraints}", str(ROOT)],
        check=True,
        capture_output=True,
        stdin=subprocess.DEVNULL,
    )
    planned = {row["metadata"]["name"] for row in json.loads(report.read_text())["install"]}
    assert "capjax" in planned
    assert not {name for name in planned if name.startswith("jax") and name != "jaxtyping"}
