"""The flags of the faithfulness half of `python -m capjax.evaluate`, its files and its table."""

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from capjax.captioner import Captioner
from capjax.data.captions.records import Record
from capjax.evaluate.all_methods import evaluated_methods
from capjax.evaluate.faithfulness.baselines import CentredBlob, RandomMap
from capjax.evaluate.faithfulness.batch import ORDERS
from capjax.evaluate.faithfulness.measuring import measure_images
from capjax.evaluate.faithfulness.records import Kept
from capjax.evaluate.faithfulness.removal import NOISE, Plan
from capjax.evaluate.faithfulness.request import Request, Words, digest, faithfulness_queries
from capjax.evaluate.grounding import Fit
from capjax.evaluate.grounding_options import read_source
from capjax.evaluate.queries import Protocol, Queries
from capjax.explainers.choosing import MEASURE_OPTION, Chosen, labels
from capjax.explainers.contract import Method
from capjax.metrics.agreement import disagreements, only_by_one_rule, rank_agreement
from capjax.metrics.faithfulness_summary import INSENSITIVE, summarise_method
from capjax.metrics.faithfulness_table import faithfulness_csv, format_faithfulness
from capjax.metrics.intervals import RESAMPLES
from capjax.runtime.command_line import at_least_one, from_zero, refuse_idle
from capjax.runtime.files import replacing
from capjax.runtime.version import code_version
from capjax.types import Caption
from capjax.viz.figures import new_figure_class
from capjax.viz.scores.faithfulness import plot_faithfulness

