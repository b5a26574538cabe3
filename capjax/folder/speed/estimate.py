"""What a run would take, by a trial with some of its images: --estimate."""

import concurrent.futures
import dataclasses
import json
import pathlib
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax

from capjax.folder.pipeline.folder_run import THREADS, FolderRun
from capjax.folder.pipeline.stages import Stages
from capjax.folder.writing import Loaded
from capjax.runtime.files import counted, replacing
from capjax.runtime.memory import gigabytes

STAGES = ("decode", "encode", "explain", "fetch", "write")
HOST = ("decode", "write")
"""Stages that leave an accelerator alone."""
BESIDE = {"decode": "reading", "fetch": "taking in its maps", "write": "writing"}
"""Stages that keep cores busy beside an accelerator, and what they are called."""


@dataclasses.dataclass(frozen=True)
class Estimate:
    """What a trial found, each of whose stages ran alone.

    Attributes:
      count: images of the whole run.
      tried: images of the trial.
      seconds: that each stage of the trial took.
      processor: seconds of a core that each stage of the trial took, all cores together.
      batch: images of a full batch.
      tokens: of the longest sentence of the trial.
      ready: seconds until the programs were compiled, or read from the cache; once a run.
      alone: the processor does everything: there is no accelerator.
      host: most bytes of the process's memory so far; None where the system does not say.
      device: most bytes of one device's so far; None where it does not say, as a processor.
      read: bytes of the images of the trial.
      written: bytes of files of the trial.
    """

    count: int
    tried: int
    seconds: Mapping[str, float]
    processor: Mapping[str, float]
    batch: int
    tokens: int
    ready: float
    alone: bool
    host: int | None
    device: int | None
    read: int
    written: int

    @property
    def per_image(self) -> float:
        """Seconds an image.

        A processor without an accelerator does one stage after another, with all its cores. Beside
        an accelerator it reads and writes meanwhile, and the slower of the two sets the pace.
        """
        host, device = self._sides
        return (host + device if self.alone else max(host, device)) / self.tried

    @property
    def whole(self) -> float:
        """Seconds of the whole run, those until its programs are ready included."""
        return self.ready + self.count * self.per_image

    @property
    def _sides(self) -> tuple[float, float]:
        """Seconds of the trial in stages that leave an accelerator alone, and in the others."""
        host = sum(self.seconds[stage] for stage in HOST)
        return host, sum(self.seconds.values()) - host

    def describe(self, noun: str) -> str:
        """The estimate as text, with how it was made and what is not in it.

        Args:
          noun: what is explained, "image" or "clip".
        """
        spent = sum(self.seconds.values())
        shares = ", ".join(f"{stage} {100 * self.seconds[stage] / spent:.0f} %" for stage in STAGES)
        pace = (
            "stages share the processor, so their times are added"
            if self.alone
            else "the processor reads and writes while the device works, so the longer of "
            "decode + write and encode + explain + fetch counts"
        )
        most = {"this process": self.host, "each device": self.device}
        memory = [f"{gigabytes(size)} of {where}" for where, size in most.items() if size]
        files = gigabytes(self.written * self.count / self.tried)
        return "\n".join(
            [
                f"estimate for {counted(self.count, noun)}, on this machine as busy as it is now:",
                f"  speed   {_rate(1 / self.per_image, noun)}",
                f"  time    {_duration(self.whole)}, of which {_duration(self.ready)} until its "
                "programs are ready",
                f"  memory  {' and '.join(memory) or 'not told here'}, at the most",
                f"  files   {files}",
                f"  cores   {self._cores(noun)}",
                f"measured with {counted(self.tried, noun)} of them in {spent:.2f} s, after "
                f"warming up: {shares}; {pace}",
                "not in it: studies, the report, finding what --out holds already, and programs "
                "for sentences of other lengths",
            ]
        )

    def _cores(self, noun: str) -> str:
        """The cores that an accelerator needs beside it; where one is here, what bounds."""
        own = {stage: self.processor[stage] / self.tried for stage in BESIDE}
        each = ", ".join(f"{name} {_short(1e3 * own[stage])} ms" for stage, name in BESIDE.items())
        text = (
            f"{each} of a core for each {noun}: a device that explains 100 {noun}s a second keeps "
            f"{_short(100 * sum(own.values()))} cores busy"
        )
        if self.alone:
            return text
        host, device = self._sides
        return f"{text}; here the {'processor' if host > device else 'device'} sets the pace"

    def to_json(self) -> dict[str, Any]:
        """The figures for other programs; seconds and bytes are those of one image or clip."""
        return {
            "images": self.count,
            "tried": self.tried,
            "batch": self.batch,
            "tokens": self.tokens,
            "processor_alone": self.alone,
            "images_per_second": 1 / self.per_image,
            "ready_seconds": self.ready,
            "seconds": {stage: self.seconds[stage] / self.tried for stage in STAGES},
            "processor_seconds": {stage: self.processor[stage] / self.tried for stage in STAGES},
            "read_bytes": self.read / self.tried,
            "written_bytes": self.written / self.tried,
        }

    def save(self, path: pathlib.Path) -> None:
        """Writes `to_json` to a file."""
        with replacing(path) as stream:
            stream.write(json.dumps(self.to_json(), indent=1).encode())


