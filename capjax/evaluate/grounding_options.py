"""The flags of the grounding half of `python -m capjax.evaluate`, and what they ask for."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from capjax.captioner import Captioner
from capjax.data.boxes.entities import TYPES
from capjax.data.boxes.grounded import (
    BoxSource,
    EntitySource,
    Source,
    check_source,
    read_mentions,
    read_timelines,
)
from capjax.data.boxes.instances import read_instances
from capjax.data.boxes.object_words import read_object_words
from capjax.data.captions.records import Record
from capjax.evaluate.all_methods import evaluated_methods
from capjax.evaluate.grounding import Request
from capjax.evaluate.queries import Protocol, Queries
from capjax.explainers.contract import Method
from capjax.explainers.options import add_method_options
from capjax.runtime.command_line import not_negative, refuse_idle
from capjax.runtime.files import local_path
from capjax.studies.concepts import ConceptMaps, ConceptSet


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of the grounding half of the command."""
    add = parser.add_argument_group("grounding: do maps point at what words name?").add_argument
    add("--grounding", action="store_true", help="score the maps of --methods")
    add("--boxes", type=Path, help="COCO instances JSON of the same images")
    add("--entities", type=Path, help="Flickr30k Entities: folder of Sentences and Annotations")
    add_method_options(add, "caption_guided", "; or all that the captioner allows")
    add(
        "--concepts",
        nargs="+",
        metavar="FILE",
        help="files of `python -m capjax.studies concepts fit`, one a word: adds the method "
        "`concepts`, and scores only words that have some",
    )
    add(
        "--queries",
        choices=("captions", "predicted"),
        help="explain people's captions (default of --grounding) or the captioner's (default of "
        "--faithfulness)",
    )
    add(
        "--crop",
        choices=("none", "central"),
        default="none",
        help="central: the model sees the middle of the photograph only, as in Show, Attend and "
        "Tell, in all scores",
    )
    add(
        "--tolerance",
        type=not_negative,
        default=0.0,
        help="a point this near a box hits too, in pixels",
    )
    add(
        "--ties",
        choices=("first", "mean"),
        default="first",
        help="of several maxima: the first row by row (default), or the mean of their hits",
    )
    add("--object-words", type=Path, help="TOML, class = [words]; default: COCO's 80 classes")


OF_BOXES = ("object_words", "queries", "tolerance", "ties")
"""Options that say how boxes are pointed at."""


def check_flags(options: argparse.Namespace) -> None:
    """Raises ValueError for flags of grounding that the other ones leave without effect."""
    if not options.grounding and not options.faithfulness:
        why = "maps are scored with --grounding or --faithfulness"
        read = ("boxes", "object_words") if options.hallucination else ()
        idle = ("boxes", "entities", "methods", "measure", *OF_BOXES)
        refuse_idle(options, [name for name in idle if name not in read], why)
        if options.set:
            raise ValueError(f"--set would have no effect: {why}")
    if not options.grounding:
        refuse_idle(options, ["concepts"], "their maps are scored with --grounding")
    elif options.concepts and options.faithfulness:
        raise ValueError(
            "--concepts goes with --grounding alone, since concepts have maps of some words only; "
            "leave --faithfulness to another run"
        )
    elif ConceptMaps.NAME in options.methods.split(",") and not options.concepts:
        raise ValueError(
            f"the method {ConceptMaps.NAME} needs --concepts=FILE, as `python -m capjax.studies "
            "concepts fit` writes it"
        )
    if options.entities is not None:
        why = "--entities says where things are, and names them"
        refuse_idle(options, ("boxes", "object_words"), why)
    elif options.boxes is None:
        refuse_idle(options, OF_BOXES, "nothing says where things are; add --boxes or --entities")


def read_request(
    captioner: Captioner,
    options: argparse.Namespace,
    records: Sequence[Record],
    own: Sequence[Method] = (),
) -> Request:
    """What the command line asks for about these records, its files read; and methods of one's own.

    Raises:
      ValueError: unknown methods, files of another form, boxes of other pictures, or nothing that
        says where words point.
      FileNotFoundError: a file that is not there.
    """
    found = [ConceptSet.read(local_path(name, "--concepts")) for name in options.concepts or ()]
    concepts = [ConceptMaps.of(captioner, found)] if found else []
    methods, refused = evaluated_methods(options, captioner, [*own, *concepts])
    timelines = read_timelines(options.captions) if captioner.preprocessing.frames else {}
    source, notes = read_source(captioner, options, records)
    if source is None and not timelines:
        raise ValueError(
            "--grounding needs to know where things are: pass --boxes=COCO_INSTANCES_JSON, "
            "--entities=DIR, or captions of clips whose annotations have events"
        )
    notes += [f"{name}: {reason}" for name, reason in refused.items()]
    queries: Queries = options.queries or "captions"
    protocol = Protocol(options.tolerance, options.ties, queries, options.crop)
    order = TYPES if options.entities is not None else None
    return Request(methods, protocol, source, timelines, order, tuple(notes))


def read_source(
    captioner: Captioner, options: argparse.Namespace, records: Sequence[Record]
) -> tuple[Source | None, list[str]]:
    """Where words point as the command line says, None where it does not; and notes on it.

    Raises:
      ValueError: files of another form, or boxes of other pictures.
      FileNotFoundError: a file that is not there.
    """
    source: Source | None = None
    notes: list[str] = []
    if options.entities is not None:
        source = EntitySource(options.entities)
    elif options.boxes is not None:
        images = read_instances(options.boxes)
        classes = {item.category for image in images.values() for item in image.instances}
        words = read_object_words(options.object_words).including(classes)
        source = BoxSource(images, words, read_mentions(options.captions))
        notes += images.left_out
    if source is not None and not captioner.preprocessing.frames:
        check_source(source, records, notes.append)
    return source, notes
