"""How fast `explain.py` would be on chips that are not here, and what would bound it.

    python explain.py --model=MODEL --images=FOLDER --out=… --methods=… --estimate=HERE.json
    make accelerators
    .venv-accelerators/bin/python benchmarks/on_paper.py --model=MODEL --methods=… \\
        [--estimate=HERE.json …] [--targets=v5e,h200] [--batch=64] [--chips=1,8,64,512]
        [--images=100000000] [options of explain.py about captions and precision] [--save]

The programs that `explain.py` would run for this captioner and these methods are compiled for each
chip, and their times estimated (`accelerator/folder.py`, `accelerator/estimate.py`); images and
results cross the host's link at `--link`, and a GPU starts a kernel every `--start`. With the
figures of `--estimate`, measured here, follow the cores that reading and writing would keep busy,
what bounds a machine, and whole runs on many chips by simulation (`accelerator/simulation.py`);
several files, as of several formats of results, are told of one after the other. Nothing runs, and
every figure is an estimate.

One process serves one chip, with that chip's share of its host's cores. These are taken to work
side by side: processes that read and write do, threads of one as far as Python's lock lets them.
Storage and network are taken to keep up; what they would have to carry is printed.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(1, str(Path(__file__).resolve().parents[1]))  # this capjax; none is installed

from accelerator.estimate import Estimate, estimate
from accelerator.folder import Step, folder_steps
from accelerator.program import size_of
from accelerator.simulation import Fleet, Line, simulate_fleet
from accelerator.targets import TARGETS, Target, only_compile
from accelerators import chosen
from protocol import argument_parser, report

from capjax.captioner import Captioner, captioner_folder, load_captioner
from capjax.decoding.options import add_decoding_options, chosen_decoding, reading_as
from capjax.explainers.language.program import check_language
from capjax.explainers.options import add_method_options, chosen_methods
from capjax.explainers.wording import USUAL_TOKENS
from capjax.runtime.command_line import add_precision_option, at_least_one

CORES = {"v5e": 224 / 8, "v6e": 180 / 8, "h200": 192 / 8}
"""Of the host, a chip: ct5lp-hightpu-8t and ct6e-standard-8t of Google, p5en.48xlarge of Amazon."""

COMPILERS = {"tpu": "libtpu", "cuda": "jax_cuda12_plugin"}


def main() -> None:
    """Compiles, simulates and reports."""
    flags = parse()
    targets = chosen(flags.targets, TARGETS, "target")
    for name in targets:
        check_compiler(TARGETS[name])
    only_compile()
    measured = {path.stem: json.loads(path.read_text()) for path in flags.estimate}
    longest = max((own["tokens"] for own in measured.values()), default=USUAL_TOKENS)
    steps = wanted_steps(flags, longest)
    figures: dict[str, float] = {}
    for name in targets:
        seconds = device_seconds(steps, TARGETS[name], flags)
        figures[f"{name}_images_per_s"] = flags.batch / seconds
        for kind, own in measured.items():
            there = flags.cores or CORES[name]
            line = line_of(own, flags, seconds, there)
            print(f" {kind}\n{bounds(line, flags, own)}\n{machine(line, flags, own, there)}")
            label = f"{name}_{kind}"
            figures |= {f"{label}_{key}": value for key, value in cores(line, flags, own).items()}
            rows, rates = fleet_rows(line, flags, own)
            print("\n".join(rows), flush=True)
            figures |= {f"{label}_{chips}_images_per_s": rate for chips, rate in rates.items()}
    device = f"none: estimated for {', '.join(targets)} by their compilers"
    report("on_paper", ratios={}, figures=figures, save=flags.save, device=device)


def parse() -> Any:
    """The command line."""
    parser = argument_parser(__doc__, timed=False)
    add = parser.add_argument
    add("--model", required=True, help="a saved model, or the name of a shipped one")
    add_method_options(add, "attention")
    add_precision_option(add)
    add_decoding_options(parser)
    add("--no-visual-information", dest="visual_information", action="store_false")
    estimate = "what explain.py --estimate=FILE wrote; may be repeated"
    add("--estimate", type=Path, action="append", default=[], help=estimate)
    add("--targets", default="v5e,h200", help="chips, comma-separated")
    add("--batch", type=at_least_one, default=64, help="images of a batch, of one chip")
    add("--chips", type=numbers, default=[1, 8, 64, 512], help="how many, comma-separated")
    add("--images", type=at_least_one, default=100_000_000, help="of the run")
    add("--cores", type=float, help="of the host, a chip (default: those of common machines)")
    add("--link", type=float, default=16.0, help="GB/s between host and chip (default 16)")
    add("--start", type=float, default=3.0, help="µs between kernels that a GPU starts (default 3)")
    add("--in-flight", type=at_least_one, default=2, help="batches given to the chip at once")
    add("--part", type=at_least_one, default=1024, help="images of a part, a file of results each")
    add("--closing", type=float, default=0.0, help="seconds of a core to close the file of a part")
    add("--failures", type=float, default=0.01, help="of a process in an hour")
    add("--recording", type=float, default=0.0, help="seconds an image of one recording process")
    return parser.parse_args()


def numbers(text: str) -> list[int]:
    """Whole numbers with commas between them."""
    return [at_least_one(own) for own in text.split(",")]


def check_compiler(target: Target) -> None:
    """Ends with a message where the chip's compiler is not installed."""
    if importlib.util.find_spec(COMPILERS[target.platform]) is None:
        raise SystemExit(
            f"the compiler for {target.name} is not installed in this environment; run `make "
            "accelerators` and take .venv-accelerators/bin/python"
        )


