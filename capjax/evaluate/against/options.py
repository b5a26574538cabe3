"""The flags of `--against` of `python -m capjax.evaluate`, the other captioner, and the files."""

import argparse
import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from capjax.captioner import Captioner
from capjax.data.captions.records import Record
from capjax.decoding import Decoding, describe
from capjax.decoding.captions import caption_memory
from capjax.decoding.options import chosen_decoding, reading_as
from capjax.evaluate.against.comparing import (
    Pair,
    compare,
    paired,
)
from capjax.evaluate.against.telling import format_comparison
from capjax.evaluate.captions import caption_records
from capjax.evaluate.queries import with_crop
from capjax.metrics.similarity import CaptionSimilarity
from capjax.runtime.command_line import at_least_one, refuse_idle
from capjax.studies.doubt.reranking import Reranker
from capjax.types import Caption
from capjax.viz.figures import new_figure_class

GALLERY = 4
Fit = Callable[[Captioner, int, Callable[[int], float]], int]
"""How many of so many images a captioner does at once, by what they need."""


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of this part of the command."""
    group = parser.add_argument_group("against: which of two captioners writes better?")
    group.add_argument(
        "--against",
        metavar="MODEL",
        help="another captioner, opened as --model: both write of the same images; scores of each, "
        "paired differences, distributions of similarity (with --similarity) and sentence BLEU",
    )
    group.add_argument(
        "--gallery",
        type=at_least_one,
        default=GALLERY,
        metavar="N",
        help="with --against: of each captioner the best and the worst N images are drawn "
        f"(default {GALLERY})",
    )


def check_flags(options: argparse.Namespace) -> None:
    """Raises ValueError for flags that the other ones leave without effect."""
    if not options.against:
        refuse_idle(options, ["gallery"], "it is drawn with --against")


@dataclasses.dataclass(frozen=True, eq=False)
class Rival:
    """The other captioner, and how it writes.

    Attributes:
      model: what named it.
      names: of both captioners, short ones to show.
      captioner, decoding, max_len, reranker: of the other one.
      batch_size: images at once.
      gallery: images of each section.
    """

    model: str
    names: tuple[str, str]
    captioner: Captioner
    decoding: Decoding
    max_len: int
    reranker: Reranker | None
    batch_size: int
    gallery: int


def read_rival(
    captioner: Captioner,
    options: argparse.Namespace,
    records: Sequence[Record],
    *,
    load: Callable[[str], Captioner],
    fit: Fit,
    usable: float,
) -> Rival:
    """Opens the other captioner; it writes as the options say, and else as it was validated.

    Args:
      captioner: the model.
      options: of the command line.
      records: images or clips.
      load: opens a captioner by its name.
      fit: says how many images it does at once.
      usable: bytes of memory.

    Raises:
      OSError, ValueError: it cannot be opened, sees clips where the model sees photographs, or an
        option does not suit it; the text says that it is --against.
      ImportError: matplotlib is not installed; the text says how to get it.
    """
    new_figure_class()  # before the work rather than after it
    name = options.against
    try:
        other = reading_as(options, load(name)).in_precision(options.precision)
        if bool(other.preprocessing.frames) != bool(captioner.preprocessing.frames):
            kinds = [
                "clips" if own.preprocessing.frames else "photographs" for own in (captioner, other)
            ]
            raise ValueError(
                f"it sees {kinds[1]} and --model={options.model} {kinds[0]}; compare captioners "
                "that see the same"
            )
        other = with_crop(other, options.crop)
        decoding, max_len = chosen_decoding(options, other)
        reranker = Reranker.of(other, decoding, max_len, options.rerank, options.rerank_weight)
        need = functools.partial(caption_memory, other, decoding=decoding, max_len=max_len)
        if reranker is not None:
            need = functools.partial(reranker.memory, usable=usable)
        batch = fit(other, len(records), need)
    except ValueError as error:
        raise ValueError(f"--against={name}: {error}") from error
    names = short_names(options.model, name)
    return Rival(name, names, other, decoding, max_len, reranker, batch, options.gallery)


def short_names(model: str, against: str) -> tuple[str, str]:
    """The last parts of both names where these differ, else the names, else a word is added."""
    whole = [name.rstrip("/") for name in (model, against)]
    last = [name.rpartition("/")[2] for name in whole]
    for one, other in (last, whole):
        if one != other:
            return one, other
    return last[0], f"{last[1]} (against)"


def path_of(out: Path, name: str) -> Path:
    """Of a file of this part: `metrics.json` has `metrics.against.csv` beside it."""
    return out.with_name(f"{out.stem}.{name}")


def write_captions(rival: Rival, records: Sequence[Record]) -> list[Caption]:
    """The other captioner's captions of all images, with a progress bar."""
    return caption_records(
        rival.captioner,
        records,
        decoding=rival.decoding,
        max_len=rival.max_len,
        batch_size=rival.batch_size,
        reranker=rival.reranker,
    )


def pair_of(
    records: Sequence[Record],
    captions: Sequence[Caption],
    other: Sequence[Caption],
    names: tuple[str, str],
    similarity: CaptionSimilarity | None,
) -> Pair:
    """Both captions of each image that has references, scored.

    Args:
      records: images.
      captions, other: of each, by the two captioners.
      names: of these.
      similarity: over the records with references.
    """
    known = [number for number, record in enumerate(records) if record.captions]
    said = {
        name: [own[number].text for number in known]
        for name, own in zip(names, (captions, other), strict=True)
    }
    kept = [records[number] for number in known]
    keys, references = [own.key for own in kept], [own.captions for own in kept]
    return paired(keys, references, said, similarity=similarity)


def evaluate_against(pair: Pair, rival: Rival) -> tuple[dict[str, Any], str]:
    """Scores for `metrics.json`, and the text for the terminal."""
    scores = compare(pair)
    writing = describe(rival.decoding, rival.max_len)
    card = {
        "model_hash": rival.captioner.hash,
        "precision": rival.captioner.precision,
        "decoding": writing | (rival.reranker.describe() if rival.reranker else {}),
    }
    gallery = {
        one.heading: [pair.keys[number] for number in one.numbers]
        for one in pair.extremes(rival.gallery)
    }
    found = {"model": rival.model, "card": card, **scores, "gallery": gallery}
    return found, format_comparison(scores, rival.names)
