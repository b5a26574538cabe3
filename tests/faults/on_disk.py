"""What lies on disk is not what it was, or somebody else writes there too."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from capjax.runtime.locks import FILE, Holder
from tests.faults.runs import ROOT, Processes, checkpoints, last_step, photographs, trained_on
from tests.faults.stage import Report, Stage, said


def state_of(folder: Path) -> dict[Path, int]:
    """When each file of a workdir was written, logs and the trace of this test left out."""
    return {
        path: path.stat().st_mtime_ns
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(("log-", "trace-"))
    }


def lying_photographs(stage: Stage, name: str) -> tuple[Stage, Path, list[Path]]:
    """A stage that learns from cached features of uncompressed pictures; its data, its pictures."""
    from PIL import Image

    folder = stage.folder / name
    config, images = photographs(folder)
    for image in images:
        with Image.open(image) as picture:
            picture.load()
        picture.save(image, compress_level=0)
    arguments = [f"--config={config}", f"--config.train.steps={stage.steps}"]
    arguments += ["--config.optimizer.encoder_learning_rate=0.0"]
    quiet = Processes(folder / "quiet", arguments)
    quiet.wait()
    own = Stage(folder, arguments, stage.steps, folder / "quiet", captions=2 * len(images))
    return own, folder / "data", images


def refused_then_restored(
    stage: Stage, fault: str, change: Callable[[], None], restore: Callable[[], None], pattern: str
) -> Report:
    """A run is killed, something changes, the next start is refused; restored, it goes on."""
    run = stage.start("run")
    run.wait_until(lambda: len(checkpoints(run.workdir)) > 0)
    run.kill()
    before = state_of(run.workdir)
    change()
    again = stage.start("run")
    codes = again.wait(expected=None)
    kept = {
        **state_of(run.workdir),
        **{p: t for p, t in before.items() if p.name == FILE},
    } == before
    told = said(again, pattern)
    restore()
    stage.start("run").wait()
    lost = stage.lost(run.workdir)
    clear = codes == [2] and kept and "NOTHING" not in told
    return Report(
        fault,
        f"exit code {codes[0]}, nothing written; put back, resumed",
        told,
        lost if clear else f"codes {codes}, kept {kept}",
    )


def edited_captions(stage: Stage) -> Report:
    own, data, _ = lying_photographs(stage, "edited")
    file = data / "flickr8k" / "dataset_flickr8k.json"
    content = file.read_text()

    def change() -> None:
        file.write_text(content.replace("a red square", "a very red square", 1))

    return refused_then_restored(
        own, "captions edited between two starts", change, lambda: write(file, content), "captions"
    )


def write(file: Path, content: str) -> None:
    file.write_text(content)


def replaced_picture(stage: Stage) -> Report:
    own, _, images = lying_photographs(stage, "replaced")
    content, other = images[7].read_bytes(), images[8].read_bytes()
    assert len(content) == len(other) and content != other

    return refused_then_restored(
        own,
        "a picture replaced by one of equal size, features cached",
        lambda: (images[7].write_bytes(other), None)[1],
        lambda: (images[7].write_bytes(content), None)[1],
        "7.png",
    )


def two_trainings(stage: Stage) -> Report:
    run = stage.start("twice")
    run.wait_until(lambda: last_step(run.workdir) >= 5)
    second = stage.start("twice-second", f"--workdir={run.workdir}")
    codes = second.wait(expected=None)
    told = said(second, "^error:")
    run.wait()
    clear = codes == [2] and f"process {run.running[0].pid} on" in told
    return Report(
        "two train.py in one workdir",
        f"the second: exit code {codes[0]}; the first ran to its end",
        told,
        stage.lost(run.workdir) if clear else f"not clear: {codes}",
    )


def lock_left(stage: Stage) -> Report:
    run = stage.start("lock")
    run.wait_until(lambda: len(checkpoints(run.workdir)) > 0)
    run.kill()
    left = (run.workdir / FILE).exists()
    stage.start("lock").wait()
    gone = not (run.workdir / FILE).exists()
    return Report(
        "the lock of a run that was killed",
        "taken over by the next start",
        "(nothing: its process is dead)",
        stage.lost(run.workdir) if left and gone else f"left {left}, gone {gone}",
    )


def lock_of_another_host(stage: Stage) -> Report:
    run = stage.start("host")
    run.wait_until(lambda: len(checkpoints(run.workdir)) > 0)
    run.kill()
    leave_lock(run.workdir)
    refused = stage.start("host")
    codes = refused.wait(expected=None)
    told = said(refused, "^error:")
    stage.start("host", "--break-lock").wait()
    clear = codes == [2] and "on node7" in told and "--break-lock" in told
    return Report(
        "the lock of another host",
        f"exit code {codes[0]}; with --break-lock resumed",
        told,
        stage.lost(run.workdir) if clear else f"not clear: {codes}",
    )


def leave_lock(folder: Path) -> None:
    """The lock of a run on another machine."""
    entry = {**dataclasses.asdict(Holder.this()), "host": "node7", "boot": "another"}
    (folder / FILE).write_text(json.dumps(entry))


def two_explanations(stage: Stage) -> Report:
    """Two explain.py into one folder; then one that is killed, and one of another host."""
    folder = stage.folder / "explain"
    write_pictures(folder / "images", 120)
    out, log = folder / "out", folder / "log.txt"
    command = [sys.executable, "explain.py", "--model=scenes-soft", f"--images={folder / 'images'}"]
    command += [f"--out={out}", "--beam=1", "--batch-size=2", "--no-overlays"]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}

    def begin() -> subprocess.Popen:
        with log.open("a") as stream:
            return subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=stream, stderr=stream
            )

    def end(*more: str) -> tuple[int, str]:
        done = subprocess.run(
            [*command, *more], cwd=ROOT, env=environment, capture_output=True, text=True
        )
        return done.returncode, done.stderr.strip().rpartition("\n")[2]

    first = begin()
    while not (out / "results.jsonl").exists():
        assert first.poll() is None, log.read_text()
        time.sleep(0.02)
    code, told = end()
    refused = code == 2 and f"process {first.pid} on" in told
    while first.poll() is None and (out / "results.jsonl").read_bytes().count(b"\n") < 4:
        time.sleep(0.02)
    first.send_signal(signal.SIGKILL)
    first.wait()
    left = (out / FILE).exists()
    leave_lock(out)
    other = end()[0] == 2
    codes = [end("--break-lock")[0], end()[0]]
    results = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    whole = sorted(line["file"] for line in results) == sorted(f"{n}.png" for n in range(120))
    clear = refused and left and other and codes == [0, 0] and whole
    return Report(
        "two explain.py into one folder, one killed, a lock of another host",
        f"the second: exit code {code}; after the kill, with --break-lock, all 120 lines are whole",
        told,
        "nothing" if clear else f"{refused} {left} {other} {codes} {whole}",
    )


def write_pictures(folder: Path, count: int) -> None:
    from PIL import Image

    from capjax.data.scenes.still import scene

    folder.mkdir(parents=True)
    for number in range(count):
        Image.fromarray(scene(number, split="val").image).save(folder / f"{number}.png")


def refused_together(run: Processes, what: str, named: str) -> Report:
    """What came of processes that differ: all end, say in what, and none has trained."""
    codes = run.wait(expected=None)
    told = said(run, f"different {what}")
    nothing = not checkpoints(run.workdir) and not trained_on(run.workdir)
    clear = set(codes) == {2} and named in told and nothing
    return Report(
        f"two processes with other {what}",
        f"exit codes {codes}, nothing trained",
        told,
        "nothing" if clear else f"not clear: {codes}",
    )


def other_settings(stage: Stage) -> Report:
    each = [[], ["--config.optimizer.learning_rate=0.001"]]
    run = stage.start("settings-2", count=2, devices=1, each=each)
    return refused_together(run, "settings", "learning_rate")


def other_captions(stage: Stage) -> Report:
    folder = stage.folder / "captions-2"
    config, _ = photographs(folder)
    copy = shutil.copytree(folder / "data", folder / "copy")
    file = copy / "flickr8k" / "dataset_flickr8k.json"
    file.write_text(file.read_text().replace("a red square", "a square red", 1))
    arguments = [f"--config={config}", f"--config.train.steps={stage.steps}"]
    each = [[], [f"--config.data.root={copy}"]]
    run = Processes(folder / "run", arguments, count=2, devices=1, each=each)
    return refused_together(run, "captions", "a square red")


def killed_peer(stage: Stage) -> Report:
    codes, sentences = [], []
    for dies in (1, 0):
        run = stage.start("peer", count=2, devices=1)
        reached = 10 if dies else 25
        run.wait_until(lambda run=run, step=reached: last_step(run.workdir) >= step)
        run.send(signal.SIGKILL, dies)
        codes.append(run.wait(expected=None)[1 - dies])
        log = run.logs[1 - dies].read_text()
        sentences.append("stack trace" not in log and "another process of this run died" in log)
    told = said(run, "another process of this run died")
    stage.start("peer", count=2, devices=1).wait()
    clear = codes == [1, 1] and all(sentences)
    return Report(
        "kill -9 to one of 2 processes, either one",
        f"the other: exit codes {codes}; resumed",
        told,
        stage.lost(run.workdir, exact=False) if clear else f"not clear: {codes} {sentences}",
    )


FAULTS: dict[str, Callable[[Stage], Report]] = {
    "edited-captions": edited_captions,
    "replaced-picture": replaced_picture,
    "two-trainings": two_trainings,
    "lock-left": lock_left,
    "lock-of-another-host": lock_of_another_host,
    "two-explanations": two_explanations,
    "other-settings": other_settings,
    "other-captions": other_captions,
    "killed-peer": killed_peer,
}
