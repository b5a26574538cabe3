"""Kills a run of 2 processes x 4 virtual devices and resumes it on 1 process x 2 devices.

    python tests/faults/resume_elsewhere.py [--steps=300] [--seeds=3] [--folder=DIR]

One process is killed with SIGKILL in the middle of an epoch, then the other. Beside it, as many
uninterrupted runs of one process as there are seeds. Prints a JSON object with the validation
scores and how often captions were seen; exits with 1 unless the resumed run's score lies within the
others' range and every caption was seen once in every epoch.
"""

import argparse
import json
import signal
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.faults.runs import (
    Processes,
    checkpoints,
    every_caption_once,
    last_step,
    read_records,
    read_scores,
    trained_on,
    write_config,
)

CAPTIONS = 240
METRIC = "BLEU-4"


def kill_one_then_both(run: Processes, *, after: int) -> dict:
    """Waits for a step, kills the second process, later the first; what was seen meanwhile."""
    run.wait_until(lambda: last_step(run.workdir) >= after)
    run.send(signal.SIGKILL, 1)
    killed = time.monotonic()
    time.sleep(2)
    alive = run.running[0].poll() is None
    run.kill()
    return {
        "killed_after_step": last_step(run.workdir),
        "other_alive_after_2_s": alive,
        "seconds_until_both_dead": round(time.monotonic() - killed, 1),
        "checkpoints": checkpoints(run.workdir),
    }


def check(folder: Path, *, steps: int, seeds: int) -> dict:
    config = write_config(folder, images=CAPTIONS)
    arguments = [f"--config={config}", f"--config.train.steps={steps}"]
    moved = folder / "moved"
    first = Processes(moved, arguments, count=2, devices=4)
    events = kill_one_then_both(first, after=steps // 2 - 3)
    Processes(moved, arguments, count=1, devices=2).wait()
    quiet = []
    for seed in range(seeds):
        workdir = folder / f"quiet-{seed}"
        Processes(workdir, [*arguments, f"--config.seed={seed}"], count=1, devices=1).wait()
        quiet.append(read_scores(workdir)[METRIC])
    score = read_scores(moved)[METRIC]
    same = folder / "quiet-0"
    losses = zip(read_records(same), read_records(moved), strict=True)
    result = {
        **events,
        "metric": METRIC,
        "uninterrupted": quiet,
        "resumed": score,
        "within_spread": min(quiet) <= score <= max(quiet),
        "largest_loss_difference_to_seed_0": max(abs(a["loss"] - b["loss"]) for a, b in losses),
        "steps_once": [r["step"] for r in read_records(moved)] == list(range(1, steps + 1)),
        "same_batches_as_seed_0": trained_on(moved) == trained_on(same),
        **every_caption_once(trained_on(moved), captions=CAPTIONS),
    }
    counted = result["steps_once"] and result["same_batches_as_seed_0"]
    result["passed"] = bool(
        result["within_spread"] and counted and result["twice"] == result["missed"] == 0
    )
    return result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=None)
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="resume_elsewhere_"))
    result = check(folder, steps=options.steps, seeds=options.seeds)
    print(json.dumps(result))
    return 0 if result["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())