def wanted_steps(flags: Any, tokens: int) -> list[Step]:
    """The programs of a batch as `explain.py` would run them with these options."""
    captioner = reading_as(flags, saved(flags.model)).in_precision(flags.precision)
    decoding, max_len = chosen_decoding(flags, captioner)
    return folder_steps(
        captioner,
        flags.batch,
        methods=chosen_methods(flags, captioner),
        decoding=decoding,
        max_len=max_len,
        tokens=tokens,
        language=check_language(captioner, (), visual_information=flags.visual_information),
    )


def saved(name: str) -> Captioner:
    """A saved captioner; those of training workdirs need packages that no compiler needs."""
    folder = captioner_folder(name)
    if folder is None:
        raise SystemExit(f"--model={name} is no saved model and no shipped one; save it first")
    return load_captioner(folder)


def device_seconds(steps: Sequence[Step], target: Target, flags: Any) -> float:
    """Of a batch: its programs, and its way to the chip and back; prints them one by one."""
    print(f"\n{target.name}, batches of {flags.batch} images", flush=True)
    seconds, most = 0.0, 0
    for step in steps:
        found = estimate(step.program, target)
        own = with_starts(found, flags.start)
        seconds += own
        most = max(most, found.temporary + size_of(step.program.arguments))
        share = found.at_peak / own
        started = ""
        if target.platform == "cuda":
            started = f", {1e3 * found.seconds:.2f} ms without starting {found.started:,} kernels"
        print(
            f"  {1e3 * own:8.2f} ms  {step.program.name} ({step.program.about}): "
            f"{found.operations / 1e9:,.0f} GFLOP, {share:.2f} of the peak{started}",
            flush=True,
        )
    sent, fetched = sum(step.sent for step in steps), sum(step.fetched for step in steps)
    crossing = (sent + fetched) / (1e9 * flags.link)
    print(f"  {1e3 * crossing:8.2f} ms  to send {sent / 1e6:.1f} MB, fetch {fetched / 1e6:.1f} MB")
    seconds += crossing
    print(f"  {flags.batch / seconds:,.0f} images a second; memory {most / 1e9:.1f} GB", flush=True)
    if most > target.memory:
        there = f"{target.memory / 1e9:.0f} GB"
        raise SystemExit(f"{target.name} has {there}: give a smaller --batch than {flags.batch}")
    return seconds


