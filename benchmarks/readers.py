"""Photographs read and prepared a second: threads of the process against processes of their own.

    python benchmarks/readers.py --images=FOLDER [--count=240] [--rounds=5] [--save]

Both read with `capjax.data.pictures.given.read_picture`, as explain.py does, as many at once, up to
64 ahead; processes hand pictures over pickled. `…_own_ms` is the processor time that this process
spends on an image: of threads all that there is, of processes what taking pictures from them costs.
Pillow lets other threads run while it decodes and resizes, so what limits threads is the rest:
`locked_ms`, by a profile of one thread.
"""

from __future__ import annotations

import cProfile
import functools
import multiprocessing
import pstats
import time
from collections.abc import Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

from protocol import argument_parser, report, time_in_turn

from capjax.data.pictures.given import Picture, read_picture
from capjax.folder.reading import Queue, ahead
from capjax.runtime.process import cores
from capjax.types import Preprocessing

PREPROCESSING = Preprocessing((224, 224))
AHEAD = 64


def read(path: str) -> Picture:
    """One photograph."""
    return read_picture(path, PREPROCESSING)


def read_all(pool: Executor, paths: Sequence[str]) -> None:
    """All of them, each kept until 64 more are asked for."""
    for _ in ahead(pool, read, paths, Queue(AHEAD)):
        pass


def locked_share(paths: Sequence[str]) -> float:
    """Of the time of one thread, what is not Pillow's decoding and resizing."""
    profile = cProfile.Profile(time.thread_time)
    profile.runcall(lambda: [read(path) for path in paths])
    free = sum(
        own[2]
        for (_, _, name), own in pstats.Stats(profile).stats.items()  # type: ignore[attr-defined]
        if "'decode' of 'ImagingDecoder'" in name or "'resize' of 'ImagingCore'" in name
    )
    began = time.thread_time()
    for path in paths:
        read(path)
    return 1 - free / (time.thread_time() - began)


def main() -> None:
    """Times both and prints the result."""
    parser = argument_parser(__doc__)
    parser.add_argument("--images", required=True, help="a folder of JPEG files")
    parser.add_argument("--count", type=int, default=240, help="photographs a call")
    flags = parser.parse_args()
    paths = sorted(map(str, Path(flags.images).glob("*.jpg")))[: flags.count]
    count = max(2, cores())
    own: dict[str, float] = {}

    def measured(name: str, pool: Executor) -> None:
        began = time.process_time()
        read_all(pool, paths)
        own[name] = 1e3 * (time.process_time() - began) / len(paths)

    context = multiprocessing.get_context("spawn")
    with ThreadPoolExecutor(count) as threads, ProcessPoolExecutor(count, context) as processes:
        pools: dict[str, Executor] = {"threads": threads, "processes": processes}
        seconds = time_in_turn(
            {name: functools.partial(measured, name, pool) for name, pool in pools.items()},
            rounds=flags.rounds,
            warmup=1,
        )
    report(
        "readers",
        ratios={"processes": seconds["processes"] / seconds["threads"]},
        figures={
            "at_once": count,
            **{f"{name}_images_per_s": len(paths) / own for name, own in seconds.items()},
            **{f"{name}_own_ms": value for name, value in own.items()},
            "locked_ms": locked_share(paths) * own["threads"],
        },
        save=flags.save,
    )


if __name__ == "__main__":
    main()
