"""How every benchmark here measures and reports.

Each candidate is warmed up (compilation and caches), then the candidates are timed in turn,
round after round, so that a change in the load of the machine touches all of them alike; the
median of the rounds counts. The last line printed is one JSON object:

    {"benchmark": …, "device": …, "jax": …, "ratios": {name: number}, "figures": {name: number}}

A ratio above 1 means that capjax is ahead; the name of a figure carries its unit.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax

RESULTS = Path(__file__).parent / "results"


def time_in_turn(
    candidates: Mapping[str, Callable[[], Any]], *, rounds: int = 5, warmup: int = 2
) -> dict[str, float]:
    """Median seconds of one call of each candidate.

    Args:
        candidates: Functions without arguments. JAX arrays in what they return are waited for;
            a candidate of another library waits for its own device.
        rounds: Timed calls of each candidate, interleaved.
        warmup: Untimed calls of each candidate before the first round.
    """
    for candidate in candidates.values():
        for _ in range(warmup):
            jax.block_until_ready(candidate())
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(rounds):
        for name, candidate in candidates.items():
            begin = time.perf_counter()
            jax.block_until_ready(candidate())
            seconds[name].append(time.perf_counter() - begin)
    return {name: statistics.median(values) for name, values in seconds.items()}


def device_name() -> str:
    """The device the figures belong to: the accelerator's kind, or the processor's cores."""
    device = jax.devices()[0]
    if device.platform != "cpu":
        return f"{device.device_kind} x{jax.device_count()}"
    usable = getattr(os, "sched_getaffinity", None)
    cores = len(usable(0)) if usable else os.cpu_count()
    return f"cpu, {cores} cores, {platform.machine()}"


def argument_parser(description: str | None, *, timed: bool = True) -> argparse.ArgumentParser:
    """The flags all benchmarks share: `--save` and, where something is timed, `--rounds`."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    if timed:
        parser.add_argument("--rounds", type=int, default=5, help="timed calls of each candidate")
    parser.add_argument(
        "--save", action="store_true", help="append the result to benchmarks/results/"
    )
    return parser


def report(
    benchmark: str,
    *,
    ratios: Mapping[str, float],
    figures: Mapping[str, float],
    save: bool,
    device: str | None = None,
) -> None:
    """Prints the result as one line of JSON, last; with `save` also appends it to the results.

    Args:
        benchmark: its name, and that of its file of results.
        ratios, figures: by name.
        save: whether to append.
        device: what the figures belong to; default: the one that ran.
    """
    result = {
        "benchmark": benchmark,
        "device": device or device_name(),
        "jax": jax.__version__,
        "ratios": {name: float(f"{value:.4g}") for name, value in ratios.items()},
        "figures": {name: float(f"{value:.4g}") for name, value in figures.items()},
    }
    if save:
        RESULTS.mkdir(exist_ok=True)
        dated = {**result, "date": time.strftime("%Y-%m-%d")}
        with (RESULTS / f"{benchmark}.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(dated) + "\n")
    print(json.dumps(result), flush=True)