OWN = ("words", "cells", "steps", "removals", "checks")
"""Options of faithfulness alone."""


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of the faithfulness half of the command."""
    group = parser.add_argument_group("faithfulness: do words need what maps point at?")
    add = group.add_argument
    add(
        "--faithfulness",
        action="store_true",
        help="score the maps of --methods, `all` for every one that the captioner allows, by "
        "taking away what they point at, by shuffling weights, and with --boxes by pointing",
    )
    add(
        "--words",
        choices=("objects", "all"),
        help="explain the words that name an object with a box (default with --boxes or "
        "--entities), or all words",
    )
    add(
        "--cells",
        type=_cells,
        metavar="ROWSxCOLUMNS",
        help="grid over the encoder's input that is taken away cell by cell (default: the grid of "
        "its features)",
    )
    add(
        "--steps",
        type=at_least_one,
        default=14,
        help="number of steps of deletion and of insertion (default 14)",
    )
    add(
        "--removals",
        type=at_least_one,
        metavar="N",
        help="take cells away from the first N images only (default: from all); the others count "
        "for pointing",
    )
    add(
        "--checks",
        type=from_zero,
        default=8,
        help="shuffle weights, swap captions and move pixels for the first N images (default 8; "
        "0: none): the dearest part, done in whole batches, so give a --batch-size that divides N",
    )


def check_flags(options: argparse.Namespace) -> None:
    """Raises ValueError for flags of faithfulness that the other ones leave without effect."""
    if not options.faithfulness:
        refuse_idle(options, OWN, "cells are taken away with --faithfulness")
    elif options.words == "objects" and options.boxes is None and options.entities is None:
        raise ValueError(
            "--words=objects needs to know where objects are: add --boxes or --entities"
        )


def read_request(
    captioner: Captioner,
    options: argparse.Namespace,
    records: Sequence[Record],
    own: Sequence[Method] = (),
) -> tuple[Request, dict[str, str], list[str]]:
    """What the command line asks for, why methods are refused, and notes on the boxes.

    Raises:
      ValueError, FileNotFoundError: as of grounding.
      ImportError: matplotlib is not installed; the text says how to get it.
    """
    new_figure_class()  # before the work rather than after it
    chosen, refused = evaluated_methods(options, captioner, own)
    cells = options.cells or captioner.grid
    size = captioner.preprocessing.size
    if cells[0] > size[0] or cells[1] > size[1]:
        raise ValueError(
            f"got --cells={cells[0]}x{cells[1]}; this captioner sees {size[0]}x{size[1]} pixels, "
            "and a cell is at least one"
        )
    source, notes = read_source(captioner, options, records)
    queries: Queries = options.queries or "predicted"
    protocol = Protocol(options.tolerance, options.ties, queries, options.crop)
    plan = Plan(cells, max(1, captioner.preprocessing.frames), options.steps)
    baselines = (Chosen(RandomMap(*cells)), Chosen(CentredBlob(*cells)))
    words: Words = options.words or ("all" if source is None else "objects")
    request = Request(
        (*chosen, *baselines), plan, protocol, source, words, options.removals, options.checks
    )
    return request, refused, notes


def evaluate_faithfulness(
    captioner: Captioner,
    records: Sequence[Record],
    captions: Sequence[Caption],
    request: Request,
    refused: Mapping[str, str],
    notes: Sequence[str],
    *,
    out: Path,
    fit: Fit,
    usable: float,
) -> tuple[dict[str, Any], str]:
    """What `metrics.json` takes in, and the text for the terminal.

    Beside `out`, `metrics.json`, it writes `metrics.faithfulness.csv` and `.png`, and image by
    image `metrics.faithfulness.jsonl`, from which an evaluation that ended goes on.

    Returns:
      `faithfulness`: one object a method, from `summarise_method`, or its reason as `refused`;
      `faithfulness_agreement`: `pairs` of scores, and `conclusions` in words.
    """
    settings = {label: dict(own) for label, own in labels(request.methods).items()}
    measures = {label: own.pop(MEASURE_OPTION, None) for label, own in settings.items()}
    queries = faithfulness_queries(captioner, records, captions, request)
    protocol = {
        **dataclasses.asdict(request.protocol),
        "words": request.words,
        "cells": list(request.plan.cells),
        "frames": request.plan.frames,
        "steps": len(request.plan.counts()) - 1,
        "road_fractions": list(request.plan.fractions),
        "road_noise": NOISE,
        "measure": "prob",
        "deleted": "mean colour",
        "inserted_into": "Gaussian blur, 11 pixels, sigma 5",
        "relative_infidelity": "of the best a * map + b, a >= 0, over the best constant map's",
        "infidelity": "Yeh et al. 2019, equation 1, of the best a * map",
        "infidelity_masks": ORDERS * len(request.plan.copies()),
        "removals": request.removals or "all",
        "neighbours": "drawn with the seeds of their images",
        "checked_images": request.checks,
        "insensitive_from": INSENSITIVE,
        "intervals": f"95 %, {RESAMPLES} resamples of images",
    }
    made_from = {
        "model": captioner.hash,
        "code": code_version(),
        "methods": settings,
        "measures": measures,
        "protocol": protocol,
        "captions": [list(caption.tokens) for caption in captions],
        "queries": digest(queries),
    }
    kept = Kept(_beside(out, "jsonl"), made_from)
    measured = measure_images(
        captioner, records, captions, queries, request, fit=fit, usable=usable, kept=kept
    )
    found: dict[str, Any] = {}
    for label in settings:
        found[label] = summarise_method(measured, label)
        found[label] |= {"settings": settings[label], "measure": measures[label]}
        found[label] |= {"protocol": protocol, "notes": list(notes)}
    found |= {name: {"refused": reason} for name, reason in refused.items()}
    baselines = {RandomMap.NAME, CentredBlob.NAME}
    real = {label: found[label] for label in settings if label not in baselines}
    pairs = rank_agreement(real)
    told = [*disagreements(pairs), *only_by_one_rule(measured, list(real))]
    words = sum(len(record["words"]) for record in measured)
    title = (
        f"{len(measured)} images, {words} words; {request.plan.cells[0]} x {request.plan.cells[1]} "
        f"cells taken away in {protocol['steps']} steps from {_first(request.removals, measured)}; "
        f"weights shuffled for {_first(request.checks, measured)}; intervals over images"
    )
    with replacing(_beside(out, "csv")) as stream:
        stream.write(faithfulness_csv(found).encode())
    with replacing(_beside(out, "png")) as stream:
        figure = plot_faithfulness(found, title=f"Faithfulness: {title}", notes=told)
        figure.savefig(stream, format="png", dpi=150)
    text = format_faithfulness(found, pairs, [title, *notes, *told])
    agreement = {"pairs": pairs, "conclusions": told}
    return {"faithfulness": found, "faithfulness_agreement": agreement}, text


def _first(count: int | None, measured: Sequence[Any]) -> str:
    if count == 0:
        return "none"
    return "all" if count is None or count >= len(measured) else f"{count} of them"


def _beside(out: Path, suffix: str) -> Path:
    return out.with_name(f"{out.stem}.faithfulness.{suffix}")


def _cells(text: str) -> tuple[int, int]:
    """Parses "7x10", or "7" for a square."""
    rows, _, columns = text.partition("x")
    try:
        found = int(rows), int(columns or rows)
    except ValueError:
        found = 0, 0
    if min(found) < 1:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected such as 7 or 7x10")
    return found
