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
    for kind in ("scenes", "coco", "scenes_16", "coco_16")
}
CONTROLS = {"a random map": "random_map", "a blob in the middle": "centred_blob"}
POINTING, DELETION, MORF, LERF = (
    ("pointing_game", 3),
    ("deletion", 2),
    ("road_morf", 2),
    ("road_lerf", 2),
)
ALIKE = ("randomisation", 2), ("other_caption", 2)


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


def tables():
    """Rows of each table of which_map.md, by method, without its head."""
    found, lines = [{}], (DOCS / "which_map.md").read_text().splitlines()
    for line in lines:
        if line[:1] != "|":
            found += [{}] if found[-1] else []
            continue
        name, *cells = [cell.strip() for cell in line.strip("|").split("|")]
        if name not in ("method", "---"):
            found[-1][CONTROLS.get(name, name.strip("`"))] = cells
    return [table for table in found if table]


def compare(cells, kind, name, scores):
    """Cells of a row with what was measured; empty ones with what was not."""
    for cell, (score, digits) in zip(cells, scores, strict=True):
        value = MEASURED[kind][name][score]
        if value:
            assert float(cell) == pytest.approx(float(value), abs=0.5001 * 10**-digits), (
                name,
                score,
            )
        else:
            assert cell == "", (name, score)


def test_the_tables_are_what_was_measured():
    all_images, sixteen = tables()
    scores = POINTING, DELETION, MORF, LERF
    for table, suffix in (all_images, ""), (sixteen, "_16"):
        coco, scenes = MEASURED[f"coco{suffix}"], MEASURED[f"scenes{suffix}"]
        assert set(table) == set(coco) == set(scenes)
        for name, cells in table.items():
            compare(cells[:4], f"scenes{suffix}", name, scores)
            compare(cells[4:8], f"coco{suffix}", name, scores)
        gains = [float(coco[name]["road_lerf"]) - float(coco[name]["road_morf"]) for name in table]
        assert gains == sorted(gains, reverse=True)
    for name, cells in all_images.items():
        compare(cells[8:10], "coco", name, ALIKE)
        seconds = 1 / float(MEASURED["coco"][name]["images_per_second"])
        assert float(cells[10]) == pytest.approx(seconds, abs=0.00501), name
    for name, cells in sixteen.items():
        compare(cells[8:10], "scenes_16", name, ALIKE)
        assert cells[10].strip("`") == MEASURED["coco_16"][name]["settings"]
