"""Worker processes live as long as their parent, and signals to the group do not disturb them."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from capjax.data.batches.loading import Loading

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = textwrap.dedent(
    """
    import os, signal, sys, time
    import numpy as np
    from capjax.data.batches.loading import Loading

    def load(step):
        return {"pid": np.array(os.getpid()), "step": np.array(step), "big": np.zeros(2**20)}

    if __name__ == "__main__":
        signal.signal(signal.SIGTERM, lambda *_: None)  # as training, which saves and goes on
        batches = Loading(workers=2, threads=1).iterate(load, 0, 2**31)
        for _ in range(6):
            batch = next(batches)
            print(int(batch["pid"]), flush=True)
        if sys.argv[1] == "wait":
            time.sleep(60)
        if sys.argv[1] == "signal":
            os.kill(0, signal.SIGTERM)
            print([int(next(batches)["step"]) for _ in range(20)], flush=True)
    """
)


@pytest.fixture
def start(tmp_path):
    """Starts the script in a process group of its own."""
    (tmp_path / "script.py").write_text(SCRIPT)
    started = []

    def run(mode):
        process = subprocess.Popen(
            [sys.executable, tmp_path / "script.py", mode],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            start_new_session=True,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def alive(pids):
    def there(pid):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        return True

    return [pid for pid in pids if there(pid)]


def wait_until_dead(pids, seconds=20):
    end = time.monotonic() + seconds
    while alive(pids) and time.monotonic() < end:
        time.sleep(0.05)
    return not alive(pids)


def test_a_killed_parent_takes_its_workers_along(start):
    process = start("wait")
    pids = {int(process.stdout.readline()) for _ in range(6)}
    assert len(pids) == 2 and process.pid not in pids
    os.kill(process.pid, signal.SIGKILL)
    assert wait_until_dead(pids)


def test_a_signal_to_the_group_leaves_the_stream_whole(start):
    process = start("signal")
    out, errors = process.communicate(timeout=60)
    assert process.returncode == 0 and errors == ""
    assert out.strip().split("\n")[-1] == str(list(range(6, 26)))
    # The program ended with the stream open, and nothing of it is left.
    assert wait_until_dead({int(line) for line in out.split("\n")[:6]})


@pytest.mark.parametrize("workers", [0, 1])
def test_closing_ends_early_and_errors_come_through(workers):
    batches = Loading(workers=workers, threads=1).iterate(fail_at_three, 0, 100)
    assert [int(next(batches)["step"]) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="step 3 is broken"):
        next(batches)
    endless = Loading(workers=workers, threads=1).iterate(fail_at_three, 10, 2**31)
    next(endless)
    endless.close()
    assert list(endless) == []  # ended, and closing twice does no harm
    endless.close()


def fail_at_three(step):
    if step == 3:
        raise ValueError("step 3 is broken")
    return {"step": np.array(step)}
