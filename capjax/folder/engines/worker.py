"""What works on parts of a run in another process: reads their images, explains them."""

import contextlib
import dataclasses
import os
import pathlib
import socket
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax

from capjax.data.stores.contract import Store
from capjax.data.stores.files import Files
from capjax.explainers.results import Explained
from capjax.folder.engines.options import ClusterError
from capjax.folder.engines.parts import Parcel, Part, collect
from capjax.folder.pipeline.folder_run import FolderRun, Group
from capjax.folder.pipeline.in_flight import Found, InFlight
from capjax.folder.reading import read_image
from capjax.folder.results import RESULTS, RUN, ResultFolder
from capjax.folder.writing import Loaded, Writer
from capjax.ops.devices import Steps
from capjax.runtime.memory import device_memory
from capjax.runtime.record_file import read_description
from capjax.runtime.version import code_version
from capjax.types import Preprocessing

_OWN = {
    *("folder", "store", "writer", "memory", "left_out", "studies"),
    *("stages", "beside", "trace"),
}
"""Of a run, what each process has of its own, or only the one that writes."""
_NO_IMAGES = Files.of_folder(pathlib.Path(), ())


@dataclasses.dataclass(frozen=True)
class Images:
    """The images of a run, for a process that reads them.

    Attributes:
      store: holds them.
      preprocessing: of the captioner.
      whole: figures are drawn, which show them at full size.
      exact: large JPEGs are decoded at their full size.
      home: the folder that relative paths start from.
    """

    store: Store
    preprocessing: Preprocessing
    whole: bool
    exact: bool
    home: str

    @classmethod
    def of(cls, run: FolderRun) -> "Images":
        """Those of a run."""
        whole = run.writer.figures is not None
        return cls(run.store, run.captioner.preprocessing, whole, run.exact, os.getcwd())

    def read(self, part: Part) -> list[Loaded | str]:
        """Each image of a part, or why it cannot be read."""
        enter(self.home)
        of = self.store, self.preprocessing
        found = [read_image(*of, file, exact=self.exact) for file in part.files]
        return [self._lighter(one) if isinstance(one, Loaded) else one for one in found]

    def _lighter(self, loaded: Loaded) -> Loaded:
        return loaded if self.whole else dataclasses.replace(loaded, content="")


@dataclasses.dataclass(frozen=True)
class Sent:
    """A run, for a process that explains.

    Attributes:
      run, writer: fields of `FolderRun` and `Writer` that are the same everywhere.
      groups: of `FolderRun.missing`.
      described: what run.json says.
      home: see `Images`.
      versions: of the code that cut the work, see `versions`.
    """

    run: Mapping[str, Any]
    writer: Mapping[str, Any]
    groups: Sequence[Group]
    described: Mapping[str, Any]
    home: str
    versions: str

    @classmethod
    def of(cls, run: FolderRun, groups: Sequence[Group]) -> "Sent":
        """What is sent of a run, whose folder is open here."""
        fields = {own.name: getattr(run, own.name) for own in dataclasses.fields(run)}
        writer = {own.name: getattr(run.writer, own.name) for own in dataclasses.fields(run.writer)}
        return cls(
            {name: own for name, own in fields.items() if name not in _OWN},
            {name: own for name, own in writer.items() if name != "folder"},
            tuple(groups),
            read_description(run.folder.path, RUN, RESULTS),
            os.getcwd(),
            versions(),
        )


class Worker:
    """Explains parts; any thread may ask. The device works for one at a time.

    Args:
      sent: the run.
      gpu: it was given one.
      memory: bytes of each device, of --memory.

    Raises:
      ClusterError: this machine has other versions than the one that cut the work, or JAX finds no
        GPU here.
    """

    def __init__(self, sent: Sent, *, gpu: bool, memory: float | None) -> None:
        enter(sent.home)
        here = socket.gethostname()
        if versions() != sent.versions:
            raise ClusterError(
                f"{here} has {versions()}, the run was started with {sent.versions}; install the "
                "same versions on all machines"
            )
        if gpu and jax.default_backend() != "gpu":
            raise ClusterError(
                f"a worker on {here} was given a GPU, and JAX finds none there: install a build "
                "with GPUs, such as jax[cuda13], or ask for --gpus-per-worker=0"
            )
        self._sent, self._memory = sent, device_memory(memory)
        self._device, self._sizes = threading.Lock(), dict[int, int]()

    def explain(self, part: Part, images: Sequence[Loaded | str]) -> list[Parcel]:
        """What is found of the images of a part.

        Args:
          part: of the run.
          images: each of its images, or why it cannot be read.

        Raises:
          TooLargeError: a batch does not fit into this machine's memory.
        """
        with self._run() as run:
            loaded = [one for one in images if isinstance(one, Loaded)]
            explained = self._explained(run, part, loaded)
            parcels = []
            for file, one in zip(part.files, images, strict=True):
                if isinstance(one, str):
                    parcels.append(Parcel(file, one))
                elif (found := explained[file]) is None:
                    parcels.append(Parcel(file, run.too_large(file)))
                else:
                    result = run.write(one, found, None, keep=False)
                    parcels.append(Parcel(file, result, collect(run.folder.path)))
            return parcels

    @contextlib.contextmanager
    def _run(self) -> Iterator[FolderRun]:
        """The run with a folder of its own, which is thrown away."""
        with (
            tempfile.TemporaryDirectory(prefix="capjax-part-") as scratch,
            ResultFolder(scratch, self._sent.described) as folder,
        ):
            writer = Writer(folder, **self._sent.writer)
            own: dict[str, Any] = {
                "folder": folder,
                "store": _NO_IMAGES,
                "writer": writer,
                "memory": self._memory,
            }
            yield FolderRun(**self._sent.run, **own)

    def _explained(
        self, run: FolderRun, part: Part, loaded: Sequence[Loaded]
    ) -> dict[str, list[Explained] | None]:
        """What is found of images that were read; None of one too large for the device."""
        fresh, methods = self._sent.groups[part.group]
        known = {one.file: one for one in part.known}

        def start(images: Sequence[Loaded], size: int) -> Steps[Found]:
            pictures = {one.file: one.picture for one in images}
            before = [known[file] for file in pictures if file in known]
            return run.explain_steps(pictures, methods, size, before)

        with self._device:
            if part.group not in self._sizes:
                size = run.at_once(part.files, methods, captioned=not fresh)
                self._sizes[part.group] = size
            size = self._sizes[part.group]
            flight = InFlight(size, start, lambda _: contextlib.nullcontext(), run.tell_smaller)
            taken = [done for one in loaded for done in flight.take(one)]
            done = [*taken, *flight.rest()]
            self._sizes[part.group] = flight.size  # fewer where memory did not suffice
        return {one.file: found for one, found in done}


def versions() -> str:
    """Of what decides results here."""
    return f"capjax {code_version()} and jax {jax.__version__}"


def enter(home: str) -> None:
    """Makes a folder of the machine that started the run the current one, where it is there."""
    if os.path.isdir(home):
        os.chdir(home)
