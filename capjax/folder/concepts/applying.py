"""`concepts apply`: saved concepts over new images, by the command that explains a folder."""

import argparse

from capjax.api import load
from capjax.explainers.contract import Method
from capjax.folder import run
from capjax.runtime.files import local_path
from capjax.studies.concepts import ConceptMaps, ConceptSet


def apply(options: argparse.Namespace) -> int:
    """Explains images by the concepts; returns the exit code of `capjax.folder.run.main`.

    Raises:
      ValueError, OSError: wrong usage.
    """
    concepts = [ConceptSet.read(local_path(name, "--concepts")) for name in options.concepts]
    captioner = load(options.model)
    methods: list[Method] = [
        ConceptMaps.of(captioner, concepts, number=number, masked=options.masked)
        for number in _numbers(concepts)
    ]
    arguments = [f"--model={options.model}", f"--out={options.out}", "--methods="]
    arguments += ["--no-visual-information", f"--batch-size={options.batch_size}"]
    if not options.own_captions:
        query = options.query or " ".join(one.word for one in concepts)
        arguments.append(f"--query={query}")
    if options.break_lock:
        arguments.append("--break-lock")
    return run.main([*arguments, "--images", *options.images], methods=methods)


def _numbers(concepts: list[ConceptSet]) -> list[int]:
    """All of a word's concepts together and, of a single word, each of them too."""
    return [0, *range(1, len(concepts[0].kept) + 1)] if len(concepts) == 1 else [0]
