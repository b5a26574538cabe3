"""Starts training runs of one or several processes, and reads what they leave behind."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TRACED = ROOT / "tests" / "faults" / "traced.py"

SCENES = """
import sys
sys.path.insert(0, {root!r})
from capjax.config import *
from capjax.train.objectives.losses import LossConfig
from capjax.train.optimizer import OptimizerConfig
from capjax.train.plan import LoopConfig

def get_config():
    return ExperimentConfig(
        encoder=encoder_section("convnet", widths=(16, 32), residuals=(0, 0)),
        decoder=decoder_section("attention_lstm", hidden=64, attention=32, embedding=32,
                                output_dropout=0.5, embedding_dropout=0.3, hidden_dropout=0.2),
        data=DataConfig(name="scenes", train_images={images}, validation_images=64, threshold=1),
        loss=LossConfig(doubly_stochastic_reduce="mean"),
        optimizer=OptimizerConfig(learning_rate=4e-3, encoder_learning_rate=2e-3, clip_norm=5.0),
        train=LoopConfig(batch_size=16, checkpoint_every=10, log_every=5, progress=False),
        evaluation=EvaluationConfig(every=10**6, beam=1, batch_size=64, metric="BLEU-4"),
    )
"""


def write_config(folder: Path, *, images: int = 240) -> Path:
    """A small captioner of scenes that learns in a few minutes; its file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "scenes_small.py"
    path.write_text(SCENES.format(root=str(ROOT), images=images))
    return path


def photographs(folder: Path) -> tuple[Path, list[Path]]:
    """Twelve small pictures with captions, and a config that trains on them."""
    from tests.train.tiny import write_dataset

    root = write_dataset(folder / "data", train=40, validation=4)
    config = folder / "photographs.py"
    config.write_text(
        write_config(folder)
        .read_text()
        .replace(
            'DataConfig(name="scenes", train_images=240, validation_images=64, threshold=1)',
            f"DataConfig(root={str(root)!r}, threshold=1, image_size=32, keep_megabytes=0)",
        )
    )
    images = root / "flickr8k" / "images"
    return config, [images / f"{number}.png" for number in range(40)]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


class Processes:
    """A run of `count` processes with `devices` virtual processors each."""

    def __init__(
        self,
        workdir: Path,
        arguments: Sequence[str],
        *,
        count: int = 1,
        devices: int = 1,
        each: Sequence[Sequence[str]] = (),
    ) -> None:
        """Starts them; `each` has more arguments for the process of its number."""
        workdir.mkdir(parents=True, exist_ok=True)
        self.workdir = workdir
        own = {name: value for name, value in os.environ.items() if name != "CAPJAX_DATA"}
        own |= {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": str(devices)}
        port = free_port()
        self.logs = [workdir / f"log-{number}.txt" for number in range(count)]
        self.running = []
        for number, log in enumerate(self.logs):
            command = [sys.executable, str(TRACED), str(workdir / "trace"), "--"]
            command += [f"--workdir={workdir}", *arguments]
            if count > 1:
                command += ["--distributed", f"--coordinator=127.0.0.1:{port}"]
                command += [f"--processes={count}", f"--process={number}"]
            command += each[number] if each else []
            with log.open("a") as stream:
                self.running.append(
                    subprocess.Popen(
                        command, stdout=stream, stderr=stream, env=own, start_new_session=True
                    )
                )

    def wait(self, *, expected: int | None = 0, seconds: float = 900) -> list[int]:
        """Exit codes; an unexpected one, or a run that does not end, is an error with its log."""
        deadline = time.monotonic() + seconds
        try:
            codes = [each.wait(max(1.0, deadline - time.monotonic())) for each in self.running]
        except subprocess.TimeoutExpired:
            self.kill()
            raise RuntimeError(f"no end within {seconds} s:\n{self.read_logs()}") from None
        if expected is not None and set(codes) != {expected}:
            raise RuntimeError(f"exit codes {codes}, expected {expected}:\n{self.read_logs()}")
        return codes

    def send(self, number: signal.Signals, process: int) -> None:
        """A signal to one process and, for SIGKILL, to its workers."""
        if number == signal.SIGKILL:
            os.killpg(self.running[process].pid, number)
        else:
            self.running[process].send_signal(number)

    def kill(self) -> None:
        """SIGKILL to all that are left."""
        for process in self.running:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def wait_until(self, ready, *, seconds: float = 600) -> None:
        """Polls `ready`; an error if a process ended before, or nothing happened for so long."""
        deadline = time.monotonic() + seconds
        while not ready():
            if any(each.poll() is not None for each in self.running):
                raise RuntimeError(f"a process ended too early:\n{self.read_logs()}")
            if time.monotonic() > deadline:
                raise RuntimeError(f"nothing happened for {seconds} s:\n{self.read_logs()}")
            time.sleep(0.02)

    def read_logs(self) -> str:
        return "\n".join(f"== {log.name}\n{log.read_text()[-4000:]}" for log in self.logs)


def last_step(workdir: Path) -> int:
    """The last step with a whole line in metrics.jsonl."""
    records = read_records(workdir)
    return records[-1]["step"] if records else 0


def read_records(workdir: Path) -> list[dict]:
    path = workdir / "metrics.jsonl"
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def read_scores(workdir: Path) -> dict:
    return json.loads((workdir / "validation.json").read_text())


def checkpoints(workdir: Path) -> list[int]:
    """Steps of the complete checkpoints."""
    folder = workdir / "checkpoints"
    found = folder.iterdir() if folder.exists() else []
    return sorted(int(path.name) for path in found if path.name.isdigit())


def trained_on(workdir: Path) -> dict[int, list[int]]:
    """The ids of each update's global batch, in order; of updates done twice, the same ids twice.

    Raises:
      AssertionError: processes overlap, or an update done again after a fault had other captions.
    """
    attempts: dict[tuple[int, int], dict[int, list[int]]] = {}
    for path in sorted(workdir.glob("trace-*")):
        for text in path.read_text().splitlines(keepends=True):
            if text.endswith("\n"):
                line = json.loads(text)
                parts = attempts.setdefault((line["step"], line["of"]), {})
                known = parts.setdefault(line["process"], line["id"])
                assert known == line["id"], f"update {line['step']} had other captions before"
    batches: dict[int, list[int]] = {}
    for (step, count), parts in sorted(attempts.items()):
        if len(parts) == count:
            ids = [each for process in range(count) for each in parts[process]]
            assert batches.setdefault(step, ids) == ids, f"update {step}: other captions before"
    return batches


def every_caption_once(batches: dict[int, list[int]], *, captions: int) -> dict[str, int]:
    """How often the captions of whole epochs were seen.

    Returns:
      epochs: whole ones; twice, missed: captions seen more than once or never in one, summed.
    """
    stream = [each for step in range(1, len(batches) + 1) for each in batches[step]]
    epochs = len(stream) // captions
    twice = missed = 0
    for epoch in range(epochs):
        own = stream[epoch * captions : (epoch + 1) * captions]
        missed += captions - len(set(own))
        twice += len(own) - len(set(own))
    return {"epochs": epochs, "twice": twice, "missed": missed}
