"""Kills a training run with SIGKILL again and again, and compares its end with a quiet run's.

    python tests/faults/kill_resume.py [--kills=5] [--steps=150] [--seed=0] [--folder=DIR]

The run renders scenes in two worker processes, shuffles, drops out, evaluates and saves
asynchronously. One kill waits for a checkpoint that is being written; the others come at random
steps. Prints one line a kill, then a JSON object; exits with 1 unless parameters, optimiser state,
progress and the losses of all steps are bit-identical to those of an uninterrupted run, and
`metrics.jsonl` has every step exactly once.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
TIMES = ("captions_per_second", "data_wait", "mfu", "teraflops_per_device")
"""What a record says about the machine, not about the run."""

CONFIG = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from capjax.config import *
from capjax.train.optimizer import OptimizerConfig
from capjax.train.plan import LoopConfig

def get_config():
    return ExperimentConfig(
        encoder=encoder_section("convnet", widths=(16, 32), residuals=(0, 0)),
        decoder=decoder_section("attention_lstm", hidden=256, attention=64, embedding=64,
                                output_dropout=0.5, embedding_dropout=0.3, hidden_dropout=0.2),
        data=DataConfig(name="scenes", train_images=500, validation_images=16, threshold=1,
                        workers=2),
        optimizer=OptimizerConfig(encoder_learning_rate=1e-3, clip_norm=5.0),
        train=LoopConfig(batch_size=16, checkpoint_every=7, log_every=3, progress=False),
        evaluation=EvaluationConfig(every=40, beam=1, batch_size=16, metric="BLEU-4"),
    )
"""


class Run:
    """A training run in a folder, started as often as it takes."""

    def __init__(self, folder: Path, config: Path, steps: int) -> None:
        self.folder = folder
        self.steps = steps
        self.command = [
            sys.executable,
            str(ROOT / "train.py"),
            f"--config={config}",
            f"--workdir={folder}",
            f"--config.train.steps={steps}",
        ]

    def start(self) -> None:
        """Starts or resumes it, in a process group of its own."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.log = (self.folder / "log.txt").open("a")
        self.process = subprocess.Popen(
            self.command, stdout=self.log, stderr=self.log, start_new_session=True
        )

    def finish(self) -> None:
        """Waits for its end, which must be a good one."""
        if self.process.wait() != 0:
            raise RuntimeError(f"the run failed; see {self.folder / 'log.txt'}")
        self.log.close()

    def kill(self) -> None:
        """SIGKILL to it and to its workers."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.log.close()

    def last_step(self) -> int:
        """The last step with a whole line in metrics.jsonl."""
        path = self.folder / "metrics.jsonl"
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        whole = [line for line in lines if line.endswith("\n")]
        return json.loads(whole[-1])["step"] if whole else 0

    def unfinished_saves(self) -> list[str]:
        """Names of checkpoints that are being written, or were when the writer died."""
        folder = self.folder / "checkpoints"
        return [path.name for path in folder.glob("*tmp*")] if folder.exists() else []

    def wait_until(self, ready) -> bool:
        """Polls `ready`; False if the run ended before."""
        while self.process.poll() is None:
            if ready():
                return True
            time.sleep(0.001)
        return False


def kill_at_random(run: Run, generator: random.Random, *, last: bool) -> None:
    """Starts the run and kills it at a random step after where it stands."""
    before = run.last_step()
    room = run.steps - before
    target = before + generator.randrange(1, max(2, room - 20 if last else room // 3))
    run.start()
    if not run.wait_until(lambda: run.last_step() >= target):
        raise RuntimeError(f"the run ended before step {target}; raise --steps")
    time.sleep(generator.random() * 0.2)
    run.kill()
    print(f"killed after step {run.last_step()} was written (aimed at {target})", flush=True)


def kill_while_saving(run: Run) -> None:
    """Starts the run and kills it while a checkpoint is being written."""
    while True:
        run.start()
        stale = frozenset(run.unfinished_saves())
        if not run.wait_until(lambda old=stale: set(run.unfinished_saves()) - old):
            raise RuntimeError("the run ended before a save was seen in flight; raise --steps")
        run.kill()
        left = run.unfinished_saves()
        if left:
            print(f"killed while saving {left}", flush=True)
            return
        print("the save was complete before the signal arrived; once more", flush=True)


def final_state(folder: Path) -> dict[str, np.ndarray]:
    """All arrays of the last checkpoint, and its progress as text, by name."""
    import jax
    import orbax.checkpoint as ocp

    manager = ocp.CheckpointManager(folder / "checkpoints", item_names=("state", "progress"))
    restored = manager.restore(
        manager.latest_step(),
        args=ocp.args.Composite(state=ocp.args.StandardRestore(), progress=ocp.args.JsonRestore()),
    )
    manager.close()
    arrays = {
        jax.tree_util.keystr(path): np.asarray(value)
        for path, value in jax.tree_util.tree_leaves_with_path(restored["state"])
    }
    progress = dict(restored["progress"])
    progress["record"] = without_times(progress["record"] or {})
    return {**arrays, "progress": np.array(json.dumps(progress, sort_keys=True))}


def without_times(record: dict) -> dict:
    return {name: value for name, value in record.items() if name not in TIMES}


def compare(quiet: Path, killed: Path, steps: int) -> dict:
    """What is equal between two finished runs."""
    one, other = final_state(quiet), final_state(killed)
    records = [
        [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        for folder in (quiet, killed)
    ]
    differing = [name for name in one if not np.array_equal(one[name], other[name])]
    return {
        "arrays": len(one) - 1,
        "differing": differing,
        "same_names": set(one) == set(other),
        "every_step_once": [record["step"] for record in records[1]] == list(range(1, steps + 1)),
        "same_records": [without_times(r) for r in records[0]]
        == [without_times(r) for r in records[1]],
    }


def check(folder: Path, *, kills: int, steps: int, seed: int) -> dict:
    """Runs once in peace and once under fire; returns the comparison with its verdict."""
    generator = random.Random(seed)
    config = folder / "scenes_under_fire.py"
    config.write_text(CONFIG)
    quiet, killed = (Run(folder / name, config, steps) for name in ("quiet", "killed"))
    quiet.start()
    quiet.finish()
    saving = generator.randrange(kills)
    for number in range(kills):
        if number == saving:
            kill_while_saving(killed)
        else:
            kill_at_random(killed, generator, last=number == kills - 1)
    killed.start()
    killed.finish()
    result = compare(quiet.folder, killed.folder, steps)
    same = result["same_names"] and result["same_records"] and not result["differing"]
    return {"kills": kills, **result, "passed": same and result["every_step_once"]}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=None)
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="kill_resume_"))
    folder.mkdir(parents=True, exist_ok=True)
    result = check(folder, kills=options.kills, steps=options.steps, seed=options.seed)
    print(json.dumps(result))
    return 0 if result["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())
