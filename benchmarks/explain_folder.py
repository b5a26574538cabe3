"""Images a second of explain.py over a folder, and where its time and memory go. Linux only.

    python benchmarks/explain_folder.py --model=DIR_OR_NAME --images=FOLDER [--count=600]
        [--methods=attention,caption_guided,gradcam] [--out=FOLDER] [--save]
        [-- OPTIONS_OF_EXPLAIN.PY]

Runs the real command in a process of its own, strips, report and --profile included, over --count
photographs: the folder's, again under other names where it has fewer. Ratios:

    bound       images a second while it explains, over those that --estimate promises of its stages
                measured alone, the mean of once before and once after; goal 0.85 and more
    accounted   share of its time that the stages of --profile account for; goal 0.95 and more
    memory      peak of it and all its descendants over the first half of the images, over that of
                the second; goal 0.95 and more. Counted from the first result on, when programs are
                compiled
    linear      R² of a straight line through (images done, seconds), behind the first third, in
                which programs are compiled and steps are traced
    linear_in_processor_time
                the same of seconds of processor time, which other work on the machine changes less

Figures: the line's images a second, and its milliseconds of processor time an image; images a
second of all (start, compilation, report included); seconds of each stage an image; memory when a
quarter, a half … of the images were done.
"""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from protocol import argument_parser, report

ROOT = Path(__file__).resolve().parents[1]
_STAGE = re.compile(r"^(\w+) +(-?[\d.]+) +(-?[\d.]+) %", re.MULTILINE)
_SPEED = re.compile(r"speed +([\d.e+]+) \w+ a second")


class Sample(NamedTuple):
    """What was seen at one moment.

    Attributes:
      seconds: since the start.
      done: images.
      bytes: resident.
      processor: seconds of processor time.
    """

    seconds: float
    done: int
    bytes: int
    processor: float


def used(root: int) -> tuple[int, float]:
    """Resident bytes and processor seconds of a process and its descendants."""
    parents: dict[int, int] = {}
    resident: dict[int, int] = {}
    spent: dict[int, float] = {}
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            entries = dict(
                line.split(":", 1) for line in status.read_text().splitlines() if ":" in line
            )
            # After the name, which may hold spaces: its own time, and that of children that ended.
            times = status.with_name("stat").read_text().rpartition(")")[2].split()[11:15]
        except OSError:
            continue  # it has ended
        process = int(status.parent.name)
        parents[process] = int(entries["PPid"])
        resident[process] = int(entries.get("VmRSS", "0 kB").split()[0]) * 1024
        spent[process] = sum(map(int, times)) / os.sysconf("SC_CLK_TCK")
    family, before = {root}, set()
    while family != before:
        before = set(family)
        family |= {process for process, parent in parents.items() if parent in family}
    return sum(resident.get(own, 0) for own in family), sum(spent.get(own, 0) for own in family)


def photographs(folder: Path, count: int, own: Path) -> None:
    """Fills a folder of one's own with so many photographs, as links."""
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".png"))
    own.mkdir()
    for number, path in enumerate(itertools.islice(itertools.cycle(found), count)):
        (own / f"{number:06d}{path.suffix.lower()}").symlink_to(path.resolve())


def explain(command: Sequence[str], out: Path) -> tuple[str, list[Sample]]:
    """What the command printed, and samples while it ran, one each half second."""
    results = out / "results.jsonl"
    samples = []
    started = time.perf_counter()
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    while process.poll() is None:
        done = results.read_bytes().count(b"\n") if results.exists() else 0
        samples.append(Sample(time.perf_counter() - started, done, *used(process.pid)))
        time.sleep(0.5)
    printed = process.communicate()[0]
    if process.returncode not in (0, 3):
        raise SystemExit(f"explain.py ended with exit code {process.returncode}")
    return printed, samples


def promised(command: Sequence[str]) -> float:
    """Images a second by --estimate."""
    done = subprocess.run(
        [*command, "--estimate"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    found = _SPEED.search(done.stdout)
    assert found is not None, done.stdout
    return float(found[1])


def line(samples: Sequence[Sample], clock: str = "seconds") -> tuple[float, float]:
    """Images a second of a clock, and R² of the line through moments when images became done."""
    third = samples[-1].done / 3
    moments = [now for before, now in itertools.pairwise(samples) if now.done > before.done > third]
    seconds, done = (np.array([getattr(own, name) for own in moments]) for name in (clock, "done"))
    slope, start = np.polyfit(done, seconds, 1)
    left = seconds - (slope * done + start)
    return 1 / slope, float(1 - left.var() / seconds.var())


def main() -> None:
    """Runs the command once, estimates before and after, and reports."""
    parser = argument_parser(__doc__, timed=False)
    parser.add_argument("--model", required=True, help="what explain.py loads")
    parser.add_argument("--images", required=True, help="a folder")
    parser.add_argument("--count", type=int, default=600, help="photographs to explain")
    parser.add_argument("--methods", default="attention,caption_guided,gradcam", help="of maps")
    parser.add_argument(
        "--out", help="a new folder that keeps the results (default: they are deleted)"
    )
    parser.add_argument("more", nargs="*", help="options of explain.py, behind --")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        own, out = Path(folder) / "photographs", Path(options.out or Path(folder) / "out")
        if out.exists():
            raise SystemExit(f"{out} is there already; give a new folder to --out")
        photographs(Path(options.images), options.count, own)
        command = [sys.executable, "explain.py", f"--model={options.model}", f"--images={own}"]
        command += [f"--out={out}", f"--methods={options.methods}", *options.more]
        before = promised(command)
        printed, samples = explain([*command, f"--profile={Path(folder) / 'trace'}"], out)
        after = promised(command)
    stages = {name: (float(spent), float(share)) for name, spent, share in _STAGE.findall(printed)}
    total = samples[-1].done
    rate, straight = line(samples)
    processed, straight_in_processor_time = line(samples, "processor")
    first = max(own.bytes for own in samples if 0 < own.done <= total / 2)
    second = max(own.bytes for own in samples if own.done > total / 2)
    quarters = {
        f"memory_at_{25 * part}_percent_MB": next(
            own.bytes / 1e6 for own in samples if own.done >= max(1, part * total / 4)
        )
        for part in range(5)
    }
    report(
        "explain_folder",
        ratios={
            "bound": rate / ((before + after) / 2),
            "accounted": 1 - stages["rest"][1] / 100,
            "memory": first / second,
            "linear": straight,
            "linear_in_processor_time": straight_in_processor_time,
        },
        figures={
            "images": total,
            "images_per_s": rate,
            "processor_ms_per_image": 1e3 / processed,
            "images_per_s_of_all": total / samples[-1].seconds,
            "promised_before_per_s": before,
            "promised_after_per_s": after,
            **{f"{name}_s_per_image": spent / total for name, (spent, _) in stages.items()},
            **quarters,
            "peak_MB": max(own.bytes for own in samples) / 1e6,
        },
        save=options.save,
    )


if __name__ == "__main__":
    main()
