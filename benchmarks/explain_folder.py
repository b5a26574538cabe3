"""Images a second of explain.py over a folder, strips included, and whether memory stays flat.

    python benchmarks/explain_folder.py --model=DIR_OR_NAME --images=FOLDER [--methods=…] [--save]

Runs the real command in a process of its own and samples the resident memory of it and all its
descendants. Memory counts from the first result on (before that, programs are compiled); the ratio
is the peak of the first half of the images over that of the second, at least 0.95 when flat.
Linux only.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from protocol import argument_parser, report

ROOT = Path(__file__).resolve().parents[1]


def resident_bytes(root: int) -> int:
    """Resident memory of a process and its descendants."""
    parents, resident = {}, {}
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            entries = dict(
                line.split(":", 1) for line in status.read_text().splitlines() if ":" in line
            )
        except OSError:
            continue  # it has ended
        process = int(status.parent.name)
        parents[process] = int(entries["PPid"])
        resident[process] = int(entries.get("VmRSS", "0 kB").split()[0]) * 1024
    family, before = {root}, set()
    while family != before:
        before = set(family)
        family |= {process for process, parent in parents.items() if parent in family}
    return sum(resident.get(process, 0) for process in family)


def main() -> None:
    """Runs the command once and reports."""
    parser = argument_parser(__doc__)
    parser.add_argument("--model", required=True, help="what explain.py loads")
    parser.add_argument("--images", required=True, help="a folder")
    parser.add_argument("--methods", default="attention", help="of explain.py")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        command = [sys.executable, "explain.py", f"--out={out}", f"--methods={options.methods}"]
        command += [f"--model={options.model}", f"--images={options.images}"]
        started = time.perf_counter()
        process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
        samples = []  # (images done, bytes)
        results = out / "results.jsonl"
        while process.poll() is None:
            done = results.read_bytes().count(b"\n") if results.exists() else 0
            samples.append((done, resident_bytes(process.pid)))
            time.sleep(0.5)
        seconds = time.perf_counter() - started
        total = results.read_bytes().count(b"\n")
    if process.returncode not in (0, 3):
        raise SystemExit(f"explain.py ended with exit code {process.returncode}")
    first = max(size for done, size in samples if 0 < done <= total / 2)
    second = max(size for done, size in samples if done > total / 2)
    report(
        "explain_folder",
        ratios={"memory_first_half": first / second},
        figures={
            "images": total,
            "images_per_s": total / seconds,
            "peak_first_half_MB": first / 1e6,
            "peak_second_half_MB": second / 1e6,
        },
        save=options.save,
    )


if __name__ == "__main__":
    main()
