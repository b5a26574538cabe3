"""A run of two real processes, killed, and gone on with by one on another number of devices."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from capjax.runtime.distributed import Place
from capjax.runtime.lost_process import loss
from capjax.train.records import read_metrics
from tests.train.process import DIES_BEFORE, EVALUATES
from tests.train.toy import ToyRun, make_batch

ROOT = Path(__file__).parents[2]


def run_two(folder: Path) -> list[str]:
    """Runs both processes to their end; what they said."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    arguments = [sys.executable, "-m", "tests.train.process", str(folder), str(port), "2"]
    both = [
        subprocess.Popen(
            [*arguments, str(index)],
            cwd=ROOT,
            # Both would write the same programs.
            env={**os.environ, "JAX_ENABLE_COMPILATION_CACHE": "false"},
            stderr=subprocess.STDOUT,
            stdout=subprocess.PIPE,
        )
        for index in range(2)
    ]
    try:
        return [each.communicate(timeout=120)[0].decode() for each in both]
    finally:
        for each in both:
            each.kill()


@pytest.mark.devices
def test_two_processes_killed_and_resumed_on_other_devices(tmp_path):
    for _ in range(2):  # the second one evaluates again what the first one did not go on from
        said = run_two(tmp_path)
        steps = [record["step"] for record in read_metrics(tmp_path / "metrics.jsonl")]
        assert steps == list(range(1, EVALUATES + 1)) and "Error" not in "".join(said), said
    fed = [
        dict(json.loads(line) for line in (tmp_path / f"ids-{index}").read_text().splitlines())
        for index in range(2)
    ]
    for position in range(DIES_BEFORE - 2):  # the last one may have been asked for by one alone
        assert fed[0][position] + fed[1][position] == make_batch(position)["id"].tolist()
    outcome = ToyRun(tmp_path, devices=2).run()
    assert outcome.reason == "finished"
    quiet = ToyRun(tmp_path / "quiet")
    quiet.run()
    both = [read_metrics(folder / "metrics.jsonl") for folder in (tmp_path, quiet.folder)]
    assert [record["step"] for record in both[0]] == list(range(1, 9))
    losses = [[record["loss"] for record in each] for each in both]
    np.testing.assert_allclose(*losses, rtol=0, atol=1e-5)


AGREES_AND_DIES = """
import os, sys, time
import jax
jax.config.update("jax_platforms", "cpu")
from capjax.runtime import distributed
from capjax.runtime.distributed import Place, agree, gather_text, join
distributed.SILENCE = 10
port, index, first_dies = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "0"
join(Place(f"127.0.0.1:{port}", 2, index), seconds=60)
words = [f"word {number}" for number in range(100)]
agree({"words": words, "captions": []})
for other in (["word 0", *words[1:70], "other", *words[71:]], words[:99], [], ["new", *words]):
    try:
        agree({"words": words if index else other})
    except ValueError as error:
        print(error, flush=True)
gather_text("")
if (index == 0) == first_dies:
    os._exit(9)
time.sleep(60)
"""


@pytest.mark.parametrize("dies", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_processes_compare_lists_and_a_lost_one_ends_the_other_with_a_sentence(dies):
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    command = [sys.executable, "-c", AGREES_AND_DIES, str(port)]
    both = [
        subprocess.Popen(
            [*command, str(index), str(dies)],
            cwd=ROOT,
            text=True,
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for index in range(2)
    ]
    try:
        said = [each.communicate(timeout=120) for each in both]
    finally:
        for each in both:
            each.kill()
    assert both[dies].returncode == 9 and both[1 - dies].returncode == 1, said
    survivor = said[1 - dies][1].strip().splitlines()
    assert survivor[-1].startswith("error: another process of this run died"), survivor
    assert "stack trace" not in said[1 - dies][1]
    for out, _ in said:
        lines = [line for line in out.splitlines() if line.startswith("the processes")]
        parts = [
            line.partition(" different words, first at ")[2].partition(". Start")[0]
            for line in lines
        ]
        assert parts == [
            "number 70: process 0: other; process 1: word 70",
            "number 99: process 0: no more; process 1: word 99",
            "number 0: process 0: no more; process 1: word 0",
            "number 0: process 0: new; process 1: word 0",
        ]


def test_an_operation_that_lost_its_peer_is_explained(monkeypatch):
    error = ValueError("UNKNOWN: Gloo AllGather failed: Connection closed by peer [127.0.0.1]:3")
    assert loss(error) is None  # alone there is nobody to lose
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    assert "another process of this run died" in str(loss(error))
    assert loss(ValueError("the workdir holds other captions")) is None


def test_who_would_train_alone_is_told():
    command = [sys.executable, "train.py", "--config=configs/quickstart.py"]
    command += ["--processes=2", "--process=0"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2, done
    assert "--processes and --process say who this process is" in done.stderr
    assert "it would train alone: add --distributed" in done.stderr


@pytest.mark.parametrize(
    ("place", "text"),
    [
        (Place("node0:1234", 2), "give all of --coordinator=HOST:PORT --processes=N --process=I"),
        (Place("node0:1234", 2, 2), "process 2 of 2 does not exist; count from 0 to 1"),
        (Place("node0", 2, 0), "got coordinator 'node0'; expected HOST:PORT"),
    ],
)
def test_half_a_place_is_refused(place, text):
    with pytest.raises(ValueError, match=text):
        place.check()


def test_a_place_may_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("JAX_COORDINATOR_ADDRESS", "node0:1234")
    monkeypatch.setenv("JAX_NUM_PROCESSES", "4")
    monkeypatch.setenv("JAX_PROCESS_ID", "3")
    assert Place().filled() == Place("node0:1234", 4, 3)
    assert Place(process=1).filled() == Place("node0:1234", 4, 1)
    monkeypatch.setenv("JAX_PROCESS_ID", "three")
    with pytest.raises(ValueError, match=r"JAX_PROCESS_ID is 'three'; expected a number"):
        Place().filled()


def test_without_a_cluster_the_text_says_what_to_give(tmp_path):
    script = (
        "from capjax.runtime.distributed import join\n"
        "try:\n    join()\nexcept ValueError as error:\n    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert "found no other processes" in done.stdout, done
    assert "--coordinator=HOST:PORT --processes=N --process=I" in done.stdout
