"""One training step on 1 device, on 8 virtual ones, and in 2 processes: the same loss.

    python tests/faults/devices.py [--steps=50] [--kind=soft|hard] [--folder=DIR]

For soft and for hard attention, with dropout: the largest difference of the loss to that of one
device over all updates, and whether the global batches were the same. Exits with 1 above 1e-5.
Hard attention draws positions: where rounding decides between two, two runs go apart from then on.
At ten times the learning rate used here those of two processes did so at update 32, by up to 7e-5.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.faults.runs import (
    Processes,
    every_caption_once,
    read_records,
    trained_on,
    write_config,
)

CAPTIONS = 240
KINDS = {
    "soft": [],
    "hard": [
        "--config.decoder.hard=True",
        "--config.loss.doubly_stochastic=0.0",
        "--config.optimizer.learning_rate=4e-4",
        "--config.optimizer.encoder_learning_rate=2e-4",
    ],
}
PLACES = {"1 process x 1": (1, 1), "1 x 8": (1, 8), "2 x 1": (2, 1), "2 x 4": (2, 4)}
TOLERANCE = 1e-5


def losses(folder: Path) -> list[float]:
    return [record["loss"] for record in read_records(folder)]


def check(folder: Path, *, steps: int, kinds: list[str]) -> dict:
    """Largest difference of the loss by kind and place."""
    config = write_config(folder, images=CAPTIONS)
    rows: dict = {}
    for kind in kinds:
        for place, (count, devices) in PLACES.items():
            workdir = folder / f"{kind}-{count}-{devices}"
            arguments = [f"--config={config}", f"--config.train.steps={steps}", *KINDS[kind]]
            Processes(workdir, arguments, count=count, devices=devices).wait()
            first = folder / f"{kind}-1-1"
            differences = [abs(a - b) for a, b in zip(losses(first), losses(workdir), strict=True)]
            rows[f"{kind}, {place}"] = {
                "updates": len(differences),
                "first_loss": losses(workdir)[0],
                "last_loss": losses(workdir)[-1],
                "largest_difference": max(differences),
                "same_batches": trained_on(first) == trained_on(workdir),
                **every_caption_once(trained_on(workdir), captions=CAPTIONS),
            }
            print(f"{kind}, {place}: {json.dumps(rows[f'{kind}, {place}'])}", flush=True)
    return rows


def passed(rows: dict) -> bool:
    return all(
        row["largest_difference"] <= TOLERANCE
        and row["same_batches"]
        and row["twice"] == row["missed"] == 0
        for row in rows.values()
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--kind", choices=tuple(KINDS), default=None)
    parser.add_argument("--folder", type=Path, default=None)
    options = parser.parse_args()
    kinds = [options.kind] if options.kind else list(KINDS)
    folder = options.folder or Path(tempfile.mkdtemp(prefix="devices_"))
    return 0 if passed(check(folder, steps=options.steps, kinds=kinds)) else 1


if __name__ == "__main__":
    sys.exit(main())
