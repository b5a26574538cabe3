"""`concepts fit`: the concepts of words, each as one file and one sheet; `concepts sheet`."""

import argparse
import dataclasses
import functools
import hashlib
import json
import sys
import urllib.parse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from capjax.api import load
from capjax.captioner import Captioner
from capjax.data.pictures.finding import find_images
from capjax.data.pictures.given import prepared
from capjax.data.pictures.images import UnreadableFileError
from capjax.data.sources.references import read_references
from capjax.explainers.targets import Questions
from capjax.explainers.wording import Wording
from capjax.folder.concepts.sentences import FILE, by_people, divided, predicted
from capjax.runtime import locks
from capjax.runtime.files import check_writable, counted, listed, local_path, printable, replacing
from capjax.studies.concepts import ConceptSet, ConceptSettings, fit_concepts
from capjax.studies.concepts.activations import checked_net
from capjax.studies.concepts.concept import OtherFormatError
from capjax.studies.concepts.extras import require
from capjax.studies.concepts.random_patches import RandomPatches
from capjax.types import Preprocessing
from capjax.viz.concepts.sheet import concept_sheet

SUFFIX = ".safetensors"
SOME_FAILED = 3


def fit(options: argparse.Namespace) -> int:
    """Fits every word that is not done; returns 0, or 3 where a word could not be fitted.

    Raises:
      ValueError, OSError: wrong usage.
    """
    require()
    out = local_path(options.out, "--out")
    check_writable(out, "--out", folder=True)
    settings = ConceptSettings(
        **{
            field.name: getattr(options, field.name)
            for field in dataclasses.fields(ConceptSettings)
        }
    )
    captioner = load(options.model)
    checked_net(captioner, settings.stage)
    words = list(dict.fromkeys(word for word in options.words.split(",") if word))
    Questions.of(captioner.text, keywords=words)  # words that it does not know are refused at once
    root, files = find_images(options.images, exclude=out, tell=tell)
    failed = False
    with locks.held(out / locks.FILE, break_lock=options.break_lock):
        if options.captions:
            references = read_references(options.captions, root, files, tell=tell)
            sentences, remarks = by_people(captioner, references)
        else:
            sentences, remarks = predicted(
                captioner, root, files, out / FILE, at_once=options.batch_size
            )
        for remark in remarks:
            tell(remark)
        broken: dict[str, None] = {}

        def read(file: str) -> np.ndarray:
            try:
                return _picture(root, captioner.preprocessing, file)
            except UnreadableFileError:
                broken[file] = None
                raise

        random = RandomPatches(captioner, read, settings, options.batch_size)
        for word in words:
            try:
                _fit_word(captioner, word, sentences, random, root, out, options)
            except ValueError as error:
                failed = True
                tell(f"{word}: {error}")
        if broken:
            tell(
                f"{counted(len(broken), 'picture')} cannot be read and did not count: "
                f"{listed([*broken])}"
            )
    return SOME_FAILED if failed else 0


def _fit_word(
    captioner: Captioner,
    word: str,
    sentences: Mapping[str, Sequence[Wording]],
    random: RandomPatches,
    root: Path,
    out: Path,
    options: argparse.Namespace,
) -> None:
    path = out / (urllib.parse.quote(word, safe="") + SUFFIX)
    saying, others = divided(captioner, word, sentences)
    made_from = {
        "model": captioner.hash,
        "sentences": "people" if options.captions else "predicted",
        "saying": _digest([[file, own.tokens] for file, own in sorted(saying.items())]),
        "others": _digest(sorted(others)),
        "settings": dataclasses.asdict(random.settings),
        "preprocessing": dataclasses.asdict(captioner.preprocessing),
    }
    made_from = json.loads(json.dumps(made_from))
    concepts = None
    if path.exists():
        try:
            concepts = ConceptSet.read(path)
        except OtherFormatError:
            tell(f"{word}: another version of capjax fitted {printable(path)}; it is fitted anew")
    if concepts is None or concepts.made_from != made_from:
        concepts = fit_concepts(
            *(captioner, word, saying, others, random.load, random.settings),
            random=random,
            at_once=options.batch_size,
            made_from=made_from,
        )
        concepts.save(path)
    write_sheet(concepts, root, path.with_suffix(".png"))
    kept = ", ".join(f"{one.tcav:.2f}" for one in concepts.kept)
    tell(
        f"{word}: said of {len(saying)} pictures; {len(concepts.kept)} of "
        f"{len(concepts.concepts)} concepts are significant{f', TCAV {kept}' if kept else ''}; "
        f"written: {path}, {path.with_suffix('.png').name}"
    )
    if concepts.least > concepts.significance:
        tell(
            f"{word}: one of {len(concepts.concepts)} concepts alone cannot be significant with "
            f"{len(concepts.random)} random ones, for its p is {concepts.least:.2g} or more; give "
            "more --random-concepts"
        )


def sheet(options: argparse.Namespace) -> int:
    """Draws the sheets of files again; returns 0."""
    out = local_path(options.out, "--out")
    check_writable(out, "--out", folder=True)
    root = local_path(options.images, "--images")
    for name in options.concepts:
        path = local_path(name, "--concepts")
        write_sheet(ConceptSet.read(path), root, out / f"{path.stem}.png")
        tell(f"written: {out / f'{path.stem}.png'}")
    return 0


def write_sheet(concepts: ConceptSet, root: Path, path: Path) -> None:
    """Writes a sheet; the pictures of its patches lie below `root`."""
    preprocessing = Preprocessing(**concepts.made_from["preprocessing"])
    drawn = concept_sheet(concepts, functools.partial(_picture, root, preprocessing))
    with replacing(path) as stream:
        drawn.save(stream, "PNG")


def _picture(root: Path, preprocessing: Preprocessing, file: str) -> np.ndarray:
    return prepared(root / file, preprocessing)[0]


def tell(text: str) -> None:
    """Writes a line for people to standard error."""
    sys.stderr.write(f"concepts: {text}\n")


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()
