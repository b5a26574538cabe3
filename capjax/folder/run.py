"""Explains every image of a folder: the command behind `explain.py`.

Three stages run side by side: threads read and prepare images ahead, the device captions and
explains batches, threads write maps, strips and thumbnails. Queues are bounded, so memory does not
grow with the folder.
"""

import argparse
import concurrent.futures
import dataclasses
import functools
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import tqdm

from capjax.api import load, pad_batch
from capjax.captioner import Captioner
from capjax.data.pictures.clips import import_pyav
from capjax.data.sources.references import read_references
from capjax.data.stores.contract import Store
from capjax.decoding import Decoding
from capjax.decoding.options import chosen_decoding, reading_as
from capjax.explainers.batch import Explained, explain_batch
from capjax.explainers.choosing import Chosen, labels
from capjax.explainers.contract import Method
from capjax.explainers.options import chosen_methods
from capjax.folder.boxes import Boxes
from capjax.folder.findings import lacking, study_files
from capjax.folder.fitting import images_at_once
from capjax.folder.options import (
    chosen_queries,
    chosen_questions,
    chosen_studies,
    describe_run,
    figure_files,
    make_parser,
    strip_files,
)
from capjax.folder.outcome import tell_outcome
from capjax.folder.queries import Queries, lacking_words
from capjax.folder.reading import Queue, ahead, failed, open_images, read_image
from capjax.folder.records import Result
from capjax.folder.report import write_report
from capjax.folder.results import ResultFolder, State
from capjax.folder.writing import Loaded, Writer
from capjax.runtime.files import check_writable, local_path, printable, stopped_by_disk
from capjax.runtime.memory import Memory, TooLargeError, device_memory
from capjax.studies.contract import Study
from capjax.studies.doubt.asking import doubting
from capjax.studies.doubt.doubter import Kept
from capjax.studies.doubt.options import chosen_doubt
from capjax.studies.doubt.reasons import DOUBTED
from capjax.studies.doubt.reranking import Reranker

STOPPED, WRONG_USAGE = 1, 2
THREADS = 2


def main(
    arguments: Sequence[str] | None = None,
    *,
    methods: Sequence[Method] = (),
    studies: Sequence[Study] = (),
) -> int:
    """Runs the command.

    Args:
      arguments: of the command line; default: those of the process.
      methods: of your own, beside those of --methods.
      studies: of your own, beside those of --studies.

    Returns:
      the exit code: 0, 3 when an image failed, 2 for wrong usage, 1 when results could not be
      written.
    """
    options = make_parser().parse_args(arguments)
    try:
        chosen, options.set = chosen_studies(options, studies)
        run, files, references = _prepare(options, methods, chosen)
    except (ValueError, OSError, ImportError) as error:
        _tell(f"{error}")
        return WRONG_USAGE
    if remark := run.queries.remark:
        _tell(remark)
    with run.folder:
        try:
            return _explain_all(run, files, references)
        except TooLargeError as error:
            _tell(f"{error}")
            return WRONG_USAGE
        except (OSError, RuntimeError) as error:
            reason = stopped_by_disk(error)
            if reason is None:
                raise
            _tell(reason)
            return STOPPED


