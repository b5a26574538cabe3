"""Provokes every fault that a training run has to survive, and prints what came of each.

    python tests/faults/all.py [--only=NAME …] [--folder=DIR] [--steps=40]

Each fault strikes a real run of train.py, which is then resumed. "Nothing lost" means that its
parameters, optimiser state, progress and the losses of all updates are, bit for bit, those of a run
that nothing disturbed (of two processes: the losses to 1e-5, since sums are made in another order),
and that every update learnt from the same captions. Prints one line a fault while it runs, then a
table; exits with 1 if anything was lost or the user was not told.
"""

import argparse
import contextlib
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.faults.on_disk import FAULTS as ON_DISK
from tests.faults.runs import (
    Processes,
    checkpoints,
    last_step,
    photographs,
    read_records,
    trained_on,
    write_config,
)
from tests.faults.stage import CAPTIONS, Report, Stage, said


def sigterm(stage: Stage) -> Report:
    run = stage.start("sigterm")
    run.wait_until(lambda: last_step(run.workdir) >= 15)
    run.send(signal.SIGTERM, 0)
    run.wait()
    saved = checkpoints(run.workdir)[-1]
    told = said(run, "stopped and saved")
    stage.start("sigterm").wait()
    return Report(
        "SIGTERM",
        f"exit code 0 with a checkpoint of step {saved}; resumed",
        told,
        stage.lost(run.workdir),
    )


def sigterm_to_one_of_two(stage: Stage) -> Report:
    run = stage.start("sigterm-2", count=2, devices=1)
    run.wait_until(lambda: last_step(run.workdir) >= 15)
    run.send(signal.SIGTERM, 1)
    run.wait()
    saved = checkpoints(run.workdir)[-1]
    told = said(run, "stopped and saved")
    stage.start("sigterm-2", count=2, devices=1).wait()
    return Report(
        "SIGTERM to one of 2 processes",
        f"both agreed, exit code 0, a checkpoint of step {saved}; resumed",
        told,
        stage.lost(run.workdir, exact=False),
    )


def kill_while_saving(stage: Stage) -> Report:
    workdir = stage.folder / "kill"

    def unfinished() -> list[str]:
        folder = workdir / "checkpoints"
        return [path.name for path in folder.glob("*tmp*")] if folder.exists() else []

    for _ in range(20):
        run = stage.start("kill")
        stale = frozenset(unfinished())
        run.wait_until(lambda old=stale: checkpoints(workdir) and set(unfinished()) - old)
        run.kill()
        if unfinished():
            break
    left, complete = unfinished(), checkpoints(workdir)
    stage.start("kill").wait()
    return Report(
        "kill -9 while a checkpoint is being written",
        f"{left[0] if left else 'NOTHING'} left unfinished, complete: {complete}; resumed",
        "(nothing: the process is dead; the same command resumes)",
        stage.lost(workdir) if left else "no save was hit",
    )


