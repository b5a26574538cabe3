"""`python -m capjax.studies detection`: are attacked pictures told by how unstable they are?"""

import argparse
import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from capjax.captioner import Captioner
from capjax.explainers.choosing import with_options
from capjax.runtime.command_line import refuse_repeated
from capjax.runtime.text_table import format_table
from capjax.studies.adversarial.aims import aims_of
from capjax.studies.adversarial.batch import attack_all
from capjax.studies.adversarial.named import add_attack_options, chosen_attacks
from capjax.studies.adversarial.pictures import (
    Tell,
    add_picture_options,
    captions_of,
    some_pictures,
)
from capjax.studies.contract import settings
from capjax.studies.detection.detectors import Separations, separation_table, separations
from capjax.studies.detection.instability import Instability
from capjax.studies.results import write_results

NAME = "detection"
TABLE, RESULTS = f"{NAME}.csv", f"{NAME}.json"
CHART = "detection.png"
DESCRIPTION = (
    "Attacks photographs, spoils them and the attacked ones with noise and JPEG, and writes how "
    "well each number of the study `instability`, and a logistic regression on all of them, tells "
    f"attacked from clean: {TABLE}, {RESULTS} and the chart {CHART}. The regression is "
    "cross-fitted over photographs; AUC with 95 % intervals over photographs. fgsm and pgd move "
    "away from the captioner's own caption, once within each epsilon; show_and_fool moves towards "
    "what the captioner says of another photograph, within the largest. Exit codes: 0 done, 1 "
    "--out takes no more, 2 wrong usage."
)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of the command."""
    refuse_repeated(parser)
    add = parser.add_argument
    add_picture_options(add)
    add_attack_options(add, attacks="pgd,show_and_fool", epsilons="4,8")
    add(
        "--counted",
        choices=("fooled", "all"),
        default="fooled",
        help="attacked photographs that are to be told: those that fool the captioner (default), "
        "or all; clean ones all count",
    )
    add(
        "--set",
        action="append",
        default=[],
        metavar="OPTION=VALUE",
        help="an option of the study `instability`, as in noises=8, methods=gradcam or "
        "similarity=clip (explain.py --list-studies explains them); may be repeated",
    )


def chosen_study(options: argparse.Namespace) -> Instability:
    """The numbers to read.

    Raises:
      ValueError: an unknown option, or a value that makes no sense.
    """
    return with_options(Instability(), options.set, "instability")


@dataclasses.dataclass(frozen=True, eq=False)
class Detected:
    """What the command found.

    Attributes:
      separations: how well each number tells.
      counted: attack -> attacked photographs that count.
      results: all of it, as plain JSON values.
    """

    separations: Separations
    counted: Mapping[str, int]
    results: Mapping[str, Any]

    @property
    def intervals(self) -> dict[str, dict[str, tuple[float, float, float]]]:
        """Attack -> number -> (AUC, lower and upper end); those that are known."""
        return {
            attack: {
                name: (own["value"], *own["interval"])
                for name, own in numbers.items()
                if own["value"] is not None
            }
            for attack, numbers in self.separations.items()
        }

    def __str__(self) -> str:
        heads = [f"{name} ({self.counted[name]})" for name in self.separations]
        rows = [["AUC [95 %], clean against (attacked):", *heads]]
        for number in next(iter(self.separations.values())):
            cells = [_shown(own[number]) for own in self.separations.values()]
            rows.append([number, *cells])
        return format_table(rows)

    def write(self, out: pathlib.Path) -> None:
        """Writes the table and all results into a folder."""
        write_results(out, NAME, separation_table(self.separations, self.counted), self.results)


def detect(options: argparse.Namespace, captioner: Captioner, tell: Tell) -> Detected:
    """Attacks photographs and tells them from the clean ones.

    Args:
      options: of the command line.
      captioner: that is attacked.
      tell: takes a line on what is done, and on what is left out.

    Raises:
      ValueError: what options or photographs say.
    """
    attacks, epsilons = chosen_attacks(options)
    study = chosen_study(options)
    _, files, images = some_pictures(options, captioner, tell)
    size = captioner.at_once(options.batch_size)
    own = [caption.tokens for caption in captions_of(captioner, images, size)]
    clean = study.of(captioner, list(images))
    tell(f"read {len(images)} clean photographs and their copies")
    found: dict[str, dict[str, Any]] = {}
    counted: dict[str, int] = {}
    records: dict[str, list[dict[str, Any]]] = {
        file: [{"picture": "clean", "caption": one.caption, "numbers": one.numbers}]
        for file, one in zip(files, clean, strict=True)
    }
    for name, method in attacks.items():
        aims = None
        if method.SEEKS_LEAST:
            aims = aims_of(captioner, own, [()] * len(own), options.seed)
        within = epsilons[-1:] if method.SEEKS_LEAST else epsilons
        for epsilon in within:  # one after the other: pictures of one are held at once
            label = f"{name} within {epsilon:g}/255"
            given = captioner, method, images, own, [epsilon]
            runs = [run[epsilon] for *_, run in attack_all(*given, at_once=size, aims=aims)]
            pictures = np.concatenate([np.asarray(run.pictures) for run in runs])
            fooled = np.concatenate([np.asarray(run.success) for run in runs])
            attacked = study.of(captioner, list(pictures))
            chosen = fooled if options.counted == "fooled" else np.ones_like(fooled)
            numbers = [[one.numbers for one in several] for several in (clean, attacked)]
            found[label] = separations(numbers[0], numbers[1], chosen)
            counted[label] = int(chosen.sum())
            for file, one, success in zip(files, attacked, fooled, strict=True):
                records[file].append(
                    {
                        "picture": label,
                        "caption": one.caption,
                        "fooled": bool(success),
                        "numbers": one.numbers,
                    }
                )
            tell(f"{label}: {int(fooled.sum())} of {len(files)} photographs are fooled")
    return Detected(
        found,
        counted,
        {
            "model": options.model,
            "model_hash": captioner.hash,
            "seed": options.seed,
            "counted": options.counted,
            "instability": settings(study),
            "auc": found,
            "pictures": records,
        },
    )


def _shown(score: Mapping[str, Any]) -> str:
    if score["value"] is None:
        return "–"
    low, high = score["interval"]
    return f"{score['value']:.3f} [{low:.3f}, {high:.3f}]"
