"""The layers: imports point only down, and each failure names the rule it breaks.

`python -m tests.architecture_test` prints which folder imports which.
"""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

ROOT_MODULES = {"__init__", "api", "captioner", "rng", "types"}
MOST_FILES = 16
"""In one folder: what grows gets a sub-folder whose name says what belongs there."""

# Lowest first. A unit is a module or a package directly under capjax/, or a script above it.
LAYERS = (
    {"types", "rng", "runtime"},
    {"ops"},
    {"encoders", "decoders"},
    {"text", "detectors"},
    {"checkpoints"},
    {"captioner"},
    {"train", "decoding", "data", "weights"},
    {"explainers", "inpaint", "metrics"},
    {"studies"},
    {"config", "viz"},
    {"api", "evaluate", "experiment", "folder"},
    {"audit", "serve"},
    {"configs", "train.py", "explain.py", "__main__"},
)
RANK = {unit: rank for rank, units in enumerate(LAYERS) for unit in units}
# They meet in the shells.
STRANGERS = {"explainers", "inpaint", "metrics"}
NEVER = {(one, other) for one in STRANGERS for other in STRANGERS if one != other}
FOREIGN = {"tensorflow", "torch"}
HEAVY = ("tensorflow", "orbax", "grain", "tensorflow_datasets", "matplotlib", "torch")
MAX_LINES = 350


def sources() -> list[Path]:
    """Every Python file of the product."""
    scripts = [ROOT / "train.py", ROOT / "explain.py"]
    found = [*(ROOT / "capjax").rglob("*.py"), *(ROOT / "configs").rglob("*.py"), *scripts]
    return sorted(path for path in found if path.exists())


def unit_of(path: Path) -> str | None:
    """The unit a file belongs to; None for the package's own table of contents."""
    parts = path.relative_to(ROOT).parts
    if path.name == "__main__.py":
        return "__main__"  # a shell, wherever it lies: it may import upward
    if parts[0] == "capjax":
        unit = parts[1].removesuffix(".py")
        return None if unit == "__init__" else unit
    return parts[0]


def absolute(node: ast.ImportFrom, path: Path) -> str:
    """The module named by `from … import`, with leading dots resolved."""
    if not node.level:
        return node.module or ""
    package = path.relative_to(ROOT).parts[: -node.level]
    return ".".join([*package, *([node.module] if node.module else [])])


def imported_modules(source: str, path: Path) -> set[str]:
    """Dotted names of all that a file imports, at any depth, lazily or not."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = absolute(node, path)
            names.update(f"{module}.{alias.name}" for alias in node.names)
    return names


def imported_units(modules: set[str]) -> set[str]:
    """The capjax units among imported modules."""
    units = {name.split(".")[1] for name in modules if name.startswith("capjax.")}
    scripts = {name.split(".")[0] for name in modules if name.split(".")[0] == "configs"}
    return (units & set(RANK)) | scripts


def broken_rules(unit: str | None, modules: set[str]) -> list[str]:
    """One line for each import that the table forbids."""
    broken = [
        f"no capjax module imports {foreign}"
        for foreign in sorted(FOREIGN & {name.split(".")[0] for name in modules})
    ]
    if unit is None:
        return broken
    for other in sorted(imported_units(modules) - {unit}):
        if (unit, other) in NEVER:
            broken.append(f"{unit} may never import {other}: they meet in the shells")
        elif RANK[other] > RANK[unit]:
            allowed = sorted(set().union(*LAYERS[: RANK[unit] + 1]) - {unit})
            broken.append(
                f"{unit} may not import {other}, which stands above it; it may: {allowed}"
            )
    return broken


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_file_keeps_the_rules(path):
    source = path.read_text()
    unit = unit_of(path)
    broken = broken_rules(unit, imported_modules(source, path))
    if unit is not None and unit not in RANK:
        broken.append(f"{unit} has no layer; give it one in tests/architecture_test.py")
    if path.stem in ("utils", "util", "helpers", "misc", "common"):
        broken.append(f"{path.name} names no concept")
    lines = source.count("\n")
    if lines > MAX_LINES:
        broken.append(f"{lines} lines, over {MAX_LINES}: one concept a file")
    assert not broken, f"{path.relative_to(ROOT)}: " + "; ".join(broken)


def test_files_have_room():
    assert {path.stem for path in (ROOT / "capjax").glob("*.py")} == ROOT_MODULES
    crowded = {
        str(folder.relative_to(ROOT)): count
        for folder in {path.parent for path in sources() if "capjax" in path.parts}
        if (count := len(list(folder.glob("*.py")))) > MOST_FILES
    }
    assert not crowded, f"more than {MOST_FILES} files in one folder: {crowded}"


def siblings(importer: str, imported: str) -> tuple[str, str, str] | None:
    """The package where two modules part, and the unit of each directly below it."""
    one, other = importer.split("."), imported.split(".")
    common = 0
    while one[common : common + 1] == other[common : common + 1] and common < min(
        len(one), len(other)
    ):
        common += 1
    if common == min(len(one), len(other)):
        return None  # a package's own table of contents
    return ".".join(one[:common]), one[common], other[common]


def module_imports() -> dict[str, set[str]]:
    """Every module of capjax, and the modules that it imports; the package's own names apart."""
    paths = {}
    for path in (ROOT / "capjax").rglob("*.py"):
        if path.name == "__main__.py":
            continue  # a shell that nobody imports
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        paths[name.removesuffix(".__init__")] = path
    del paths["capjax"]
    found = {}
    for name, path in paths.items():
        # `from package import name` is about a module, or about a name in the package.
        targets = {
            other if other in paths else other.rpartition(".")[0]
            for other in imported_modules(path.read_text(), path)
        }
        found[name] = targets & set(paths)
    return found