def _prepare(
    options: argparse.Namespace, own: Sequence[Method], studies: Mapping[str, Study]
) -> tuple["FolderRun", list[str], Mapping[str, Sequence[str]]]:
    """The run, the files to explain, and what people said about them; the folder last of all."""
    out = local_path(options.out, "--out")
    check_writable(out, "--out", folder=True)
    saved = load(options.model)
    captioner = reading_as(options, saved).in_precision(options.precision)
    left_out: list[str] = []
    for study in studies.values():
        study.check(captioner)
        left_out += study.left_out(captioner)
    questions = chosen_questions(options, captioner)
    methods = chosen_methods(options, captioner, own, contrasts=bool(questions.contrasts))
    overlays, figures = strip_files(options), figure_files(options, studies)
    clips = captioner.preprocessing.frames > 0
    if clips:
        import_pyav()
        if options.boxes:
            raise ValueError("--boxes are of photographs, and this captioner sees clips")
    store = open_images(options, out, clips, left_out.append)
    files = list(store.names)
    references = store.captions
    if options.captions:
        references = read_references(options.captions, store.root, files, tell=left_out.append)
    queries = chosen_queries(options, captioner, references, files, questions, left_out.append)
    files = [file for file in files if queries.covers(file)]
    boxes = None
    if options.boxes and figures is not None:
        boxes = Boxes.read(options.boxes, store, files, left_out.append)
    decoding, max_len = chosen_decoding(options, captioner)
    rerank = options.rerank, options.rerank_weight
    reranker = Reranker.of(captioner, decoding, max_len, *rerank)
    kept = chosen_doubt(options, captioner, left_out.append)
    described = describe_run(
        options, saved, captioner, queries, decoding, max_len, reranker, methods, studies, kept
    )
    folder = ResultFolder(out, described, break_lock=options.break_lock)
    cells = None if options.dense else captioner.grid
    beside = queries.language.linguistic, kept is not None
    run = FolderRun(
        captioner,
        folder,
        store,
        methods,
        decoding,
        max_len,
        queries,
        options.batch_size,
        device_memory(options.memory),
        Writer(folder, overlays, figures, boxes, cells, *beside),
        tuple(left_out),
        tuple(studies.values()),
        kept,
        options.doubt_threshold,
        reranker,
    )
    return run, files, references


def _explain_all(
    run: "FolderRun", files: Sequence[str], references: Mapping[str, Sequence[str]]
) -> int:
    """Explains what is missing, writes the report and says what came of it."""
    folder = run.folder
    states = run.explain(files)
    run.study(files)
    folder.finish()
    notes = [*run.left_out, *lacking_words(folder.results(files))]
    index = write_report(
        folder,
        files,
        references=references,
        title=f"What the captioner looked at: {printable(run.store.root.resolve().name)}",
        noun=run.captioner.noun,
        notes=notes,
        studies=run.studies,
        doubtful=run.doubtful,
    )
    return tell_outcome(folder, files, states, index, notes, run.captioner.noun)


