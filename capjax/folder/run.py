"""Explains every image of a folder: the command behind `explain.py`."""

import argparse
import contextlib
import pathlib
import tempfile
import time
from collections.abc import Mapping, Sequence

import jax

from capjax.api import load
from capjax.data.mirrors.mirror import Mirror, mirrored
from capjax.data.pictures.clips import import_pyav
from capjax.data.sources.references import read_references
from capjax.decoding.options import chosen_decoding, reading_as
from capjax.explainers.contract import Method
from capjax.explainers.options import chosen_methods
from capjax.folder.boxes import Boxes
from capjax.folder.engines.hosts import explain_by_hosts, sweep
from capjax.folder.engines.options import (
    ENGINE,
    HOSTS,
    ClusterError,
    RayOptions,
    chosen_engine,
)
from capjax.folder.options import (
    chosen_queries,
    chosen_questions,
    chosen_studies,
    describe_run,
    figure_files,
    make_parser,
    strip_files,
)
from capjax.folder.outcome import tell, tell_outcome
from capjax.folder.pipeline.folder_run import FolderRun
from capjax.folder.queries import lacking_words
from capjax.folder.reading import open_images
from capjax.folder.report import write_report
from capjax.folder.results import EXACT, SCALED, ResultFolder, State
from capjax.folder.speed.estimate import estimate
from capjax.folder.speed.profile import profile_table
from capjax.folder.speed.warming import warm_up
from capjax.folder.writing import Writer
from capjax.runtime.distributed import Place, join, leave, together
from capjax.runtime.files import (
    check_writable,
    counted,
    is_address,
    local_path,
    printable,
    stopped_by_disk,
)
from capjax.runtime.lost_process import loss
from capjax.runtime.memory import TooLargeError, device_memory
from capjax.studies.contract import Study
from capjax.studies.doubt.options import chosen_doubt
from capjax.studies.doubt.reranking import Reranker

STOPPED, WRONG_USAGE = 1, 2


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
    code = _run(options, methods, studies)
    joined = options.engine == HOSTS and jax.distributed.is_initialized()
    if joined and code in (STOPPED, WRONG_USAGE):
        leave(code)
    return code


def _run(options: argparse.Namespace, methods: Sequence[Method], studies: Sequence[Study]) -> int:
    """The exit code, see `main`."""
    with contextlib.ExitStack() as held:
        try:
            cluster = chosen_engine(options)
            if isinstance(cluster, Place) and is_address(options.out):
                raise ValueError(
                    f"--out={options.out} is an address, and processes of {ENGINE}={HOSTS} meet in "
                    "--out: give a folder that all of them see"
                )
            if isinstance(cluster, RayOptions):  # accelerators are the workers'
                jax.config.update("jax_platforms", "cpu")
            if isinstance(cluster, Place):
                join(cluster, option=f"{ENGINE}={HOSTS}")
            chosen, options.set = chosen_studies(options, studies)
            if options.estimate is not None or options.warm_up:
                return _try(options, methods, chosen)
            mirror = None
            if is_address(options.out):
                mirror = held.enter_context(mirrored(options.out, break_lock=options.break_lock))
                options.out = str(mirror.folder)
            scratch = None
            beginning: contextlib.AbstractContextManager[None] = contextlib.nullcontext()
            if isinstance(cluster, Place):
                beginning = together("begin")
                if jax.process_index():  # the first one has --out
                    own = tempfile.TemporaryDirectory(prefix="capjax-host-")
                    scratch = pathlib.Path(held.enter_context(own))
            with beginning:
                run, files, references = _prepare(options, methods, chosen, scratch)
        except (ValueError, OSError, ImportError) as error:
            tell(_lost(error) or f"{error}")
            return WRONG_USAGE
        if remark := run.queries.remark:
            tell(remark)
        held.enter_context(run.folder)
        try:
            return _explain_all(run, files, references, cluster, options, mirror)
        except (ValueError, OSError, RuntimeError) as error:
            if reason := _lost(error):
                tell(reason)
                return STOPPED
            if isinstance(error, (TooLargeError, ClusterError)):
                tell(f"{error}")
                return WRONG_USAGE
            reason = stopped_by_disk(error)
            if reason is None:
                raise
            tell(reason)
            return STOPPED


