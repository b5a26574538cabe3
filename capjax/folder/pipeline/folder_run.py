"""Explains the images of a folder that lack results, batch by batch.

Three stages run side by side: threads read and prepare images ahead, the device captions and
explains batches (see `in_flight`), threads write maps, strips and thumbnails. Queues are bounded,
so memory does not grow with the folder.
"""

import concurrent.futures
import contextlib
import dataclasses
import functools
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

import tqdm

from capjax.api import pad_batch
from capjax.captioner import Captioner
from capjax.data.pictures.given import Picture
from capjax.data.stores.contract import Store
from capjax.decoding import Decoding
from capjax.explainers.batch import explain_steps
from capjax.explainers.choosing import Chosen, labels
from capjax.explainers.results import Explained
from capjax.folder.findings import lacking, study_files
from capjax.folder.fitting import images_at_once
from capjax.folder.outcome import tell
from capjax.folder.pipeline.in_flight import Done, InFlight
from capjax.folder.pipeline.stages import Stages
from capjax.folder.queries import Queries
from capjax.folder.reading import Queue, ahead, failed, read_image
from capjax.folder.records import Result
from capjax.folder.results import ResultFolder, State
from capjax.folder.writing import Loaded, Writer
from capjax.ops.devices import Steps, at_one_go
from capjax.runtime.files import counted, printable
from capjax.runtime.memory import Memory
from capjax.runtime.process import cores
from capjax.studies.contract import Study
from capjax.studies.doubt.asking import doubting
from capjax.studies.doubt.doubter import Kept
from capjax.studies.doubt.reasons import DOUBTED
from capjax.studies.doubt.reranking import Reranker
from capjax.train.profiling import Profiler

THREADS = max(2, min(16, cores()))
"""That read, and as many that write. Processes would not read faster: taking a picture from one
costs this process as much as threads keep Python's lock to read it (`benchmarks/readers.py`)."""
MOST_TRACED = 10
"""Steps, each of which begins a batch and ends another: a trace grows with them."""

Group = tuple[bool, tuple[Chosen, ...]]
"""Of images: nothing of them is there yet, and the methods that they lack."""


