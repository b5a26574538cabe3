"""The notebooks run as they stand, with less of everything, and come without outputs.

Their code is plain Python, so that a notebook runs here without Jupyter: cell by cell in one
namespace, and what a cell shows is made as a notebook makes it.
"""

import ast
import json
import re
import tempfile
import warnings
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SHORT = {
    "tour": {},
    "caption_guided_saliency": {},
    "which_map_to_trust": {"count": 2, "methods": "attention,gradcam", "checks": 1},
    "counterfactuals": {"count": 2},
    "your_own_data": {"count": 60, "steps": 20, "root": ROOT},
}
"""What the cell tagged `parameters` says here."""
BARS = re.compile(r"[^\r\n]*\d+%\|[^\r\n]*")
"""Of the progress of commands, which write them to standard error."""


def parameters(cell: dict) -> bool:
    """Whether a cell says how much there is to do."""
    return "parameters" in cell["metadata"].get("tags", ())


def read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def source(cell: dict) -> str:
    return "".join(cell["source"])


def run(cell: dict, names: dict) -> object:
    """Executes a cell and returns the value of its last expression."""
    tree = ast.parse(source(cell))
    last = tree.body[-1] if tree.body else None
    shown = tree.body.pop() if isinstance(last, ast.Expr) else None
    exec(compile(tree, cell["id"], "exec"), names)
    if shown is None or source(cell).rstrip().endswith(";"):
        return None
    return eval(compile(ast.Expression(shown.value), cell["id"], "eval"), names)


def display(value: object) -> str:
    """What a notebook puts under a cell."""
    for way in ("_repr_html_", "_repr_png_"):
        if hasattr(value, way):
            return str(getattr(value, way)())
    return repr(value)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_stripped_and_whole(path):
    book = read(path)
    assert (book["nbformat"], book["nbformat_minor"]) == (4, 5)
    identities = [cell["id"] for cell in book["cells"]]
    assert len(set(identities)) == len(identities)
    for cell in book["cells"]:
        assert re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", cell["id"])
        assert cell["cell_type"] in ("markdown", "code") and source(cell).strip()
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [] and cell["execution_count"] is None
    others = re.findall(r"`(\w+\.ipynb)`", path.read_text(encoding="utf-8"))
    assert {own for own in others} <= {own.name for own in NOTEBOOKS}


def test_what_is_shortened_is_a_parameter_of_the_notebook():
    assert set(SHORT) == {path.stem for path in NOTEBOOKS}
    for path in NOTEBOOKS:
        trees = [ast.parse(source(cell)) for cell in read(path)["cells"] if parameters(cell)]
        found = [name for tree in trees for name in ast.walk(tree) if isinstance(name, ast.Name)]
        assigned = {name.id for name in found if isinstance(name.ctx, ast.Store)}
        assert set(SHORT[path.stem]) <= assigned, path.name


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, id=path.stem, marks=[pytest.mark.slow] if path.stem != "tour" else [])
        for path in NOTEBOOKS
    ],
)
def test_a_notebook_runs(path, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    names: dict = {"__name__": "__main__"}
    shown = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for cell in read(path)["cells"]:
            if cell["cell_type"] != "code":
                continue
            value = run(cell, names)
            if value is not None:
                shown.append((value, display(value)))
            if parameters(cell):
                names |= SHORT[path.stem]
    printed = capsys.readouterr()
    said = BARS.sub("", printed.err).strip()
    assert not said, said
    values = [value for value, _ in shown]
    assert 2 not in values and 1 not in values, f"a command failed: {printed.out}{printed.err}"
    assert any("<iframe" in text or "PNG" in text for _, text in shown)