@contextlib.contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path | None]:
    """A file system of so many megabytes; None where this user may not mount one."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True).returncode:
        yield None
        return
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def best_model(workdir: Path) -> str:
    from capjax.captioner import load_captioner

    return load_captioner(workdir).hash


def full_disk(stage: Stage) -> Report:
    """A disk that fills up while the run goes on, with a best model already kept."""
    with small_disk(stage.folder / "disk", 48) as disk:
        if disk is None:
            return Report("full disk", "not run: this user may not mount a tmpfs", "", "not run")
        run = stage.start("full", workdir=disk / "run")
        run.wait_until(lambda: len(checkpoints(run.workdir)) > 0)
        filler = disk / "filler"
        free = shutil.disk_usage(disk).free - 16_384
        filler.write_bytes(b"0" * free)
        codes = run.wait(expected=None)
        told = said(run, "^error:")
        complete = checkpoints(run.workdir)
        filler.unlink()
        stage.start("full", workdir=disk / "run").wait()
        lost = stage.lost(run.workdir)
    clear = codes == [1] and "the disk is full" in told and complete
    return Report(
        "full disk (tmpfs)",
        f"exit code {codes[0]}, checkpoints {complete} whole; space freed, resumed",
        told,
        lost if clear else f"not clear: {codes} {complete}",
    )


def quota(stage: Stage) -> Report:
    """A limit on the size of a file, set while the run goes on: checkpoints grow over it."""
    run = stage.start("quota")
    run.wait_until(lambda: len(checkpoints(run.workdir)) > 0)
    pid = str(run.running[0].pid)
    subprocess.run(["prlimit", "--pid", pid, "--fsize=150000"], check=True)
    codes = run.wait(expected=None)
    told = said(run, "^error:")
    complete = checkpoints(run.workdir)
    stage.start("quota").wait()
    return Report(
        "file size limit (RLIMIT_FSIZE)",
        f"exit code {codes[0]}, checkpoints {complete} whole; limit lifted, resumed",
        told,
        stage.lost(run.workdir) if codes == [1] and "ulimit" in told else f"not clear: {codes}",
    )


def largest_file(folder: Path) -> Path:
    return max(
        (path for path in folder.rglob("*") if path.is_file()), key=lambda p: p.stat().st_size
    )


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def garble(path: Path) -> None:
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 16] = bytes(255 - each for each in data[middle : middle + 16])
    path.write_bytes(data)


def damaged(stage: Stage, name: str, harm: Callable[[Path], None]) -> Report:
    run = stage.start(name)
    run.wait_until(lambda: len(checkpoints(run.workdir)) > 1 and last_step(run.workdir) > 21)
    run.kill()
    before = checkpoints(run.workdir)
    harm(largest_file(run.workdir / "checkpoints" / str(before[-1])))
    again = stage.start(name)
    again.wait()
    told = said(again, "is damaged")
    lost = stage.lost(run.workdir)
    aside = sorted(path.name for path in (run.workdir / "checkpoints_damaged").iterdir())
    return Report(
        f"newest checkpoint {name}d",
        f"had {before}; went on from step {before[-2]}; {aside} kept aside",
        told,
        lost if "damaged" in told else "not told",
    )


def all_damaged(stage: Stage) -> Report:
    run = stage.start("all-damaged")
    run.wait_until(lambda: len(checkpoints(run.workdir)) > 1)
    run.kill()
    before = checkpoints(run.workdir)
    for step in before:
        truncate(largest_file(run.workdir / "checkpoints" / str(step)))
    metrics = (run.workdir / "metrics.jsonl").read_bytes()
    again = stage.start("all-damaged")
    codes = again.wait(expected=None)
    kept = checkpoints(run.workdir) == before and (
        metrics == (run.workdir / "metrics.jsonl").read_bytes()
    )
    best_model(run.workdir)
    return Report(
        "every checkpoint truncated",
        f"exit code {codes[0]}, nothing started anew, nothing removed",
        said(again, "^error:") + " …",
        "nothing" if kept and codes == [2] else f"kept {kept}, codes {codes}",
    )


def not_a_number(stage: Stage) -> Report:
    run = stage.start(
        "nan",
        "--config.optimizer.learning_rate=3e38",
        "--config.optimizer.warmup_steps=9",  # the first update is still finite
        "--config.train.log_every=1",
        "--config.train.checkpoint_every=1",
        "--config.optimizer.clip_norm=0.0",
    )
    codes = run.wait(expected=None)
    finite = [record["step"] for record in read_records(run.workdir)]
    there = checkpoints(run.workdir)
    good = (
        codes == [1]
        and finite == list(range(1, len(finite) + 1))
        and 0 < max(there, default=0) <= len(finite)
    )
    return Report(
        "the loss is not a number",
        f"exit code {codes[0]}; records of steps {finite} and checkpoints {there} are from before",
        said(run, "^error:"),
        "nothing" if good else "see the folder",
    )


def unreadable(stage: Stage) -> Report:
    folder = stage.folder / "unreadable"
    config, images = photographs(folder)
    truncate(images[7])
    images[23].write_bytes(b"")
    arguments = [f"--config={config}", f"--config.train.steps={stage.steps}"]
    refused = Processes(folder / "refused", arguments)
    codes = refused.wait(expected=None)
    named = all(name in refused.read_logs() for name in ("7.png", "--config.data.unreadable_share"))
    allowed = [*arguments, "--config.data.unreadable_share=0.06"]
    runs = {
        place: Processes(folder / f"allowed-{place[0]}", allowed, count=place[0], devices=place[1])
        for place in ((1, 1), (2, 1))
    }
    for run in runs.values():
        run.wait()
    one, two = (trained_on(run.workdir) for run in runs.values())
    told = said(runs[1, 1], "7.png")
    both = all(name in runs[1, 1].read_logs() for name in ("7.png", "23.png"))
    seen = {each // 2 for ids in one.values() for each in ids}  # two captions an image
    right = {7, 23}.isdisjoint(seen) and len(seen) == 38
    counted = codes == [2] and named and both and one == two and right
    return Report(
        "2 of 40 training images cannot be decoded",
        f"share 0.001: exit code {codes[0]}, named; share 0.06: trained on the other {len(seen)}, "
        "the same global batches in 1 and 2 processes",
        told,
        "nothing"
        if counted
        else f"codes {codes}, named {named}, both {both}, {one == two}, {right}",
    )


FAULTS: dict[str, Callable[[Stage], Report]] = {
    "sigterm": sigterm,
    "sigterm-2": sigterm_to_one_of_two,
    "kill": kill_while_saving,
    "full": full_disk,
    "quota": quota,
    "truncate": lambda stage: damaged(stage, "truncate", truncate),
    "garble": lambda stage: damaged(stage, "garble", garble),
    "all-damaged": all_damaged,
    "nan": not_a_number,
    "unreadable": unreadable,
    **ON_DISK,
}


def check(folder: Path, *, names: list[str], steps: int) -> list[Report]:
    config = write_config(folder, images=CAPTIONS)
    arguments = [f"--config={config}", f"--config.train.steps={steps}"]
    arguments += ["--config.evaluation.every=5", "--config.evaluation.images=16"]
    stage = Stage(folder, arguments, steps, folder / "quiet")
    stage.start("quiet").wait()
    reports = []
    for name in names:
        since = time.monotonic()
        report = FAULTS[name](stage)
        reports.append(report)
        print(f"{report.fault}: lost {report.lost} ({time.monotonic() - since:.0f} s)", flush=True)
    return reports


def table(reports: list[Report]) -> str:
    lines = ["| fault | what happened | what the user reads | lost |", "|---|---|---|---|"]
    for report in reports:
        cells = [str(value).replace("|", "/") for value in dataclasses.astuple(report)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", choices=tuple(FAULTS), default=None)
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--steps", type=int, default=40)
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="faults_"))
    reports = check(folder, names=options.only or list(FAULTS), steps=options.steps)
    print(table(reports))
    print(json.dumps({report.fault: report.lost for report in reports}))
    return 0 if all(report.lost == "nothing" for report in reports) else 1


if __name__ == "__main__":
    sys.exit(main())
