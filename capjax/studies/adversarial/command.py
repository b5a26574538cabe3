"""`python -m capjax.studies adversarial`: success of attacks against epsilon on photographs."""

import argparse
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from capjax.captioner import Captioner
from capjax.data.sources.references import read_references
from capjax.metrics.similarity import Distance
from capjax.runtime.command_line import refuse_repeated
from capjax.studies.adversarial.aims import aims_of
from capjax.studies.adversarial.attack import Attacked
from capjax.studies.adversarial.batch import attack_all, said
from capjax.studies.adversarial.named import ATTACKS, add_attack_options, chosen_attacks
from capjax.studies.adversarial.pictures import (
    Tell,
    add_picture_options,
    captions_of,
    some_pictures,
)
from capjax.studies.adversarial.success import Fooled, success_table
from capjax.studies.results import write_results
from capjax.types import Caption

NAME = "success"
TABLE, RESULTS = f"{NAME}.csv", f"{NAME}.json"
CURVE = "success.png"
DESCRIPTION = (
    "Attacks photographs and writes how often the captioner is fooled within each epsilon: "
    f"{TABLE}, {RESULTS} and the curve {CURVE}. fgsm and pgd move away from the captioner's own "
    "caption. show_and_fool moves towards the caption of another photograph, drawn by --seed, and "
    "runs once within the largest epsilon: a photograph counts from the epsilon on that its change "
    "lies within. What counts is the picture rounded to 8 bits. Exit codes: 0 done, 1 --out takes "
    "no more, 2 wrong usage."
)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of the command."""
    refuse_repeated(parser)
    add = parser.add_argument
    add_picture_options(add)
    add_attack_options(add, attacks=",".join(ATTACKS), epsilons="1,2,4,8,16")
    add(
        "--captions",
        help="captions by people, a file of any format: targets of show_and_fool (default: what "
        "the captioner says of the other photographs)",
    )


def measure(
    options: argparse.Namespace, captioner: Captioner, tell: Tell
) -> tuple[Fooled, dict[str, Any]]:
    """Attacks the photographs; (success, all of it as plain JSON values).

    Args:
      options: of the command line.
      captioner: that is attacked.
      tell: takes a line on what is done, and on what is left out.

    Raises:
      ValueError: what options, photographs or captions say.
    """
    attacks, epsilons = chosen_attacks(options)
    root, files, images = some_pictures(options, captioner, tell)
    people: Mapping[str, Sequence[str]] = {}
    if options.captions:
        people = read_references(options.captions, root, files, tell=tell)
    size = captioner.at_once(options.batch_size)
    captions = captions_of(captioner, images, size)
    own = [caption.tokens for caption in captions]
    aims: list[tuple[int, ...]] | None = None
    if any(method.SEEKS_LEAST for method in attacks.values()):
        aims = aims_of(captioner, own, [people.get(file, ()) for file in files], options.seed)
    fooled: dict[str, dict[float, list[bool]]] = {}
    records: dict[str, list[dict[str, Any]]] = {}
    for name, method in attacks.items():
        fooled[name], records[name] = {epsilon: [] for epsilon in epsilons}, []
        aimed = aims if method.SEEKS_LEAST else None
        given = captioner, method, images, own, epsilons
        for rows, found, runs in attack_all(*given, at_once=size, aims=aimed):
            for epsilon, values in found.items():
                fooled[name][epsilon] += [bool(value) for value in values]
            last = runs[max(runs)]
            records[name] += [
                _record(captioner, files[at], captions[at], last, row, aimed[at] if aimed else None)
                for row, at in enumerate(rows)
            ]
            tell(f"{name}: {rows[-1] + 1} of {len(images)} photographs")
    return fooled, {
        "model": options.model,
        "model_hash": captioner.hash,
        "epsilons": epsilons,
        "seed": options.seed,
        "success": success_table(fooled).to_json(),
        "pictures": records,
    }


def write(out: pathlib.Path, fooled: Fooled, results: Mapping[str, Any]) -> None:
    """Writes the table and all results into a folder."""
    write_results(out, NAME, success_table(fooled), results)


def _record(
    captioner: Captioner,
    file: str,
    caption: Caption,
    found: Attacked,
    row: int,
    aim: Sequence[int] | None,
) -> dict[str, Any]:
    text = said(captioner, found, row)
    return {
        "file": file,
        "caption": caption.text,
        **({"target": captioner.text.decode(list(aim))} if aim else {}),
        "adversarial": text,
        "fooled": bool(found.success[row]),
        "loss": float(found.loss[row]),
        "largest_change": float(found.linf[row]),
        "root_mean_square_change": float(found.l2[row]),
        Distance().title: Distance()({file: (caption.text, text)})[file],
    }