def _lost(error: BaseException) -> str | None:
    """What to say of an error that comes from a lost process."""
    return loss(error) if jax.distributed.is_initialized() else None


def _try(options: argparse.Namespace, own: Sequence[Method], studies: Mapping[str, Study]) -> int:
    """Does what --estimate or --warm-up asks for, without a folder that stays."""
    figures = local_path(options.estimate, "--estimate") if options.estimate else None
    if figures is not None:
        check_writable(figures, "--estimate", folder=False)
    with tempfile.TemporaryDirectory(prefix="capjax-trial-") as scratch:
        run, files, _ = _prepare(options, own, studies, pathlib.Path(scratch))
        with run.folder:
            if options.estimate is not None:
                found = estimate(run, files)
                if figures is not None:
                    found.save(figures)
                print(found.describe(run.captioner.noun))
                return 0
            began = time.perf_counter()
            warm_up(run, files)
            spent = time.perf_counter() - began
    kept = jax.config.values["jax_compilation_cache_dir"]
    where = f"kept in {printable(kept)}" if kept else "kept by this process alone"
    print(f"programs ready in {spent:.1f} s, {where}")
    return 0


def _prepare(
    options: argparse.Namespace,
    own: Sequence[Method],
    studies: Mapping[str, Study],
    scratch: pathlib.Path | None = None,
) -> tuple[FolderRun, list[str], Mapping[str, Sequence[str]]]:
    """The run, the files to explain, and what people said about them; the folder last of all.

    Args:
      options: of the command line.
      own: methods of the caller's.
      studies: by name.
      scratch: folder to write to in place of --out.
    """
    out = local_path(options.out, "--out")
    check_writable(out, "--out", folder=True)
    trace = local_path(options.profile, "--profile") if options.profile else None
    if trace is not None:
        check_writable(trace, "--profile", folder=True)
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
        if options.decode != SCALED:
            raise ValueError("--decode is of JPEGs, and clips are always exact: leave it out")
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
    folder = ResultFolder(scratch or out, described, break_lock=options.break_lock)
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
        exact=options.decode == EXACT,
        trace=trace,
    )
    return run, files, references


def _explain_all(
    run: FolderRun,
    files: Sequence[str],
    references: Mapping[str, Sequence[str]],
    cluster: RayOptions | Place | None,
    options: argparse.Namespace,
    mirror: Mirror | None,
) -> int:
    """Explains what is missing, writes the report and says what came of it."""
    folder = run.folder
    sweep(folder.path)
    began = time.perf_counter()
    if isinstance(cluster, Place):
        out = local_path(options.out, "--out")
        states = explain_by_hosts(run, files, out, vars(options), options.memory)
        if states is None:  # the first process speaks for all
            return 0
    else:
        states = run.explain(files) if cluster is None else _by_ray(run, files, cluster)
    spent = time.perf_counter() - began
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
    report = printable(index)
    if mirror is not None:
        mirror.finish()
        report = mirror.at(index)
    code = tell_outcome(folder, files, states, report, notes, run.captioner.noun)
    sweep(folder.path)
    if run.trace is not None:
        explained = counted(len(files), run.captioner.noun)
        print(profile_table(run.stages.seconds, run.beside.seconds, spent, explained))
    return code


def _by_ray(run: FolderRun, files: Sequence[str], cluster: RayOptions) -> dict[str, State]:
    """`FolderRun.explain` on a cluster; Ray is imported now."""
    from capjax.folder.engines.ray_data import explain_by_ray

    return explain_by_ray(run, files, cluster)
