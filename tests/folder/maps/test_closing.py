"""A shard is closed beside the run: what waits, what fails, what is given up."""

import threading
import time

import pytest

import capjax
from capjax.folder.maps import sharding
from capjax.folder.maps.behind import Behind, StoppedError
from capjax.folder.maps.manifest import read_manifest
from capjax.folder.maps.parquet import Parquet
from tests.folder.maps.made import CONTENTS, check, explain

METHODS = ["attention"]
WAIT = 20.0
"""Seconds after which something hangs."""


@pytest.fixture
def held(monkeypatch):
    """Shards of two rows that are written only once the event is set; and what was begun."""
    pytest.importorskip("pyarrow")
    monkeypatch.setattr(sharding, "MOST_ROWS", 2)
    allowed, begun = threading.Event(), []
    write = Parquet.write

    def waiting(self, path, rows):
        begun.append(path)
        assert allowed.wait(WAIT)
        write(self, path, rows)

    monkeypatch.setattr(Parquet, "write", waiting)
    return allowed, begun


def test_the_run_goes_on_while_a_shard_is_closed_up_to_the_next_full_one(tmp_path, held):
    out = tmp_path / "out"
    allowed, begun = held
    run = threading.Thread(target=explain, args=(out, "parquet", CONTENTS, METHODS))
    run.start()
    try:
        # Two rows of the shard that is closed, two of the one that is full and waits for it.
        wait_for(lambda: (out / "results.jsonl").exists() and lines(out) == 4)
        run.join(0.3)
        assert run.is_alive() and lines(out) == 4
        assert len(begun) == 1 and not read_manifest(out)
        assert len([*(out / "shards" / "pending").rglob("*.npz")]) == len(CONTENTS)
        results = capjax.open_results(out)
        assert len(results) == 4 and not results.check()
    finally:
        allowed.set()
        run.join(WAIT)
    check(out, "parquet", CONTENTS, METHODS)


def test_a_shard_that_cannot_be_closed_ends_the_run_at_once(tmp_path, held, monkeypatch):
    out = tmp_path / "out"
    allowed, _ = held

    def full(self, path, rows):
        raise OSError(28, "No space left on device", path)

    with monkeypatch.context() as patch:
        patch.setattr(Parquet, "write", full)
        with pytest.raises(OSError, match="No space left"):
            explain(out, "parquet", CONTENTS, METHODS)
    # Recorded behind the failure: no more than the next shard takes.
    assert 2 <= lines(out) <= 4 and not read_manifest(out)
    allowed.set()
    explain(out, "parquet", CONTENTS, METHODS)
    check(out, "parquet", CONTENTS, METHODS)


def test_a_run_that_is_interrupted_gives_the_shard_up_and_ends(tmp_path, held, monkeypatch):
    out = tmp_path / "out"
    allowed, begun = held
    settle, stop = sharding.Shards.settle, Behind.stop

    def interrupted(self, records):
        settle(self, records)
        if not self._held:  # a shard is being closed
            raise KeyboardInterrupt

    def stopping(self):
        threading.Timer(0.2, allowed.set).start()  # only now the shard's first row is asked for
        stop(self)

    with monkeypatch.context() as patch:
        patch.setattr(sharding.Shards, "settle", interrupted)
        patch.setattr(Behind, "stop", stopping)
        with pytest.raises(KeyboardInterrupt):
            explain(out, "parquet", CONTENTS, METHODS)
    assert len(begun) == 1 and not read_manifest(out) and not [*(out / "shards").glob("*part-*")]
    explain(out, "parquet", CONTENTS, METHODS)  # the lock is free
    check(out, "parquet", CONTENTS, METHODS)


def test_work_that_nobody_wants_ends():
    behind, begun = Behind(), threading.Event()

    def work():
        begun.set()
        with pytest.raises(StoppedError):
            while True:
                behind.check_wanted()

    behind.start(work)
    assert begun.wait(WAIT)
    behind.stop()
    behind.wait()  # raises nothing


def lines(out):
    return (out / "results.jsonl").read_bytes().count(b"\n")


def wait_for(condition):
    until = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)
