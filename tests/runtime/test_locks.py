"""Locks against real processes that live, end, die and fork, and against other machines."""

import dataclasses
import errno
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from absl import logging

from capjax.runtime import locks
from capjax.runtime.locks import Holder, LockedError, held, take

ROOT = Path(__file__).resolve().parents[2]
HOLDS = """
import os, signal, sys, time
from pathlib import Path
from capjax.runtime.locks import take
lock = take(Path(sys.argv[1]))
if sys.argv[2] == "forks" and os.fork() == 0:
    os.write(1, b"child\\n")
    time.sleep(60)
os.write(1, b"held\\n")
signal.pause()
"""


def start(path: Path, how: str = "") -> subprocess.Popen:
    """A process that holds the lock until it is killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(path), how],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    expected = {"held", "child"} if how else {"held"}
    assert process.stdout is not None
    assert {process.stdout.readline().strip() for _ in expected} == expected
    return process


def end(process: subprocess.Popen, *, group: bool = True) -> None:
    (os.killpg if group else os.kill)(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdout and group:
        process.stdout.close()


def other(path: Path, **changes) -> None:
    """Leaves a lock of another holder, with no flock."""
    entry = {**dataclasses.asdict(Holder.this()), **changes}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(entry))


def test_a_lock_leaves_nothing_behind(tmp_path):
    path = tmp_path / "new" / "run" / ".lock"
    with held(path):
        entry = json.loads(path.read_text())
        assert entry["process"] == os.getpid() and {"host", "boot", "command", "since"} < set(entry)
    assert not (tmp_path / "new").exists()
    with pytest.raises(KeyError), held(path):
        raise KeyError
    assert not (tmp_path / "new").exists()
    with held(path):
        (path.parent / "result").write_text("")
    assert [each.name for each in path.parent.iterdir()] == ["result"]


def test_a_second_process_is_refused_by_name_and_a_killed_ones_lock_taken_over(tmp_path):
    path = tmp_path / "run" / ".lock"
    first = start(path)
    try:
        for broken in (False, True):
            with pytest.raises(LockedError) as refused:
                take(path, break_lock=broken)
            text = str(refused.value)
            assert text.startswith(f"{tmp_path / 'run'} is being written by process {first.pid} on")
            assert "since 20" in text and "choose another folder" in text
            assert ("is for processes that are dead" in text) == broken
    finally:
        end(first)
    assert path.exists()
    with held(path):
        assert json.loads(path.read_text())["process"] == os.getpid()


def test_a_forked_child_does_not_keep_the_lock(tmp_path):
    first = start(tmp_path / ".lock", "forks")
    end(first, group=False)
    with held(tmp_path / ".lock"):
        pass
    os.killpg(first.pid, signal.SIGKILL)
    assert first.stdout is not None
    first.stdout.close()


@pytest.mark.parametrize("boot", ["another", ""])
def test_another_machines_lock_stays_until_it_is_broken(tmp_path, boot):
    path = tmp_path / "run" / ".lock"
    other(path, host="node7", boot=boot, process=12, command="train.py")
    with pytest.raises(LockedError, match=r"locked by process 12 on node7 \(train.py, .*--break-l"):
        take(path)
    assert json.loads(path.read_text())["host"] == "node7"
    with held(path, break_lock=True):
        with pytest.raises(LockedError, match="is being written"):
            take(path, break_lock=True)
    assert not path.exists()


def test_the_flock_of_another_machine_can_be_broken_too(tmp_path):
    """As NFS shows it when that machine is gone and its server does not know."""
    path = tmp_path / ".lock"
    stale = take(path)
    other(path, host="node7", boot="another")
    with pytest.raises(LockedError, match="being written by .* on node7"):
        take(path)
    with held(path, break_lock=True):
        stale.release()  # what was broken does not remove the new one
        assert path.exists()


@pytest.mark.parametrize(
    "changes", [{"process": 2**22 + 1}, {"boot": "an earlier one"}, {"host": "a-container"}]
)
def test_the_lock_of_a_dead_process_of_this_machine_is_taken_over(tmp_path, changes):
    other(tmp_path / ".lock", **changes)
    with held(tmp_path / ".lock"):
        pass


@pytest.mark.parametrize("content", ["", "{", "[]", '{"host": "node7"}'])
def test_a_torn_lock_is_taken_over(tmp_path, content):
    (tmp_path / ".lock").write_text(content)
    with held(tmp_path / ".lock"):
        pass


def test_where_no_file_can_be_made_nobody_waits(tmp_path):
    (tmp_path / ".lock").symlink_to(tmp_path / "gone" / "lock")
    for wait in (False, True):
        with pytest.raises(FileNotFoundError):
            take(tmp_path / ".lock", wait=wait)


def test_without_flocks_the_content_decides(tmp_path, monkeypatch):
    def flock(*_):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(locks.fcntl, "flock", flock)
    path = tmp_path / ".lock"
    with held(path):
        with pytest.raises(LockedError, match=f"process {os.getpid()} .*cannot tell"):
            take(path)
    other(path, process=2**22 + 1)
    with held(path):
        pass
    monkeypatch.setattr(locks, "fcntl", None)
    with held(path), pytest.raises(LockedError):
        take(path)


def test_threads_exclude_each_other_and_may_wait(tmp_path):
    path, inside, most = tmp_path / ".lock", [], []

    def work():
        with held(path, wait=True):
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.01)
            inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 4 and not path.exists()


def test_processes_take_turns(tmp_path):
    """Takes and releases race with each other: every turn is counted."""
    counter = tmp_path / "counter"
    counter.write_text("0")
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=count_up, args=(counter, 40)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    assert counter.read_text() == "80"


def count_up(counter: Path, times: int) -> None:
    locks._POLL = 0.0005
    for _ in range(times):
        with held(counter.with_name("dir") / ".lock", wait=True):
            counter.write_text(str(int(counter.read_text()) + 1))


def test_who_waits_long_is_told(tmp_path, monkeypatch):
    path, said = tmp_path / "cache.lock", []
    other(path, host="node7", boot="another")
    monkeypatch.setattr(locks, "_PATIENCE", 0.0)
    monkeypatch.setattr(locks, "_POLL", 0.01)

    def warning(text, *values):
        said.append(text % values)
        path.unlink()  # as the user is told to

    monkeypatch.setattr(logging, "warning", warning)
    with held(path, wait=True):
        pass
    assert len(said) == 1 and f"if that process is dead, remove {path}" in said[0]