@dataclasses.dataclass(frozen=True)
class FolderRun:
    """One run of the command over a folder.

    Attributes:
      captioner, methods: the model, and what explains it.
      folder: where results go, opened for this model, query and decoding.
      store: holds the images.
      decoding, max_len: how captions are written.
      queries: what is asked about each image.
      batch_size: images explained at once, of which a clip counts as its frames, or "auto".
      memory: of each device.
      writer: of the files of each image.
      left_out: sentences on what the search for files left out.
      studies: to run after the explanations.
      kept: what was fitted of when to doubt captions, where that is asked for.
      doubtful: probability from which the report marks a word.
      reranker: chooses among the candidates of the search.
    """

    captioner: Captioner
    folder: ResultFolder
    store: Store
    methods: tuple[Chosen, ...]
    decoding: Decoding
    max_len: int
    queries: Queries
    batch_size: int | Literal["auto"]
    memory: Memory
    writer: Writer
    left_out: tuple[str, ...] = ()
    studies: tuple[Study, ...] = ()
    kept: Kept | None = None
    doubtful: float = DOUBTED
    reranker: Reranker | None = None

    def explain(self, files: Sequence[str]) -> dict[str, State]:
        """Does what is missing; images that need the same methods go together.

        Returns:
          what each file was before.
        """
        groups: dict[tuple[bool, tuple[Chosen, ...]], list[str]] = {}
        states: dict[str, State] = {}
        for file in tqdm.tqdm(
            files, desc="compared", unit=self.captioner.noun, delay=2.0, leave=False
        ):
            asked = self.queries.about(file)
            states[file] = self.folder.state(file, self.store, asked)
            fresh = states[file] != "done"
            missing = self.methods
            if not fresh:
                lacking = self.writer.lacking(file, [*labels(self.methods)])
                missing = tuple(
                    one for one in self.methods if not set(lacking).isdisjoint(labels([one]))
                )
            if missing:
                groups.setdefault((fresh, missing), []).append(file)
        total = sum(map(len, groups.values()))
        at_once = {
            (fresh, methods): images_at_once(
                self.captioner,
                self.batch_size,
                self.memory,
                queries=self.queries,
                files=group,
                methods=methods,
                decoding=self.decoding,
                max_len=self.max_len,
                captioned=not fresh,
                tell=_tell,
                kept=self.kept or (self.reranker.kept if fresh and self.reranker else None),
            )
            for (fresh, methods), group in groups.items()
        }
        with (
            tqdm.tqdm(total=total, unit=self.captioner.noun, disable=not total) as progress,
            concurrent.futures.ThreadPoolExecutor(THREADS) as readers,
            concurrent.futures.ThreadPoolExecutor(THREADS) as writers,
        ):
            for (fresh, methods), group in groups.items():
                size = at_once[fresh, methods]
                for result in self._results(group, methods, fresh, size, readers, writers):
                    self.folder.append(result)
                    progress.update()
        return states

    def study(self, files: Sequence[str]) -> None:
        """Makes the findings that are missing, study by study."""
        good = [file for file in files if not self.folder.lines[file].failed]
        for study in self.studies:
            missing = lacking(self.folder, good, study)
            with tqdm.tqdm(
                total=len(missing), desc=study.NAME, unit=self.captioner.noun, disable=not missing
            ) as progress:
                study_files(
                    self.folder, self.captioner, study, self.store, missing, progress.update
                )

    def _results(
        self,
        files: Sequence[str],
        methods: tuple[Chosen, ...],
        fresh: bool,
        at_once: int,
        readers: concurrent.futures.Executor,
        writers: concurrent.futures.Executor,
    ) -> Iterator[Result]:
        """The result of every file, once its maps and pictures are on disk."""
        written = Queue(at_once)
        batch: list[Loaded] = []
        read = functools.partial(read_image, self.store, self.captioner.preprocessing)
        loading = ahead(readers, read, files, Queue(2 * at_once))
        for position, (file, loaded) in enumerate(zip(files, loading, strict=True), start=1):
            if isinstance(loaded, Loaded):
                batch.append(loaded)
            else:
                yield failed(self.store, file, loaded)
            if batch and (len(batch) == at_once or position == len(files)):
                before = [self.folder.earlier(one.file) for one in batch]
                explained = self._explain(batch, methods, at_once, [] if fresh else before)
                for one, found, old in zip(batch, explained, before, strict=True):
                    about, write = self.queries.about(one.file), self.writer.write
                    yield from written.room_for(0)
                    writing = writers.submit(write, one, found, about, old, keep=not fresh)
                    written.append(writing, 0)
                batch = []
            yield from written.done()
        yield from written.rest()

    def _explain(
        self,
        batch: Sequence[Loaded],
        methods: tuple[Chosen, ...],
        at_once: int,
        before: Sequence[Result | None],
    ) -> list[list[Explained]]:
        asked = [self.queries.sentences(self.captioner, loaded.file) for loaded in batch]
        # A new method explains the words that were explained.
        captions = [result.as_caption(self.captioner.text) for result in before if result]
        images = pad_batch([loaded.picture.prepared for loaded in batch], at_once)
        if self.reranker is not None and not captions:
            captions = self.reranker.captions(images, len(batch))
        return explain_batch(
            self.captioner,
            images,
            [loaded.picture.original for loaded in batch],
            methods=methods,
            decoding=self.decoding,
            max_len=self.max_len,
            queries=asked if any(asked) else None,
            captions=captions or None,
            questions=self.queries.questions,
            language=self.queries.language,
            doubting=doubting(self.captioner, self.kept, max_len=self.max_len),
        )


def _tell(sentence: str) -> None:
    print(f"explain.py: {sentence}", file=sys.stderr)
