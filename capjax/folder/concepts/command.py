"""The options of `python -m capjax.studies concepts fit|apply|sheet`."""

import argparse
import dataclasses
from typing import Any

from capjax.folder.concepts.applying import apply
from capjax.folder.concepts.fitting import fit, sheet
from capjax.runtime import locks
from capjax.runtime.command_line import MODEL_HELP, at_least_one, finite, refuse_repeated
from capjax.studies.concepts import ConceptSettings

SETTINGS = {
    "stage": "of the encoder; default: the map that the decoder reads; a name that does not exist "
    "is answered with those that do",
    "segments": "superpixels that a picture is cut into, once a number, from coarse to fine",
    "smallest": "share of a picture that a segment covers at least",
    "overlap": "a segment whose Jaccard index with one of a coarser cut is larger is dropped",
    "clusters": "of all patches",
    "discovery": "pictures that say the word, at most",
    "others": "pictures that do not, at most, whose patches are the random sets",
    "least": "a cluster with this many patches or fewer is no concept; half as many pictures have "
    "to say the word",
    "most": "patches of a concept",
    "counterparts": "random sets that a concept is told from",
    "random_concepts": "random sets that stand for a concept, to test against; one concept alone "
    "of m has no p below 2 m / (N + 1)",
    "alpha": "penalty of the linear classifiers",
    "significance": "a concept with a larger p is not kept: of those that are, the share that "
    "chance is allowed",
}


def add_command(commands: Any) -> None:
    """Adds `concepts` to the sub-commands of a parser."""
    text = "Concepts behind a word of captions (ACE, TCAV): found, applied to images, drawn."
    parts = commands.add_parser("concepts", help=text, description=text).add_subparsers(
        metavar="fit|apply|sheet", required=True
    )
    _add_fit(parts)
    _add_apply(parts)
    _add_sheet(parts)


def _part(parts: Any, name: str, text: str, call: Any) -> Any:
    parser = parts.add_parser(name, help=text.split(".")[0], description=text)
    refuse_repeated(parser)
    parser.set_defaults(call=call)
    return parser.add_argument


def _add_fit(parts: Any) -> None:
    add = _part(
        parts,
        "fit",
        "Finds the concepts of words. Writes WORD.safetensors and its sheet WORD.png for each; run "
        "again, it goes on: captions and words that are done stay. Exit code: 0 all words fitted, "
        "3 some could not be, 2 wrong usage.",
        fit,
    )
    add("--model", required=True, help=MODEL_HELP)
    _add_images(add, "pictures to find concepts in")
    add("--words", required=True, help="whose concepts to find, with commas: dog,surfboard")
    add("--captions", help="people's captions, of any format; default: the captioner's own count")
    add("--out", required=True, help="folder of the results; continued when it exists")
    _add_running(add)
    for name, default in dataclasses.asdict(ConceptSettings()).items():
        kind: Any = {int: at_least_one, float: finite, str: str}.get(type(default), _numbers)
        shown = ",".join(map(str, default)) if kind is _numbers else default
        add(
            f"--{name.replace('_', '-')}",
            type=kind,
            default=default,
            help=SETTINGS[name] + (f" (default {shown})" if default else ""),
        )


def _add_apply(parts: Any) -> None:
    add = _part(
        parts,
        "apply",
        "Explains images by saved concepts, as explain.py does: a report, raw signed maps (the "
        "projection of each place's activation on the unit vector) and strips. Of one file every "
        "concept has a map (concept_1, …), beside all that speak for the word (concepts). Exit "
        "codes are those of explain.py.",
        apply,
    )
    add("--model", required=True, help=MODEL_HELP)
    _add_concepts(add)
    _add_images(add, "to explain")
    add("--out", required=True, help="folder of the results; continued when it exists")
    add("--query", help="a sentence that says the words; default: the words alone")
    add("--own-captions", action="store_true", help="explain each image's caption instead")
    add(
        "--masked",
        action="store_true",
        help="keep only places where the word becomes more probable along the vector; after which "
        "words, --query or --own-captions says",
    )
    _add_running(add)


def _add_sheet(parts: Any) -> None:
    add = _part(parts, "sheet", "Draws the sheets of saved concepts again, as WORD.png.", sheet)
    _add_concepts(add)
    add("--images", required=True, help="folder that the pictures of the fit lie in")
    add("--out", required=True, help="folder of the sheets")


def _add_concepts(add: Any) -> None:
    add("--concepts", required=True, nargs="+", help="files that `concepts fit` wrote")


def _add_images(add: Any, what: str) -> None:
    add("--images", required=True, nargs="+", help=f"{what}: folders, files or quoted patterns")


def _add_running(add: Any) -> None:
    add(
        "--batch-size",
        type=at_least_one,
        default=32,
        help="images or patches at once (default 32); changes no result beyond rounding",
    )
    add(locks.BREAK, action="store_true", help="a process of another machine is dead: go on")


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected numbers: 15,50,80") from error