def with_starts(found: Estimate, start: float) -> float:
    """Seconds of a program; on a GPU no kernel ends sooner than the next can be started.

    Args:
        found: the program.
        start: microseconds from one start to the next.
    """
    least = 1e-6 * start if found.target.platform == "cuda" else 0.0
    return sum(
        max(cost.seconds, cost.executed.times * least) for cost in (*found.costs, *found.kernels)
    )


def line_of(measured: Mapping[str, Any], flags: Any, seconds: float, own: float) -> Line:
    """The process of one chip with so many cores: one feeds it, the others read and write."""
    each = measured["processor_seconds"]
    closing = flags.closing / flags.part
    read, write = each["decode"], each["write"]
    readers = (own - 1 - closing) * read / (read + write)
    return Line(
        batch=flags.batch,
        read=read,
        readers=max(1, round(readers)),
        device=seconds,
        feed=each["fetch"] * flags.batch,
        write=write,
        writers=max(1, int(own) - 1 - max(1, round(readers))),
        in_flight=flags.in_flight,
    )


def cores(line: Line, flags: Any, measured: Mapping[str, Any]) -> dict[str, float]:
    """Of the host, that would keep the chip busy, by what they do."""
    rate = line.batch / line.device
    each = measured["processor_seconds"]
    kinds = {"reading": "decode", "taking_in": "fetch", "writing": "write"}
    own = {f"cores_{name}": rate * each[stage] for name, stage in kinds.items()}
    return own | {"cores_closing": rate * flags.closing / flags.part}


def limits(line: Line, flags: Any) -> dict[str, float]:
    """Images a second of each stage of a process, were the others free."""
    closing = {"close": flags.part / flags.closing} if flags.closing else {}
    return line.limits() | closing


def bounds(line: Line, flags: Any, measured: Mapping[str, Any]) -> str:
    """What a chip needs beside it, and what bounds its machine."""
    wanted = cores(line, flags, measured)
    stages = limits(line, flags)
    first = min(stages, key=lambda name: stages[name])
    each = ", ".join(f"{name} {rate:,.0f}" for name, rate in stages.items())
    carried = {way: stages[first] * measured[f"{way}_bytes"] / 1e6 for way in ("read", "written")}
    return (
        "  cores that would keep it busy: "
        + ", ".join(f"{value:.1f} {name[6:].replace('_', ' ')}" for name, value in wanted.items())
        + f"\n  images a second of each stage, {line.readers} cores reading and {line.writers} "
        f"writing: {each}; bound by: {first}\n"
        + "  storage carries "
        + ", ".join(f"{value:,.0f} MB/s {way}" for way, value in carried.items())
        + " for each chip"
    )


def machine(line: Line, flags: Any, measured: Mapping[str, Any], own: float) -> str:
    """Whether the chip or its share of the cores bounds a machine with enough processes a chip.

    Args:
        line, flags, measured: of one process.
        own: cores of the host, a chip.
    """
    chip = line.batch / line.device
    rate = chip * own / sum(cores(line, flags, measured).values())
    which = "the cores bound it" if rate < chip else "the chip bounds it"
    return (
        f"  a machine with as many processes as it takes: its {own:g} cores a chip are enough for "
        f"{rate:,.0f} images a second, the chip for {chip:,.0f}: {which}"
    )


def fleet_rows(
    line: Line, flags: Any, measured: Mapping[str, Any]
) -> tuple[list[str], dict[int, float]]:
    """A table of whole runs, and their images a second by number of chips."""
    limit = min(limits(line, flags).values())
    rows = [f"  {'chips':>5} {'images/s':>10} {'hours':>7} of the limit  restarts  parts again"]
    rates = {}
    for chips in flags.chips:
        fleet = Fleet(
            line,
            chips,
            flags.part,
            closing=flags.closing,
            ready=measured["ready_seconds"],
            failures=flags.failures,
            recording=flags.recording,
        )
        found = simulate_fleet(fleet, flags.images)
        rates[chips] = flags.images / found.seconds
        rows.append(
            f"  {chips:5} {rates[chips]:10,.0f} {found.seconds / 3600:7.2f} "
            f"{rates[chips] / (chips * limit):12.2f} {found.restarts:9} {found.again:12}"
        )
    return rows, rates


if __name__ == "__main__":
    main()
