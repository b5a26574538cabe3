"""What the page of a method says by itself: its facts, its options and its measured scores.

    ```{facts} ig             facts and options, from the registry
    ```{measured} ig          its rows of benchmarks/results/faithfulness_*.csv

A method that has no page, or a page that names no method, fails `tests/docs/test_methods.py`.
"""

import csv
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from capjax.explainers.choosing import Chosen, documented_options
from capjax.explainers.contract import settings
from capjax.explainers.methods import METHODS

ROOT = Path(__file__).resolve().parents[2]
PICTURES = ROOT / "docs" / "img" / "methods"
RESULTS = ROOT / "benchmarks" / "results"
MEASURED = (
    {"scenes": "64 scenes, `scenes-soft`", "coco": "64 COCO photographs, `coco_soft`"},
    {"scenes_16": "16 scenes, `scenes-soft`", "coco_16": "16 COCO photographs, `coco_soft`"},
)
"""Tables by what they are of; the first pair that has a method is shown."""
CONTROLS = {"random_map": "a random map", "centred_blob": "a blob in the middle"}
SCORES = {
    "pointing ↑": "pointing_game",
    "deletion ↓": "deletion",
    "insertion ↑": "insertion",
    "ROAD MoRF ↓": "road_morf",
    "ROAD LeRF ↑": "road_lerf",
    "max-sensitivity ↓": "max_sensitivity",
    "alike: weights shuffled": "randomisation",
    "alike: another word": "other_caption",
}
NOT_MEASURED = "It is not in the table of [which map to trust](../which_map.md) yet."


def facts(name: str) -> str:
    """Markdown: what a method is asked by, explains and costs, and its options."""
    method = METHODS[name]
    rows = [
        ("name", f"`--methods={name}`"),
        ("in Python", f"{{py:class}}`capjax.explainers.{type(method).__name__}`"),
        ("explains", Chosen(method).measure_of(name) or "no scalar of the words"),
        ("contrasts two words", "yes" if method.CONTRASTS else "no"),
        ("cost", method.COST),
        ("source", method.SOURCE),
    ]
    parts = [table(("", ""), rows)]
    if (PICTURES / f"{name}.png").exists():
        parts.append(f"![Maps of {name} for the words of a caption](../img/methods/{name}.png)")
    options = documented_options(method, settings(method))
    if options:
        named = [
            (f"`{option}`", f"`{value}`" if value else "", told) for option, value, told in options
        ]
        parts.append(table(("option", "default", "meaning"), named))
    return "\n\n".join(parts)


def measured(name: str) -> str:
    """Markdown: a method's measured scores with their intervals, beside those of two controls."""
    for pair in MEASURED:
        columns = [(data, results(kind)) for kind, data in pair.items()]
        if all(name in found for _, found in columns):
            return _measured(name, columns)
    return NOT_MEASURED


def _measured(name: str, columns: Sequence[tuple[str, Mapping[str, dict[str, str]]]]) -> str:
    heads = ["95 % interval"]
    for data, _ in columns:
        heads += [data, *CONTROLS.values()]
    rows = []
    for title, score in SCORES.items():
        row = [title]
        for _, found in columns:
            row.append(interval(found[name], score))
            row += [number(found[control][score]) for control in CONTROLS]
        rows.append(row)
    if all("settings" not in found[name] for _, found in columns):
        speeds = ["images a second, one core"]
        for _, found in columns:
            speeds += [f"{float(found[name]['images_per_second']):.3g}", "", ""]
        return table(heads, [*rows, speeds])
    told = columns[0][1][name]["settings"]  # the rest is by default; timed on a busy machine
    return f"Measured with `{told}`.\n\n{table(heads, rows)}"


def results(kind: str) -> dict[str, dict[str, str]]:
    """Method -> its row of a table of faithfulness."""
    with open(RESULTS / f"faithfulness_{kind}.csv", newline="") as file:
        return {row["method"]: row for row in csv.DictReader(file)}


def interval(row: dict[str, str], score: str) -> str:
    """A score with its interval over images; empty where it was not measured."""
    low, high = row[f"{score}_low"], row[f"{score}_high"]
    if not low:
        return ""
    return f"{number(row[score])} [{number(low)}, {number(high)}]"


def number(text: str) -> str:
    """Three digits after the point, and none before it that says nothing."""
    return re.sub(r"^(-?)0\.", r"\1.", f"{float(text):.3f}") if text else ""


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line).replace("\n", " ") + " |" for line in lines)


class _OfMethod(SphinxDirective):
    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        (name,) = self.arguments
        if name not in METHODS:
            raise self.error(f"unknown method {name!r}; choose from: {', '.join(METHODS)}")
        for kind in (kind for pair in MEASURED for kind in pair):
            self.env.note_dependency(str(RESULTS / f"faithfulness_{kind}.csv"))
        return self.parse_text_to_nodes(self.text(name))

    def text(self, name: str) -> str:
        raise NotImplementedError


class _Facts(_OfMethod):
    def text(self, name: str) -> str:
        return facts(name)


class _Measured(_OfMethod):
    def text(self, name: str) -> str:
        return measured(name)


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.add_directive("facts", _Facts)
    app.add_directive("measured", _Measured)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
