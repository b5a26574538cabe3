"""Faults of `explain.py` over a folder of photographs, and what each of them loses: nothing.

    python tests/faults/folders.py [--only=kills-files] [--images=40]

Real processes, the captioner `photographs`, three methods. A run that nothing disturbs is what all
others are compared with, map by map: what is done again comes in other batches, so maps may differ
by rounding. Needs the shared photographs ($CAPJAX_DATA).
"""

import argparse
import contextlib
import dataclasses
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

import capjax
from tests.faults.all import small_disk, table
from tests.faults.runs import ROOT
from tests.faults.stage import Report

DATA = Path(os.environ.get("CAPJAX_DATA", ROOT.parent / "shared" / "data"))
METHODS = "--methods=attention,caption_guided,gradcam"
KILLS, SEED = 10, 0
ROUNDING = {"files": 1e-5, "parquet": 2**-10}
"""Of a map's largest value: of float32 sums in another order, and of what is kept in float16."""
PATIENCE = 600.0


@dataclasses.dataclass(frozen=True)
class Photographs:
    """Where faults happen.

    Attributes:
      folder: of all runs.
      images: what they explain.
      count: how many.
      quiet: results of the run that nothing disturbed, by format.
    """

    folder: Path
    images: Path
    count: int
    quiet: dict[str, Path]

    def run(self, out: Path, form: str = "files", images: Path | None = None) -> "Run":
        return Run(images or self.images, out, form)

    def lost(self, out: Path, form: str) -> str:
        """What a folder lacks that the quiet run's has."""
        wanted, found = capjax.open_results(self.quiet[form]), capjax.open_results(out)
        problems = [] if found.files == wanted.files else ["other images"]
        problems += [f"damaged: {name}" for name in found.check()]
        lines = (out / "results.jsonl").read_bytes().count(b"\n")
        problems += [] if lines == self.count else [f"{lines} lines"]
        for one, other in zip(wanted, found, strict=False):
            if one.caption != other.caption or {*one.explanations} != {*other.explanations}:
                problems.append(f"another caption, or other methods, of {one.file}")
                continue
            for method, maps in one.explanations.items():
                apart = np.abs(maps.maps - other[method].maps).max() / np.abs(maps.maps).max()
                if not apart <= ROUNDING[form]:
                    problems.append(f"{method} of {one.file} differs by {apart:.1g}")
        left = [path.name for path in out.rglob(".*") if path.name != ".lock" and path.is_file()]
        return "; ".join(problems + left) or "nothing"


class Run:
    """One process of `explain.py`."""

    def __init__(self, images: Path, out: Path, form: str) -> None:
        self.out, self.log = out, images.parent / f"{out.name}-{time.monotonic_ns()}.log"
        command = [sys.executable, "explain.py", "--model=photographs", f"--images={images}"]
        command += [f"--out={out}", f"--format={form}", METHODS, "--batch-size=4"]
        with self.log.open("w") as stream:
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                stdout=stream,
                stderr=stream,
                env={**os.environ, "JAX_PLATFORMS": "cpu"},
            )

    @property
    def recorded(self) -> int:
        """Images that have a line."""
        lines = self.out / "results.jsonl"
        return lines.read_bytes().count(b"\n") if lines.exists() else 0

    def wait_until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self.recorded} images:\n{self.log.read_text()}")
            time.sleep(0.005)

    def wait_for(self, images: int) -> None:
        self.wait_until(lambda: self.recorded >= images)

    def end(self, expected: int | None = 0) -> int:
        code = self.process.wait(PATIENCE)
        if expected is not None and code != expected:
            raise RuntimeError(f"exit code {code}, not {expected}:\n{self.log.read_text()}")
        return code

    def said(self, part: str) -> list[str]:
        """The lines that hold a text."""
        return [line for line in self.log.read_text().splitlines() if part in line]


