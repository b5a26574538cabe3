"""What the accelerators' compilers make of the hot programs, on a machine that has none of them.

    make accelerators
    .venv-accelerators/bin/python benchmarks/accelerators.py [--programs=train_cached,…]
        [--targets=v5e,v6e,h200] [--dearest=10] [--texts=FOLDER] [--check] [--save]
    .venv-accelerators/bin/python benchmarks/accelerators.py --slice

Compiles each program for each chip and estimates its time: on a TPU by its compiler's cycles times
the trips of loops (`accelerator/tpu.py`), on a GPU by a roofline over the compiled kernels
(`accelerator/gpu.py`). Nothing runs, and every figure is an estimate. Printed for each: the
program's own operations, the time and its share of the limit (the longer of these operations at
peak and of the bytes that any form has to move), temporary memory, the largest buffers, and the
dearest instructions with the line of code that made them. A figure's ratio is the time in the last
saved line over the time now: above 1, capjax has become faster. With `--check` it ends with 1 when
a program has become more than 5 % dearer than that, or writes a buffer beyond its budget.

It needs the compilers, which an environment of its own holds with pinned versions
(`accelerators.txt`), so that they never meet the test suite and figures can be compared.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

sys.path.insert(1, str(Path(__file__).resolve().parents[1]))  # this capjax; none is installed

from accelerator.collectives import report_slice
from accelerator.estimate import Estimate, estimate
from accelerator.programs import PROGRAMS
from accelerator.targets import TARGETS, only_compile
from protocol import RESULTS, argument_parser, report

DEARER = 0.05
"""By how much a program may become dearer than its saved time."""


def main() -> None:
    """Compiles, estimates, compares and reports."""
    parser = argument_parser(__doc__, timed=False)
    parser.add_argument("--programs", default=",".join(PROGRAMS), help="names, comma-separated")
    parser.add_argument("--targets", default=",".join(TARGETS), help="chips, comma-separated")
    parser.add_argument("--dearest", type=int, default=10, help="instructions printed of each")
    parser.add_argument("--check", action="store_true", help="fail where a program has got worse")
    parser.add_argument("--texts", type=Path, help="folder to write the compiled texts to")
    parser.add_argument("--slice", action="store_true", help="list what 16 chips exchange")
    flags = parser.parse_args()
    only_compile()
    if flags.slice:
        sys.exit("\n".join(report_slice()) or 0)
    programs = chosen(flags.programs, PROGRAMS, "program")
    targets = chosen(flags.targets, TARGETS, "target")
    before = saved()
    ratios: dict[str, float] = {}
    figures: dict[str, float] = {}
    worse: list[str] = []
    for name in programs:
        program = PROGRAMS[name]()
        for chip in targets:
            found = estimate(program, TARGETS[chip])
            if flags.texts:
                flags.texts.mkdir(parents=True, exist_ok=True)
                (flags.texts / f"{name}_{chip}.txt").write_text(found.text, encoding="utf-8")
            print(described(found, flags.dearest), flush=True)
            label = f"{name}_{chip}"
            own = {f"{label}_{key}": value for key, value in found.figures().items()}
            figures |= own
            time = f"{label}_estimated_ms"
            if time in before:
                ratios[label] = before[time] / own[time]
            worse += found_worse(found, before.get(time))
    report(
        "accelerators",
        ratios=ratios,
        figures=figures,
        save=flags.save,
        device=f"none: estimated for {', '.join(targets)} by their compilers",
    )
    if flags.check and worse:
        sys.exit("\n".join(worse))


def found_worse(found: Estimate, before: float | None) -> list[str]:
    """What is wrong with a program, in sentences.

    Args:
        found: the program now.
        before: its saved time, in ms; None where it was never saved.
    """
    name = f"{found.program.name} for {found.target.name}"
    now = found.figures()["estimated_ms"]
    sentences = []
    if before is not None and now > (1 + DEARER) * before:
        sentences.append(f"{name} takes {now:.2f} ms, by estimate; it took {before:.2f} ms")
    for size, kind, where in found.buffers:
        if size > found.program.budget:
            sentences.append(
                f"{name} writes {kind} ({where}): {size / 1e6:.0f} MB, over its budget of "
                f"{found.program.budget / 1e6:.0f} MB for one buffer"
            )
    return sentences


def chosen(names: str, known: Mapping[str, object], kind: str) -> list[str]:
    """The names that are known; ends with a message where one is not."""
    found = [name for name in names.split(",") if name]
    for name in found:
        if name not in known:
            raise SystemExit(f"unknown {kind} {name!r}; choose among: {', '.join(known)}")
    return found


def saved() -> dict[str, float]:
    """The newest saved value of every figure."""
    path = RESULTS / "accelerators.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    found: dict[str, float] = {}
    for line in lines:
        found |= json.loads(line)["figures"]
    return found


def described(found: Estimate, dearest: int) -> str:
    """A paragraph on one program and chip."""
    figures = found.figures()
    limit = "products at peak" if found.at_peak >= found.moving else "memory"
    lines = [
        f"\n{found.program.name} for {found.target.name} ({found.program.about})",
        f"  {figures['own_gflop']:.0f} GFLOP, {1e3 * found.at_peak:.2f} ms at peak; "
        f"{1e3 * found.moving:.2f} ms to move what must be moved",
        f"  estimated {figures['estimated_ms']:.2f} ms: {figures['share_of_limit']:.2f} of its "
        f"limit ({limit}), {figures['share_of_peak']:.2f} of the peak",
        f"  {figures['temporary_mb']:.0f} MB temporary memory; largest buffers: "
        + "; ".join(f"{size / 1e6:.0f} MB {kind} ({where})" for size, kind, where in found.buffers),
    ]
    if found.target.platform == "cuda":
        lines.append(f"  {found.started} kernels are started, which is not part of the estimate")
    if found.kernels:
        lines.append(
            f"  {1e3 * sum(cost.seconds for cost in found.kernels):.2f} ms of it are custom "
            "kernels', by arithmetic and bytes, which no compiler estimates"
        )
    for cost in found.dearest(dearest):
        one = cost.executed.instruction
        kind = ", ".join(map(str, one.results[:3]))
        lines.append(
            f"  {1e3 * cost.seconds:8.3f} ms  {cost.executed.times:4} x {one.name} -> {kind}  "
            f"[{cost.bound}]  {found.module.line(one)}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