def arrows() -> str:
    """Folder, or module at the root -> what it imports, a line each."""
    modules = module_imports()
    # A module at the root stands for itself: some of them are the lowest, one is the highest.
    packages = {name.rpartition(".")[0] for name in modules} | {
        name for name in modules if name.count(".") == 1
    }
    folder = {name: name if name in packages else name.rpartition(".")[0] for name in modules}
    table: dict[str, set[str]] = {}
    for name, others in modules.items():
        table.setdefault(folder[name], set()).update(folder[other] for other in others)
    width = max(map(len, table))
    return "\n".join(
        f"{name:{width}}  -> {', '.join(sorted(table[name] - {name})) or 'nothing'}"
        for name in sorted(table)
    )


def test_no_circle_in_any_package():
    """Units directly below one package, modules and sub-folders alike, import in one direction."""
    edges: dict[str, dict[str, set[str]]] = {}
    for name, others in module_imports().items():
        for parted in (siblings(name, other) for other in others):
            if parted is not None:
                package, one, below = parted
                edges.setdefault(package, {}).setdefault(one, set()).add(below)
    assert edges["capjax"]["api"] and edges["capjax.data"]["sources"]
    for package, own in edges.items():
        left = dict(own)
        while left:
            leaves = {unit for unit, below in left.items() if not below & set(left)}
            assert leaves, f"in {package}, these import each other in a circle: {sorted(left)}"
            left = {unit: below for unit, below in left.items() if unit not in leaves}


@pytest.mark.parametrize(
    ("unit", "source", "rule"),
    [
        ("ops", "from capjax.data import sources", "ops may not import data"),
        ("explainers", "import capjax.metrics.captions", "explainers may never import metrics"),
        ("metrics", "from capjax import explainers", "metrics may never import explainers"),
        ("decoders", "def f():\n    from ..captioner import Captioner", "decoders may not import"),
        ("train", "from capjax.metrics import captions", "train may not import metrics"),
        ("data", "import tensorflow as tf", "no capjax module imports tensorflow"),
    ],
)
def test_a_broken_rule_is_named(unit, source, rule):
    path = ROOT / "capjax" / unit / "example.py"
    assert any(rule in line for line in broken_rules(unit, imported_modules(source, path)))


def test_import_is_cheap():
    code = (
        "import json, sys, capjax\n"
        "print(json.dumps(sorted(sys.modules)))\n"
        "import capjax.api, capjax.evaluate.__main__, capjax.experiment, capjax.folder.run\n"
        "print(json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    first, commands = (json.loads(line) for line in done.stdout.splitlines())
    loaded = {name.split(".")[0] for name in first}
    assert not loaded & set(HEAVY), f"`import capjax` loads {sorted(loaded & set(HEAVY))}"
    assert "scipy.stats" not in commands, "every command waits a second for scipy.stats"


if __name__ == "__main__":
    print(arrows())
