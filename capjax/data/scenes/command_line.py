"""The command line that writes rendered scenes, still or moving."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from capjax.data.scenes.still import SPLITS


def write_scenes(
    write: Callable[..., Path],
    arguments: Sequence[str] | None,
    *,
    module: str,
    description: str,
    kind: str,
    contents: str,
) -> int:
    """Writes a folder, says what is in it, and returns the exit code.

    Args:
      write: of a folder, a number, a split and a seed.
      arguments: of the command; None takes those of the process.
      module: that `python -m` runs.
      description: of what is written, a sentence.
      kind: what one entry is called, in the plural; the example writes into a folder of that name.
      contents: what the folder holds, with `SPLIT` where its name belongs.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m {module}",
        description=description,
        epilog=f"example: python -m {module} --out {kind} --n 64 --split val",
    )
    parser.add_argument("--out", required=True, help="folder to write into")
    parser.add_argument("--n", type=int, default=64, help=f"number of {kind} (default: 64)")
    parser.add_argument("--split", choices=SPLITS, default="val", help="default: val")
    parser.add_argument("--seed", type=int, default=0, help=f"other seeds give other {kind}")
    options = parser.parse_args(arguments)
    if options.n < 1 or options.seed < 0:
        parser.error(f"--n must be 1 or more and --seed 0 or more; got {options.n}, {options.seed}")
    folder = write(options.out, options.n, options.split, seed=options.seed)
    print(f"{folder}: {options.n} {kind} in {contents.replace('SPLIT', options.split)}")
    return 0