def estimate(run: FolderRun, files: Sequence[str]) -> Estimate:
    """Reads, explains and writes one batch twice, and measures the second time.

    Args:
      run: whose folder is one to throw away, still empty.
      files: of the whole run; those of the trial are spread over them.

    Raises:
      ValueError: there is nothing to explain, or none of the images tried can be read.
      TooLargeError: what `FolderRun.at_once` raises.
    """
    if not files:
        raise ValueError("there is nothing to explain, so there is nothing to estimate")
    began = time.perf_counter()
    size = run.at_once(files, run.methods)
    compiling = time.perf_counter() - began
    chosen = spread(files, size)
    stages = Stages()
    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        run.read(chosen[0])
        with stages("decode"):
            found = list(pool.map(run.read, chosen))
        batch = [one for one in found if isinstance(one, Loaded)]
        if not batch:
            raise ValueError(
                f"none of {counted(len(chosen), run.captioner.noun)} tried can be read, so there "
                f"is nothing to estimate by; the first: {found[0]}"
            )
        pictures = {one.file: one.picture for one in batch}
        began = time.perf_counter()
        explained = run.explain_batch(pictures, run.methods, size)
        first = time.perf_counter() - began
        run.write(batch[0], explained[0], None, keep=False)
        trial = dataclasses.replace(run, stages=stages)
        began = time.perf_counter()
        explained = trial.explain_batch(pictures, run.methods, size)
        second = time.perf_counter() - began
        with stages("write"):
            writing = [
                pool.submit(run.write, one, own, None, keep=False)
                for one, own in zip(batch, explained, strict=True)
            ]
            for result in writing:
                run.folder.append(result.result())
    statistics = jax.local_devices()[0].memory_stats() or {}
    return Estimate(
        count=len(files),
        tried=len(batch),
        seconds={stage: stages.seconds[stage] for stage in STAGES},
        processor={stage: stages.processor[stage] for stage in STAGES},
        batch=size,
        tokens=max(len(one.sentence.tokens) for own in explained for one in own),
        ready=compiling + max(0.0, first - second),
        alone=jax.default_backend() == "cpu",
        host=_most_memory(),
        device=statistics.get("peak_bytes_in_use"),
        read=sum(one.known.bytes for one in batch),
        written=_bytes_below(run.folder.path),
    )


def spread(files: Sequence[str], count: int) -> list[str]:
    """So many of the files, at equal distances; all where there are fewer."""
    count = min(count, len(files))
    return [files[number * len(files) // count] for number in range(count)]


def _most_memory() -> int | None:
    """Bytes."""
    if sys.platform == "win32":
        return None
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most


def _bytes_below(folder: pathlib.Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _rate(per_second: float, noun: str) -> str:
    return f"{per_second:.3g} {noun}s a second"


def _short(value: float) -> str:
    """Such as "0.031", "4.2" or "310"."""
    return f"{value:.2g}" if value < 100 else f"{value:.0f}"


def _duration(seconds: float) -> str:
    """Such as "48 s", "12 min" or "3.4 h"."""
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