class _Work(NamedTuple):
    """What works on batches: threads that read and that write, and what traces."""

    readers: concurrent.futures.Executor
    writers: concurrent.futures.Executor
    profiler: Profiler


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
      stages: where the time of the thread goes that feeds the device.
      beside: where that of the reading and writing threads goes.
      exact: large JPEGs are decoded at their full size.
      trace: folder for a trace of some batches, by `jax.profiler`; None: no trace.
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
    stages: Stages = dataclasses.field(default_factory=Stages)
    beside: Stages = dataclasses.field(default_factory=Stages)
    exact: bool = False
    trace: pathlib.Path | None = None

    def explain(self, files: Sequence[str]) -> dict[str, State]:
        """Does what is missing; images that need the same methods go together.

        Returns:
          what each file was before.
        """
        with self.stages("compare"):
            groups, states = self.missing(files)
        total = sum(map(len, groups.values()))
        with self.stages("compile"):
            at_once = {
                (fresh, methods): self.at_once(group, methods, captioned=not fresh)
                for (fresh, methods), group in groups.items()
            }
        batches = sum(-(-len(group) // at_once[which]) for which, group in groups.items())
        profiler = Profiler(
            _traced(batches) if self.trace else "",
            self.trace or pathlib.Path(),
            say=tell,
            unit=("step", "steps"),
        )
        with (
            tqdm.tqdm(total=total, unit=self.captioner.noun, disable=not total) as progress,
            self._closed(profiler),
            concurrent.futures.ThreadPoolExecutor(THREADS) as readers,
            concurrent.futures.ThreadPoolExecutor(THREADS) as writers,
        ):
            work = _Work(readers, writers, profiler)
            for (fresh, methods), group in groups.items():
                size = at_once[fresh, methods]
                for result in self._results(group, methods, fresh, size, work):
                    with self.stages("write"):
                        self.folder.append(result)
                    progress.update()
        return states

    @contextlib.contextmanager
    def _closed(self, profiler: Profiler) -> Iterator[None]:
        try:
            yield
        finally:
            with self.stages("trace"):
                profiler.close()

    def missing(self, files: Sequence[str]) -> tuple[dict[Group, list[str]], dict[str, State]]:
        """Files that need the same methods, and what each file was before."""
        groups: dict[Group, list[str]] = {}
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
        return groups, states

    def at_once(
        self, files: Sequence[str], methods: Sequence[Chosen], *, captioned: bool = False
    ) -> int:
        """Images of a batch; what is asked about these files decides, none of which is read.

        Args:
          files: that need the methods.
          methods: that they need.
          captioned: captions are known from an earlier run.

        Raises:
          TooLargeError: so many, or not even one, do not fit into memory.
        """
        rerank = None if captioned or self.reranker is None else self.reranker.kept
        return images_at_once(
            self.captioner,
            self.batch_size,
            self.memory,
            queries=self.queries,
            files=files,
            methods=methods,
            decoding=self.decoding,
            max_len=self.max_len,
            captioned=captioned,
            tell=tell,
            kept=self.kept or rerank,
        )

    def study(self, files: Sequence[str]) -> None:
        """Makes the findings that are missing, study by study."""
        good = [file for file in files if not self.folder.lines[file].failed]
        for study in self.studies:
            missing = lacking(self.folder, good, study)
            with tqdm.tqdm(
                total=len(missing), desc=study.NAME, unit=self.captioner.noun, disable=not missing
            ) as progress:
                study_files(
                    *(self.folder, self.captioner, study, self.store, missing, progress.update),
                    exact=self.exact,
                )

    def _results(
        self,
        files: Sequence[str],
        methods: tuple[Chosen, ...],
        fresh: bool,
        at_once: int,
        work: _Work,
    ) -> Iterator[Result]:
        """The result of every file, once its maps and pictures are on disk."""
        written = Queue(at_once)
        steps = functools.partial(self._steps, methods=methods, fresh=fresh)
        turn = functools.partial(self._traced, work.profiler)
        flight = InFlight(at_once, steps, turn, self.tell_smaller)
        images = ahead(work.readers, self.read, files, Queue(2 * at_once))
        loading = self.stages.waiting("decode", images)

        def writing(done: Iterator[Done]) -> Iterator[Result]:
            for one, found in done:
                if found is None:
                    yield failed(self.store, one.file, self.too_large(one.file))
                    continue
                yield from self.stages.waiting("write", written.room_for(0))
                before = self.folder.earlier(one.file)
                task = work.writers.submit(self.write, one, found, before, keep=not fresh)
                written.append(task, 0)
            yield from self.stages.waiting("write", written.done())

        for number, (file, loaded) in enumerate(zip(files, loading, strict=True), start=1):
            if isinstance(loaded, Loaded):
                yield from writing(flight.take(loaded))
            else:
                yield failed(self.store, file, loaded)
            if number % at_once == 0:  # names make the batches, whichever can be read
                yield from writing(flight.begin())
        yield from writing(flight.rest())
        yield from self.stages.waiting("write", written.rest())

    def _steps(
        self, images: Sequence[Loaded], size: int, methods: tuple[Chosen, ...], fresh: bool
    ) -> Steps[list[list[Explained]]]:
        """`explain_steps` of images that were read."""
        pictures = {one.file: one.picture for one in images}
        before = [] if fresh else [self.folder.earlier(file) for file in pictures]
        return self.explain_steps(pictures, methods, size, before)

    def tell_smaller(self, size: int, smaller: int) -> None:
        """Says that batches have fewer images from now on."""
        noun = self.captioner.noun
        tell(
            f"the device has too little memory for {counted(size, noun)} at once; going on with "
            f"{counted(smaller, noun)} at once"
        )

    def too_large(self, file: str) -> str:
        """Why an image is not explained that does not fit into memory alone."""
        return (
            f"cannot explain {self.captioner.noun} {printable(file)}: the device has too little "
            "memory for it alone; ask for fewer methods or sentences at a time"
        )

    @contextlib.contextmanager
    def _traced(self, profiler: Profiler, number: int) -> Iterator[None]:
        """The context of what is done each time that a batch is begun, or awaited at the end."""
        with self.stages("trace"):
            traced = profiler.update(number, None)
        with traced:
            yield
        with self.stages("trace"):
            profiler.done(None)

    def read(self, file: str) -> Loaded | str:
        """An image, or why it cannot be read; any thread may."""
        with self.beside("decode"):
            return read_image(self.store, self.captioner.preprocessing, file, exact=self.exact)

    def write(
        self, loaded: Loaded, found: Sequence[Explained], before: Result | None, *, keep: bool
    ) -> Result:
        """Writes the files of an image, see `Writer.write`; any thread may."""
        with self.beside("write"):
            asked = self.queries.about(loaded.file)
            return self.writer.write(loaded, found, asked, before, keep=keep)

    def explain_steps(
        self,
        pictures: Mapping[str, Picture],
        methods: tuple[Chosen, ...],
        at_once: int,
        before: Sequence[Result | None] = (),
    ) -> Steps[list[list[Explained]]]:
        """What is found of some images, in the steps of `capjax.explainers.batch.explain_steps`.

        Args:
          pictures: the images by name, at most `at_once`.
          methods: that explain.
          at_once: images of a full batch.
          before: their results, where the words are explained that were explained then.
        """
        with self.stages("encode"):
            asked = [self.queries.sentences(self.captioner, file) for file in pictures]
            captions = [result.as_caption(self.captioner.text) for result in before if result]
            images = pad_batch([picture.prepared for picture in pictures.values()], at_once)
            if self.reranker is not None and not captions:
                captions = self.reranker.captions(images, len(pictures))
        found = yield from explain_steps(
            self.captioner,
            images,
            [picture.original for picture in pictures.values()],
            methods=methods,
            decoding=self.decoding,
            max_len=self.max_len,
            queries=asked if any(asked) else None,
            captions=captions or None,
            questions=self.queries.questions,
            language=self.queries.language,
            doubting=doubting(self.captioner, self.kept, max_len=self.max_len),
            stage=self.stages,
        )
        return found

    explain_batch = at_one_go(explain_steps)
    """`explain_steps` at one go."""


def _traced(batches: int) -> str:
    """Which steps of `InFlight` are traced: where there are several batches, not those of the
    first, which compile."""
    return "0:3" if batches == 1 else f"2:{min(MOST_TRACED, max(1, batches))}"
