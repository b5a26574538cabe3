"""What `python -m capjax.audit` does, once its options are parsed."""

import argparse
import dataclasses

from capjax.audit.boxed import Boxed
from capjax.audit.contract import Question
from capjax.audit.metadata import Groups, StoredColumns, read_groups
from capjax.audit.options import FORMATS
from capjax.audit.passes import ask
from capjax.audit.questions.against import Against
from capjax.audit.questions.doubts import Doubts
from capjax.audit.questions.duplicates import Duplicates
from capjax.audit.questions.emptiness import Emptiness
from capjax.audit.questions.looking import Looking
from capjax.audit.questions.mean_maps import MeanMaps
from capjax.audit.questions.methods import Methods
from capjax.audit.questions.objects import Objects
from capjax.audit.questions.pointing import Pointing
from capjax.audit.questions.search import Search, queries_of
from capjax.audit.questions.slices import Slices
from capjax.audit.questions.twins import Twins
from capjax.audit.vocabulary import Vocabulary
from capjax.audit.writing import INDEX, write_audit
from capjax.data.function_words import read_function_words
from capjax.data.mirrors.mirror import here
from capjax.folder.maps.arrow import import_pyarrow
from capjax.folder.opened.results import Results, open_results
from capjax.folder.results import RUN
from capjax.runtime import locks
from capjax.runtime.files import check_writable, local_path, without_places
from capjax.runtime.version import code_version


@dataclasses.dataclass(frozen=True)
class Given:
    """What was given beside the results.

    Attributes:
      boxed: where objects are; None where nobody says.
      other: run to compare with; None of none.
      queries: to rank images by.
      groups: of images.
      notes: on images without a group.
    """

    boxed: Boxed | None
    other: Results | None
    queries: tuple[str, ...]
    groups: tuple[Groups, ...]
    notes: tuple[str, ...]

    @classmethod
    def of(cls, options: argparse.Namespace, results: Results) -> "Given":
        """Reads what the options name."""
        if options.metadata and not options.by:
            raise ValueError(f"--metadata={options.metadata} groups nothing: add --by=COLUMN")
        files = results.files
        boxed = Boxed(options.boxes, files) if options.boxes else None
        other = None
        if options.against:
            other = open_results(here(options.against, "--against"))
        groups, notes = list[Groups](), list[str]()
        if options.metadata:
            groups, notes = read_groups(options.metadata, _columns(options), files)
        queries = queries_of(results.run, options.query)
        return cls(boxed, other, queries, tuple(groups), tuple(notes))


def audit(options: argparse.Namespace) -> str:
    """Audits a folder and writes the answers; returns what was found, for people.

    Raises:
      ValueError, FileNotFoundError: wrong usage; nothing was written.
      ImportError: Parquet was asked for without pyarrow.
      OSError: `--out` cannot be written to the end.
    """
    formats = FORMATS[options.tables]
    if "parquet" in formats:
        try:
            import_pyarrow()
        except ImportError as error:
            raise ImportError(f"{error}; or give --tables=csv") from error
    out = local_path(options.out, "--out")
    if (out / RUN).exists():
        raise ValueError(
            f"--out={out} holds the results of a run, whose report an audit would replace; choose "
            "another folder"
        )
    results = open_results(here(options.results, "--results"))
    if not len(results):
        raise ValueError(f"{results.folder} holds no image yet; run explain.py first")
    function = read_function_words(options.function_words)
    given = Given.of(options, results)
    check_writable(out, "--out", folder=True)
    with locks.held(out / locks.FILE, break_lock=options.break_lock):
        stored = StoredColumns(() if options.metadata else _columns(options))
        images = stored.watching(results)
        words = Vocabulary.of(images, function, least=options.least, most=options.most_words)
        if not options.metadata:
            groups, notes = stored.groups()
            given = dataclasses.replace(given, groups=tuple(groups), notes=tuple(notes))
        questions = _questions(options, results, words, given)
        passed = ask(results, questions)
        answers = [(question, question.result()) for question in questions]
        asked = {
            name: value
            for name, value in vars(options).items()
            if name not in ("out", "break_lock") and not name.startswith("_")
        }
        version = code_version()
        write_audit(
            out,
            results,
            answers,
            facts={
                "images": f"{passed.explained:,}",
                "model": f"{results.run.get('model')} ({str(results.run['model_hash'])[:12]})",
                "methods": ", ".join(results.methods),
                "words asked about": f"{len(words.counts):,}",
                "capjax": version,
            },
            notes=passed.notes,
            formats=formats,
            described={
                "options": without_places(asked),
                "model_hash": results.run["model_hash"],
                "images": passed.explained,
                "code_version": version,
            },
        )
    told = [*passed.notes]
    for question, answer in answers:
        told += [question.TITLE, *(f"  {own}" for own in (*answer.found, *answer.missing))]
    return "\n".join([*told, f"written: {out / INDEX}"])


def _columns(options: argparse.Namespace) -> list[str]:
    return [name.strip() for name in (options.by or "").split(",") if name.strip()]


def _questions(
    options: argparse.Namespace, results: Results, words: Vocabulary, given: Given
) -> list[Question]:
    shown = {"least": options.least, "examples": options.examples}
    means = MeanMaps(words, least=options.least)
    questions: list[Question] = [
        Looking(words, **shown),
        Pointing(given.boxed, **shown),
        Doubts(**shown),
        Emptiness(words, **shown),
        means,
        Twins(means, **shown),
        *([Methods()] if len(results.methods) > 1 else []),
        Duplicates(results, words.function, examples=options.examples),
        Objects(**shown),
    ]
    if given.other is not None:
        questions.append(Against(given.other, words, **shown))
    if given.queries:
        questions.append(Search(given.queries, results.methods, examples=options.examples))
    if given.groups:
        questions.append(Slices(given.groups, given.boxed, words, notes=given.notes, **shown))
    return questions
