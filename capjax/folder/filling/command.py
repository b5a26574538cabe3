"""`python -m capjax.inpaint`: fills what masks remove from every picture of a folder.

Threads read ahead and write behind; between them the fill works on a batch. Queues are bounded, so
memory does not grow with the folder.
"""

import argparse
import collections
import concurrent.futures
import dataclasses
import math
import pathlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tqdm
from jaxtyping import Bool, UInt8
from PIL import Image

from capjax.data.objects.pictures import MaskFolder
from capjax.data.pictures.finding import find_images
from capjax.data.pictures.images import UnreadableFileError, layout_of, load_image
from capjax.folder.filling.choosing import chosen_fills, describe
from capjax.folder.filling.pages import write_pages
from capjax.folder.filling.results import FilledFolder, FilledRecord
from capjax.folder.outcome import AGAIN, SOME_FAILED
from capjax.folder.reading import Queue, ahead
from capjax.folder.results import State
from capjax.inpaint.fills.around import Around, Filled
from capjax.inpaint.fills.contract import Fill
from capjax.runtime import locks
from capjax.runtime.command_line import at_least_one
from capjax.runtime.files import check_writable, counted, local_path, printable, replacing
from capjax.runtime.fingerprint import Fingerprint, fingerprint
from capjax.runtime.version import code_version
from capjax.viz.inpaint.triptych import triptych

THREADS = 2
MOST_PIXELS = 2**25
"""Of a batch, and of what is read ahead of it and still to be written, about: pictures of cameras
are filled one or two at a time."""


def add_options(add: Callable[..., Any]) -> None:
    """Adds the options of the command, but for those of fills."""
    add("--images", nargs="+", required=True, help="folders, files, or quoted patterns")
    add(
        "--masks",
        required=True,
        help="folder of PNG files named after the pictures, white where to remove: b.png for "
        "b.jpg, or a folder b with a file an object",
    )
    add("--out", required=True, help="folder of the results; continued when it exists")
    add(
        "--batch-size",
        type=at_least_one,
        default=16,
        help="pictures at once (default 16), fewer of large ones; changes no result",
    )
    add(
        locks.BREAK,
        action="store_true",
        help="write to --out though a process of another machine locked it: that process is dead",
    )


def fill_folder(options: argparse.Namespace) -> int:
    """Fills what is missing; returns the exit code: 0, or 3 where a picture failed.

    Raises:
      ValueError, OSError: wrong usage.
    """
    out = local_path(options.out, "--out")
    check_writable(out, "--out", folder=True)
    fills, around = chosen_fills([options.fill], options.set, options.model)
    fill = fills[options.fill]
    masks = MaskFolder(local_path(options.masks, "--masks"))
    notes: list[str] = []
    root, files = find_images(options.images, exclude=out, tell=notes.append)
    files = _without_masks(root, files, masks.folder)
    run = {**describe(fill, around), "code_version": code_version()}
    with FilledFolder(out, run, break_lock=options.break_lock) as folder:
        filling = Filling(folder, root, masks, fill, around, options.batch_size)
        states = {file: filling.state(file) for file in files}
        filling.fill_all([file for file in files if states[file] != "done"])
        folder.records.finish()
        return _tell(folder, files, states, notes, write_pages(folder, files, fill.NAME))


def _without_masks(root: pathlib.Path, files: Sequence[str], masks: pathlib.Path) -> list[str]:
    """The pictures that are no masks."""
    own, there = masks.resolve(), root.resolve()
    if own == there:
        raise ValueError(
            f"--masks={printable(masks)} is the folder of the pictures; give masks a folder of "
            "their own, so that no mask is taken for a picture"
        )
    kept = [file for file in files if own not in (there / file).parents]
    if not kept:
        raise ValueError(f"all pictures lie in --masks={printable(masks)}; name others by --images")
    return kept


@dataclasses.dataclass(frozen=True, eq=False)
class _Loaded:
    """One picture with its mask, and what files they were read from."""

    file: str
    known: Fingerprint
    masks: Mapping[str, Fingerprint]
    image: UInt8[np.ndarray, "H W 3"]
    mask: Bool[np.ndarray, "H W"]


