"""Does the best method point better than the middle of the picture? Cross-fitted, over seeds.

    python benchmarks/pointing.py SEED0.phrases.csv SEED1.phrases.csv … [--without=person] [--save]

Each file is what `python -m capjax.evaluate --grounding` writes beside its scores, of the same
phrases and another training seed. A phrase's score is its mean over the seeds. The photographs are
cut into two halves; on each half the method with the most hits is chosen and scored on the other,
so that no photograph helps to choose the method that it scores. The interval is a bootstrap over
whole photographs.
"""

from __future__ import annotations

import csv
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float
from protocol import argument_parser, report

from capjax.metrics.intervals import bootstrap_intervals

SCORE = ".pointing_game"


def read(
    paths: Sequence[Path], without: str
) -> tuple[list[str], dict[str, Float[np.ndarray, " N"]], Float[np.ndarray, " N"]]:
    """The photograph of each phrase, each method's hits over seeds, and the hits of the centre."""
    tables = []
    for path in paths:
        with path.open() as lines:
            rows = [row for row in csv.DictReader(lines)]
        tables.append([row for row in rows if without not in row["categories"].split("; ")])
    phrases = [[(row["image"], row["words"], row["centre"]) for row in table] for table in tables]
    if any(own != phrases[0] for own in phrases):
        raise ValueError("the files do not score the same phrases in the same order")
    shared = set.intersection(*(set(table[0]) for table in tables))
    methods = [name for name in tables[0][0] if name.endswith(SCORE) and name in shared]
    hits = {
        name.removesuffix(SCORE): np.mean(
            [[float(row[name]) for row in table] for table in tables], axis=0
        )
        for name in methods
    }
    centre = np.array([float(row["centre"]) for row in tables[0]])
    return [row["image"] for row in tables[0]], hits, centre


def cross_fitted(
    hits: dict[str, Float[np.ndarray, " N"]], first: Bool[np.ndarray, " N"]
) -> tuple[Float[np.ndarray, " N"], list[str]]:
    """The hits of the methods that the other half chose, and their names."""
    scores = np.empty(len(first))
    chosen = []
    for half in (first, ~first):
        best = max(hits, key=lambda name: hits[name][~half].mean())
        scores[half] = hits[best][half]
        chosen.append(best)
    return scores, chosen


def main() -> None:
    """Prints the cross-fitted lead and each method's own."""
    parser = argument_parser(__doc__)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--without", default="person", help="leave out phrases of this category")
    options = parser.parse_args()
    images, hits, centre = read(options.files, options.without)
    first = np.array([zlib.crc32(name.encode()) % 2 == 0 for name in images])
    scores, chosen = cross_fitted(hits, first)
    leads = {"cross_fitted": scores - centre, **{name: own - centre for name, own in hits.items()}}
    intervals = bootstrap_intervals(np.stack(list(leads.values())), images)
    figures = {"phrases": len(images), "photographs": len(set(images)), "centre": centre.mean()}
    print(f"chosen on either half: {', '.join(chosen)}")
    for (name, lead), (low, high) in zip(leads.items(), intervals, strict=True):
        print(f"{name} over the centre: {lead.mean():+.3f} [{low:+.3f}, {high:+.3f}]")
        figures |= {f"{name}_lead": lead.mean(), f"{name}_low": low, f"{name}_high": high}
    rounded = {name: round(float(value), 4) for name, value in figures.items()}
    report("pointing", ratios={}, figures=rounded, save=options.save)


if __name__ == "__main__":
    main()
