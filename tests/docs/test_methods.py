"""Every method has its page, and what is measured of it is said as it was measured."""

import csv
import re

import pytest

from capjax.explainers.choosing import documented_options
from capjax.explainers.contract import settings
from capjax.explainers.methods import METHODS
from tests.docs.pages import DOCS, ROOT

PAGES = {page.stem: page for page in (DOCS / "methods").glob("*.md") if page.stem != "index"}
MEASURED = {
    kind: {
        row["method"]: row
        for row in csv.DictReader(
            (ROOT / f"benchmarks/results/faithfulness_{kind}.csv").read_text().splitlines()
        )
    }
    for kind in ("scenes", "coco")
}
CONTROLS = {"a random map": "random_map", "a blob in the middle": "centred_blob"}
COLUMNS = [
    ("scenes", "pointing_game", 3),
    ("scenes", "deletion", 2),
    ("scenes", "road_morf", 2),
    ("scenes", "road_lerf", 2),
    ("coco", "pointing_game", 3),
    ("coco", "deletion", 2),
    ("coco", "road_morf", 2),
    ("coco", "road_lerf", 2),
    ("coco", "randomisation", 2),
    ("coco", "other_caption", 2),
]


def test_every_method_has_a_page_and_every_page_a_method():
    assert set(PAGES) == set(METHODS)
    index = (DOCS / "methods" / "index.md").read_text()
    for name in METHODS:
        assert f"\n{name}\n" in index and f"[`{name}`]({name}.md)" in index, name


@pytest.mark.parametrize("name", METHODS)
def test_a_page_says_what_every_page_says(name):
    text = PAGES[name].read_text()
    assert f"```{{facts}} {name}\n" in text and f"```{{measured}} {name}\n" in text
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert headings == ["What it computes", "When to trust it", "Known failures"]
    computes, failures = (text.split(f"## {headings[at]}\n")[1].split("\n## ")[0] for at in (0, 2))
    assert "$$" in computes, "no equation"
    assert failures.strip().startswith("- ")


@pytest.mark.parametrize("name", METHODS)
def test_every_option_is_documented(name):
    for option, _, told in documented_options(METHODS[name], settings(METHODS[name])):
        assert told, f"{name}.{option}"


def test_the_table_is_what_was_measured():
    lines = (DOCS / "which_map.md").read_text().splitlines()
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in lines
        if line[:2] in ("| ", "|-")
    ]
    found = {}
    for cells in rows[2:]:
        name = CONTROLS.get(cells[0], cells[0].strip("`"))
        found[name] = cells[1:]
    assert set(found) == set(MEASURED["coco"]) == set(MEASURED["scenes"])
    for name, cells in found.items():
        for cell, (kind, score, digits) in zip(cells, COLUMNS, strict=False):
            value = float(MEASURED[kind][name][score])
            assert float(cell) == pytest.approx(value, abs=0.5001 * 10**-digits), (name, score)
        seconds = 1 / float(MEASURED["coco"][name]["images_per_second"])
        assert float(cells[-1]) == pytest.approx(seconds, abs=0.00501), name
    lerf = [
        float(MEASURED["coco"][name]["road_lerf"]) - float(MEASURED["coco"][name]["road_morf"])
        for name in found
    ]
    assert lerf == sorted(lerf, reverse=True)