@dataclasses.dataclass(frozen=True, eq=False)
class Filling:
    """One run over a folder.

    Attributes:
      folder: of the results.
      root: what file names start from.
      masks: of the pictures.
      fill, around: how holes are filled.
      at_once: pictures of a batch.
    """

    folder: FilledFolder
    root: pathlib.Path
    masks: MaskFolder
    fill: Fill
    around: Around
    at_once: int

    def state(self, file: str) -> State:
        """What became of a picture before this run."""
        return self.folder.state(file, self.root / file, self._mask_files(file))

    def _mask_files(self, file: str) -> dict[str, pathlib.Path]:
        return {
            path.relative_to(self.masks.folder).as_posix(): path for path in self.masks.files(file)
        }

    def fill_all(self, files: Sequence[str]) -> None:
        """Fills pictures, and stores each result once its files are written."""
        pool = concurrent.futures.ThreadPoolExecutor
        with (
            pool(THREADS) as readers,
            pool(THREADS) as writers,
            tqdm.tqdm(total=len(files), desc="filled", unit="image", disable=not files) as progress,
        ):
            for record in self._records(files, readers, writers):
                self.folder.records.append(record)
                progress.update()

    def _records(
        self,
        files: Sequence[str],
        readers: concurrent.futures.Executor,
        writers: concurrent.futures.Executor,
    ) -> Iterator[FilledRecord]:
        """What became of every picture, once its files are written."""
        read, written = Queue(2 * self.at_once, MOST_PIXELS), Queue(self.at_once, MOST_PIXELS)
        for batch in self._batches(ahead(readers, self._load, files, read, self._pixels)):
            if isinstance(batch, FilledRecord):
                yield batch
                continue
            for loaded, found in zip(batch, self._filled(batch), strict=True):
                yield from written.room_for(loaded.mask.size)
                written.append(writers.submit(self._write, loaded, found), loaded.mask.size)
            yield from written.done()
        yield from written.rest()

    def _pixels(self, file: str) -> int:
        """Of a picture, by its header."""
        try:
            return math.prod(layout_of(self.root / file).stored)
        except UnreadableFileError:
            return 0

    def _load(self, file: str) -> "_Loaded | FilledRecord":
        path, known, masks = self.root / file, None, {}
        try:
            known = fingerprint(path)  # first: what changes from here on, the next run notices
            files = self._mask_files(file)
            masks = {name: fingerprint(own) for name, own in files.items()}
            image = load_image(path)
            regions = self.masks.regions(file, image)
            if regions is None:
                stem = printable(pathlib.PurePosixPath(file).with_suffix(".png").as_posix())
                raise ValueError(f"it has no mask; expected {stem} in the folder of --masks")
            mask = np.zeros(image.shape[:2], bool)
            for region in regions:
                mask |= region.mask
            return _Loaded(file, known, masks, image, mask)
        except (UnreadableFileError, ValueError, OSError) as error:
            return FilledRecord(file, known, masks, error=str(error))

    def _batches(
        self, loading: Iterator["_Loaded | FilledRecord"]
    ) -> Iterator["list[_Loaded] | FilledRecord"]:
        """Pictures that are filled together; those that cannot be read at once, alone."""
        batch: list[_Loaded] = []
        pixels = 0
        for loaded in loading:
            if isinstance(loaded, FilledRecord):
                yield loaded
                continue
            batch.append(loaded)
            pixels += loaded.mask.size
            if len(batch) == self.at_once or pixels >= MOST_PIXELS:
                yield batch
                batch, pixels = [], 0
        if batch:
            yield batch

    def _filled(self, batch: Sequence["_Loaded"]) -> list[Filled | str]:
        """Each picture filled, or why it cannot be; one that cannot stops no other."""
        try:
            images, masks = [own.image for own in batch], [own.mask for own in batch]
            return [*self.around.each(self.fill, images, masks)]
        except ValueError as error:
            if len(batch) == 1:
                return [str(error)]
            return [self._filled([own])[0] for own in batch]

    def _write(self, loaded: "_Loaded", found: Filled | str) -> FilledRecord:
        file = loaded.file
        if isinstance(found, str):
            return FilledRecord(file, loaded.known, loaded.masks, error=found)
        filled, shown = self.folder.filled_path(file), self.folder.triptych_path(file)
        with replacing(filled) as stream:
            Image.fromarray(found.image).save(stream, "PNG", compress_level=1)
        drawn = triptych(
            loaded.image,
            loaded.mask,
            found.image,
            fill=self.fill.NAME,
            oversize=found.oversize,
        )
        with replacing(shown) as stream:
            drawn.save(stream, "JPEG", quality=90)
        return FilledRecord(
            file,
            loaded.known,
            loaded.masks,
            size=loaded.mask.shape,
            removed=float(loaded.mask.mean()),
            changed=float(found.changed.mean()),
            oversize=found.oversize,
            filled=self.folder.below(filled),
            triptych=self.folder.below(shown),
        )


def _tell(
    folder: FilledFolder,
    files: Sequence[str],
    states: Mapping[str, State],
    notes: Sequence[str],
    index: pathlib.Path,
) -> int:
    """Says what came of a run; returns its exit code."""
    failures, oversize = list[tuple[str, str]](), 0
    again: collections.Counter[State] = collections.Counter()
    for file in files:
        record = folder.records.read(file)
        oversize += record.oversize
        if record.error is None:
            again[states[file]] += 1
        else:
            failures.append((file, record.error))
    remarks = [f"{again[why]} done again: {text}" for why, text in AGAIN.items() if again[why]]
    if oversize:
        remarks.append(f"{oversize} with holes larger than the fill was trained on")
    about = f" ({'; '.join(remarks)})" if remarks else ""
    sys.stdout.write(f"{counted(again.total(), 'image')} filled{about}; see {printable(index)}\n")
    for file, reason in failures:
        sys.stderr.write(f"failed: {printable(file)}: {reason}\n")
    if failures:
        sys.stderr.write(f"{len(failures)} of {counted(len(files), 'image')} could not be filled\n")
    for note in notes:
        sys.stderr.write(f"left out: {note}\n")
    return SOME_FAILED if failures else 0
