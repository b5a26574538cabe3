"""Explains every image of a folder: the command behind `explain.py`.

Three stages run side by side: threads read and prepare images ahead, the device captions and
explains batches, threads write maps, strips and thumbnails. Queues are bounded, so memory does not
grow with the folder.
"""

import argparse
import collections
import concurrent.futures
import dataclasses
import pathlib
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, get_args

import numpy as np
import tqdm

from capjax.api import MAX_TOKENS, load, pad_batch
from capjax.captioner import Captioner
from capjax.data.images import UnreadableFileError, load_prepared
from capjax.decoding import Beam
from capjax.explain import METHODS
from capjax.explain_batch import Explained, check_methods, explain_batch
from capjax.explain_report import read_references, write_report
from capjax.files import replacing
from capjax.image_files import find_images
from capjax.result_folder import ResultFolder
from capjax.sentence import Sentence, Unknown
from capjax.types import Caption, Preprocessing
from capjax.version import code_version
from capjax.viz.report import THUMBNAIL_SIDE, thumbnail
from capjax.viz.strips import word_strip

SOME_FAILED = 3
WRONG_USAGE = 2
THREADS = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code: 0, 3 when an image failed, 2 for wrong usage."""
    options = _parser().parse_args(arguments)
    try:
        captioner = load(options.model).in_precision(options.precision)
        methods = check_methods(captioner, [name for name in options.methods.split(",") if name])
        query = _query(options, captioner)
        root, files = find_images(options.images, exclude=pathlib.Path(options.out))
        references = read_references(options.captions, files) if options.captions else {}
        decoding = Beam(width=options.beam, length_penalty=options.length_penalty)
        folder = ResultFolder(options.out, _run(options, captioner))
    except (ValueError, OSError) as error:
        print(f"explain.py: {error}", file=sys.stderr)
        return WRONG_USAGE
    run = FolderRun(
        captioner,
        folder,
        root,
        methods,
        decoding,
        options.max_length,
        query,
        options.query,
        options.batch_size,
        options.overlays,
    )
    run.explain(files)
    folder.close()
    failures = [(file, folder.read(file)["error"]) for file in files if folder.lines[file].failed]
    title = f"What the captioner looked at: {root.resolve().name}"
    index = write_report(folder, files, references=references, title=title)
    print(f"{len(files) - len(failures)} images explained; report: {index}")
    for file, reason in failures:
        print(f"failed: {file}: {reason}", file=sys.stderr)
    if failures:
        print(f"{len(failures)} of {len(files)} images could not be read", file=sys.stderr)
    return SOME_FAILED if failures else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="explain.py",
        description="Captions images and shows, for every word, where it comes from.",
        epilog="exit codes: 0 all explained; 2 wrong usage, or --out holds another run; "
        "3 some images could not be read",
    )
    add = parser.add_argument
    add("--model", required=True, help="a training workdir, a saved model, or a shipped name")
    add("--images", required=True, nargs="+", help="a folder, files, or quoted patterns")
    add("--out", required=True, help="folder of the results; continued when it exists")
    add("--methods", default="attention", help=f"comma-separated, of: {', '.join(METHODS)}")
    add(
        "--query",
        help="explain this sentence for every image, not each image's caption; "
        "[brackets] mark phrases that are explained as one",
    )
    add(
        "--unknown-words",
        choices=get_args(Unknown),
        default="token",
        help="how the captioner reads words of the query that it does not know: "
        "as its unknown token (default), or not at all",
    )
    add(
        "--precision",
        choices=("float32", "bfloat16"),
        default="float32",
        help="of the decoder's matrix products; sums and maps stay float32",
    )
    add("--captions", help="captions by people (COCO or Karpathy JSON): shown and scored")
    add("--beam", type=_positive, default=3, help="width of the beam search (default 3)")
    add("--length-penalty", type=float, default=1.0, help="0 favours short captions (default 1)")
    add("--max-length", type=_positive, default=MAX_TOKENS, help="most tokens of a caption")
    add("--batch-size", type=_positive, default=16, help="images at once (default 16)")
    add(
        "--overlays",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="write a strip of word maps per image and method",
    )
    return parser


def _query(options: argparse.Namespace, captioner: Captioner) -> Sentence | None:
    if options.query is None:
        return None
    return Sentence.of_query(captioner, options.query, unknown=options.unknown_words)


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"got {value}, expected 1 or more")
    return value


def _run(options: argparse.Namespace, captioner: Captioner) -> dict[str, Any]:
    return {
        "model_hash": captioner.hash,
        "model": options.model,
        "query": options.query,
        "unknown_words": options.unknown_words,
        "decoding": {
            "method": "beam",
            "width": options.beam,
            "length_penalty": options.length_penalty,
            "max_length": options.max_length,
        },
        "code_version": code_version(),
    }


@dataclasses.dataclass(frozen=True)
class _Loaded:
    """One image, read: what the encoder sees, and a small upright picture for people."""

    file: str
    bytes: int
    prepared: np.ndarray
    original: tuple[int, int]
    picture: np.ndarray


@dataclasses.dataclass(frozen=True)
class FolderRun:
    """One run of the command over a folder.

    Attributes:
      captioner: the model.
      folder: where results go, opened for this model, query and decoding.
      root: what file names start from.
      methods: to explain with.
      decoding, max_len: how captions are written.
      query, query_text: the sentence to explain instead of captions.
      batch_size: images explained at once.
      overlays: whether strips are drawn.
    """

    captioner: Captioner
    folder: ResultFolder
    root: pathlib.Path
    methods: tuple[str, ...]
    decoding: Beam
    max_len: int
    query: Sentence | None
    query_text: str | None
    batch_size: int
    overlays: bool

    def explain(self, files: Sequence[str]) -> None:
        """Does what is missing; images that need the same methods go together."""
        groups: dict[tuple[bool, tuple[str, ...]], list[str]] = {}
        for file in files:
            fresh = not self.folder.has(file, size=_size(self.root / file))
            missing = tuple(
                method
                for method in self.methods
                if fresh or self.folder.lacks(file, method, overlay=self.overlays)
            )
            if missing:
                groups.setdefault((fresh, missing), []).append(file)
        total = sum(map(len, groups.values()))
        with (
            tqdm.tqdm(total=total, unit="image", disable=not total) as progress,
            concurrent.futures.ThreadPoolExecutor(THREADS) as readers,
            concurrent.futures.ThreadPoolExecutor(THREADS) as writers,
        ):
            for (fresh, methods), group in groups.items():
                results = self._results(group, methods, fresh, readers, writers)
                for result in results:
                    self.folder.append(result)
                    progress.update()

    def _results(
        self,
        files: Sequence[str],
        methods: tuple[str, ...],
        fresh: bool,
        readers: concurrent.futures.Executor,
        writers: concurrent.futures.Executor,
    ) -> Iterator[dict[str, Any]]:
        """The result of every file, once its maps and pictures are on disk."""
        written: collections.deque[concurrent.futures.Future] = collections.deque()
        batch: list[_Loaded] = []
        ahead = _ahead(readers, self._load, files, 2 * self.batch_size)
        for position, (file, loaded) in enumerate(zip(files, ahead, strict=True), start=1):
            if isinstance(loaded, _Loaded):
                batch.append(loaded)
            else:
                yield {"file": file, "bytes": _size(self.root / file), "error": loaded}
            if batch and (len(batch) == self.batch_size or position == len(files)):
                before = [] if fresh else list(self.folder.results([one.file for one in batch]))
                explained = self._explain(batch, methods, before)
                for number, (one, found) in enumerate(zip(batch, explained, strict=True)):
                    old = before[number] if before else None
                    written.append(writers.submit(self._write, one, found, old))
                batch = []
            while len(written) > self.batch_size or (written and written[0].done()):
                yield written.popleft().result()
        for future in written:
            yield future.result()

    def _load(self, file: str) -> _Loaded | str:
        """The image, or why it cannot be read."""
        path = self.root / file
        try:
            prepared, geometry = load_prepared(path, self.captioner.preprocessing)
            height, width = geometry.original
            scale = min(1.0, THUMBNAIL_SIDE / max(height, width))
            small = Preprocessing((max(1, round(height * scale)), max(1, round(width * scale))))
            picture, _ = load_prepared(path, small)
        except UnreadableFileError as error:
            return str(error)
        return _Loaded(file, _size(path), prepared, geometry.original, picture)

    def _explain(
        self, batch: Sequence[_Loaded], methods: tuple[str, ...], before: Sequence[dict[str, Any]]
    ) -> list[Explained]:
        explained = explain_batch(
            self.captioner,
            pad_batch([loaded.prepared for loaded in batch], self.batch_size),
            [loaded.original for loaded in batch],
            methods=methods,
            decoding=self.decoding,
            max_len=self.max_len,
            queries=None if self.query is None else [[self.query]] * len(batch),
            captions=[self._earlier_caption(result) for result in before] or None,
        )
        return [own for (own,) in explained]

    def _earlier_caption(self, result: dict[str, Any]) -> Caption:
        """The caption of an earlier run: a new method explains the words that were explained."""
        tokens = tuple(result["caption_tokens"])
        words, _ = self.captioner.text.spans(tokens)
        unknown = np.full(len(tokens), np.nan, np.float32)
        return Caption(
            result["caption"], tuple(words), tokens, unknown, result["score"], result["finished"]
        )

    def _write(
        self, loaded: _Loaded, explained: Explained, before: dict[str, Any] | None
    ) -> dict[str, Any]:
        """Writes the files of one image; returns its line."""
        folder, file = self.folder, loaded.file
        maps = folder.write_maps(file, explained.explanations, keep=before is not None)
        jpeg = thumbnail(loaded.picture)
        with replacing(folder.thumbnail_path(file)) as stream:
            stream.write(jpeg)
        methods = dict(before["methods"]) if before else {}
        for name, explanation in explained.explanations.items():
            methods[name] = {"maps": maps.relative_to(folder.path).as_posix()}
            if self.overlays:
                overlay = folder.overlay_path(file, name)
                with replacing(overlay) as stream:
                    word_strip(loaded.picture, explanation).save(stream, "PNG", compress_level=1)
                methods[name]["overlay"] = overlay.relative_to(folder.path).as_posix()
            methods[name]["flags"] = dict(explanation.flags)
        return {
            "file": file,
            "caption": explained.caption.text,
            "caption_tokens": list(explained.caption.tokens),
            "score": explained.caption.score,
            "finished": explained.caption.finished,
            "query": self.query_text,
            "words": list(explained.sentence.words),
            "word_spans": [list(span) for span in explained.sentence.spans],
            "tokens": list(explained.sentence.tokens),
            "log_probabilities": [round(float(value), 6) for value in explained.log_probs],
            "methods": methods,
            "bytes": loaded.bytes,
        }


def _ahead(
    pool: concurrent.futures.Executor, load: Callable[[str], Any], files: Sequence[str], count: int
) -> Iterator[Any]:
    """`load` of every file in order, with at most `count` loaded ahead."""
    pending: collections.deque[concurrent.futures.Future] = collections.deque()
    for file in files:
        pending.append(pool.submit(load, file))
        if len(pending) >= count:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()


def _size(path: pathlib.Path) -> int:
    """Bytes of a file, -1 when it is gone: a file that changed is done again."""
    try:
        return path.stat().st_size
    except OSError:
        return -1
