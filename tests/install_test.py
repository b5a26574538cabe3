"""Installing capjax leaves the jax that is there alone; its lower bounds are those that work."""

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CORE = [Requirement(text) for text in PROJECT["dependencies"]]
JAX = next(need for need in CORE if need.name == "jax")
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


def pins(text: str) -> dict[str, Version]:
    """Name, as an index spells it, -> version of the lines `name==version`."""
    rows = [line.split("==") for line in text.splitlines() if not line.startswith("#")]
    return {canonicalize_name(name): Version(version) for name, version in rows}


COLAB = (ROOT / "tests" / "colab.txt").read_text()
LOWEST = "\n".join(
    f"{need.name}=={part.version}"
    for need in [*CORE, *EXTRAS["viz"], Requirement(f"jaxlib{JAX.specifier}")]
    for part in need.specifier
)


def test_the_versions_that_colab_has_are_enough():
    held = pins(COLAB)
    needs = [*CORE, *EXTRAS["viz"], *EXTRAS["hub"], *EXTRAS["keras"]]
    met = {need.name for need in needs if canonicalize_name(need.name) in held}
    assert {"absl-py", "flax", "grain", "jax", "numpy", "optax", "orbax-checkpoint"} <= met
    for need in needs:
        if need.name in met:
            version = held[canonicalize_name(need.name)]
            assert need.specifier.contains(version), f"Colab has {need.name} {version}, not {need}"
    assert SpecifierSet(PROJECT["requires-python"]).contains("3.13.15")


README_EXAMPLE = """
import json, pathlib, re, sys
import matplotlib
matplotlib.use("agg")
text = pathlib.Path(sys.argv[1]).read_text(encoding="utf-8")
names = {}
exec(re.search(r"```python\\n(.*?)```", text, re.DOTALL).group(1), names)
import jax
print(json.dumps({"caption": names["result"][0].caption.text, "jax": jax.__version__}))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "held",
    [
        pytest.param(COLAB, id="colab"),
        pytest.param(
            LOWEST,
            id="lowest",
            marks=pytest.mark.skipif(
                sys.version_info >= (3, 13), reason="the oldest NumPy has no wheel for this Python"
            ),
        ),
    ],
)
def test_the_first_example_runs_where_versions_are_held(tmp_path, held):
    """In an environment of its own, where nothing that was there is replaced. Needs the index."""
    for name in ("capjax", "pyproject.toml", "README.md", "LICENSE"):  # a build writes beside them
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    constraints = tmp_path / "constraints.txt"
    constraints.write_text(held)
    venv.create(tmp_path / "venv", with_pip=True)
    python = str(tmp_path / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python")
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    # XLA ends a process whose flags it does not know: those of the tests are for their own jax.
    own = ("PYTHONPATH", "XLA_FLAGS", "JAX_")
    environment = {n: value for n, value in os.environ.items() if not n.startswith(own)}

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [python, *arguments],
            cwd=folder,
            env={**environment, "JAX_PLATFORMS": "cpu"},
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        return done.stdout

    def installed() -> dict[str, Version]:
        return pins(run("-m", "pip", "freeze", "--exclude=capjax"))

    run("-m", "pip", "install", "--quiet", f"--requirement={constraints}")
    before = installed()
    assert {name: before[name] for name in pins(held)} == pins(held)
    run("-m", "pip", "install", "--quiet", f"{tmp_path}[viz]")
    after = installed()
    assert {name: after.get(name) for name in before} == before
    told = json.loads(run("-c", README_EXAMPLE, str(ROOT / "README.md")).splitlines()[-1])
    assert Version(told["jax"]) == pins(held)["jax"]
    assert told["caption"] in (ROOT / "README.md").read_text(encoding="utf-8")
    assert {path.name for path in folder.iterdir()} == {"strip.png", "figure.png"}