def kills(stage: Photographs, form: str) -> Report:
    """SIGKILL at ten random moments: some before the first result, the others in between."""
    out, draw = stage.folder / f"killed-{form}", random.Random(SEED)
    moments = sorted(draw.randrange(1 - stage.count // 5, stage.count) for _ in range(KILLS))
    reached = []
    for moment in moments:
        run = stage.run(out, form)
        if moment > 0:
            run.wait_for(moment)
        time.sleep(draw.random() * (0.2 if moment > 0 else 6))
        run.process.send_signal(signal.SIGKILL)
        run.process.wait()
        reached.append(run.recorded)
    last = stage.run(out, form)
    last.end()
    return Report(
        f"kill -9 at {KILLS} moments, --format={form}",
        f"lines at each: {', '.join(map(str, reached))}; then run to the end",
        last.said("explained")[-1],
        stage.lost(out, form) if len(set(reached)) > 3 else f"killed too late: {reached}",
    )


def full_disk(stage: Photographs, form: str) -> Report:
    """A disk that fills up while the run goes on."""
    name = f"full disk, --format={form}"
    with small_disk(stage.folder / f"disk-{form}", 64) as disk:
        if disk is None:
            return Report(name, "not run: this user may not mount a tmpfs", "", "not run")
        run = stage.run(disk / "out", form)
        run.wait_for(1)
        filler = disk / "filler"
        with filler.open("wb", buffering=0) as stream, contextlib.suppress(OSError):
            while True:
                stream.write(bytes(4096))
        code, recorded = run.end(None), run.recorded
        told = run.said("the disk is full")
        filler.unlink()
        stage.run(disk / "out", form).end()
        lost = stage.lost(disk / "out", form)
    clear = code == 1 and len(told) == 1 and recorded < stage.count
    return Report(
        name,
        f"exit code {code} after {recorded} images; space freed, run again",
        told[0] if told else "NOTHING of a full disk",
        lost if clear else f"not clear: {code}, {recorded} images, {told}",
    )


def read_only(stage: Photographs) -> Report:
    """An --out that cannot be written."""
    with small_disk(stage.folder / "read-only", 8) as disk:
        if disk is None:
            return Report("read-only --out", "not run: this user may not mount", "", "not run")
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        run = Run(stage.images, disk / "out", "files")
        code, told = run.end(None), run.said("--out")
    clear = code == 2 and len(told) == 1 and not run.said("Traceback")
    return Report(
        "read-only --out",
        f"exit code {code}, before any work",
        told[0] if told else "NOTHING of --out",
        "nothing" if clear else f"not clear: {run.log.read_text()}",
    )


def vanishing(stage: Photographs) -> Report:
    """Photographs that go, and one that is torn, while the run is under way."""
    images, out = stage.folder / "going", stage.folder / "vanishing"
    shutil.copytree(stage.images, images, copy_function=shutil.copy2)
    *_, torn, one, two = sorted(images.iterdir())
    run = stage.run(out, images=images)
    run.wait_until(lambda: (out / "run.json").exists())  # they are listed, and not read yet
    one.unlink()
    two.unlink()
    torn.write_bytes(torn.read_bytes()[:300])
    code = run.end(None)
    told = run.said("failed:")
    named = [path.name for path in (torn, one, two) if any(path.name in line for line in told)]
    counted = run.said(f"3 of {stage.count} images could not be read")
    for path in (torn, one, two):
        shutil.copy2(stage.images / path.name, path)
    stage.run(out, images=images).end()
    clear = code == 3 and len(told) == len(named) == 3 and counted
    return Report(
        "two photographs vanish, one is torn",
        f"exit code {code}, {len(named)} of 3 named, the others explained; put back, run again",
        told[-1] if told else "NOTHING of them",
        stage.lost(out, "files") if clear else f"not clear: {run.log.read_text()}",
    )


def two_runs(stage: Photographs) -> Report:
    """Two runs into one folder, started together."""
    out = stage.folder / "two"
    both = [stage.run(out), stage.run(out)]
    codes = [run.end(None) for run in both]
    done, refused = both if codes == [0, 2] else both[::-1]
    told = refused.said("is being written by")
    clear = sorted(codes) == [0, 2] and f"process {done.process.pid}" in " ".join(told)
    return Report(
        "two runs into one folder",
        f"exit codes {codes}: one is refused, the other goes on to its end",
        told[0] if told else "NOTHING of the other one",
        stage.lost(out, "files") if clear else f"not clear: {refused.log.read_text()}",
    )


FAULTS: dict[str, Callable[[Photographs], Report]] = {
    "kills-files": lambda stage: kills(stage, "files"),
    "kills-parquet": lambda stage: kills(stage, "parquet"),
    "full-disk-files": lambda stage: full_disk(stage, "files"),
    "full-disk-parquet": lambda stage: full_disk(stage, "parquet"),
    "read-only": read_only,
    "vanishing": vanishing,
    "two-runs": two_runs,
}


def check(folder: Path, *, names: list[str], count: int) -> list[Report]:
    """Lets faults happen to runs over the first so many of the shared photographs."""
    source, images = DATA / "coco" / "images", folder / "images"
    images.mkdir(parents=True)
    chosen = sorted(path for path in source.rglob("*.jpg"))[:count]
    if len(chosen) < count:
        raise SystemExit(f"{source} has {len(chosen)} photographs, {count} are needed")
    for path in chosen:
        shutil.copy2(path, images / path.name)
    os.sync()
    stage = Photographs(folder, images, count, {})
    forms = {"parquet" if name.endswith("parquet") else "files" for name in names}
    for form in sorted(forms):
        stage.quiet[form] = folder / f"quiet-{form}"
        stage.run(stage.quiet[form], form).end()
    reports = []
    for name in names:
        since = time.monotonic()
        reports.append(FAULTS[name](stage))
        spent = time.monotonic() - since
        print(f"{name}: lost {reports[-1].lost} ({spent:.0f} s)", flush=True)
    return reports


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", choices=tuple(FAULTS), default=None)
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--images", type=int, default=40)
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="faults_"))
    reports = check(folder, names=options.only or list(FAULTS), count=options.images)
    print(table(reports))
    return 0 if all(report.lost == "nothing" for report in reports) else 1


if __name__ == "__main__":
    sys.exit(main())
