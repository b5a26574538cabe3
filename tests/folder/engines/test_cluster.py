"""A Ray cluster of three machines that loses one, and whose run is killed: nothing is lost.

Ten minutes on two cores: `pytest -m slow tests/folder/engines/test_cluster.py`.
"""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from capjax.data.scenes import Scenes
from tests.folder.engines.recorded import recorded

ROOT = Path(__file__).resolve().parents[3]
IMAGES = 48
SOME = 8
"""Images that are recorded when something is killed."""
PATIENCE = 1500
"""Seconds."""
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Three machines, as far as Ray can tell, of a core and 1 GB of object store each."""
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'capjax[ray]'")
    from ray.cluster_utils import Cluster

    machine = {"num_cpus": 1, "object_store_memory": 10**9}
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("RAY_USAGE_STATS_ENABLED", "0")
        made = Cluster(initialize_head=True, head_node_args=machine)
        others = [made.add_node(**machine) for _ in range(2)]
        made.wait_for_nodes()
        yield made, others
        made.shutdown()


@pytest.fixture(scope="module")
def command(tmp_path_factory):
    """Starts explain.py with the scenes that ship, on one thread, with options and a folder."""
    base = tmp_path_factory.mktemp("cluster")
    (base / "images").mkdir()
    scenes = Scenes("test", IMAGES)
    for number in range(IMAGES):
        Image.fromarray(scenes[number].image).save(base / "images" / f"{number:02d}.png")
    time.sleep(2.1)  # or the times of images as new as these would not be known

    def start(out: str, *options: str) -> tuple[subprocess.Popen, Path]:
        fixed = ["--model=scenes-soft", "--methods=attention,gradcam", "--batch-size=4"]
        names = [f"--images={base / 'images'}", f"--out={base / out}"]
        threads = {"NPROC": "1", "OMP_NUM_THREADS": "1", "JAX_PLATFORMS": "cpu"}
        kept = {"JAX_COMPILATION_CACHE_DIR": str(base / "programs"), "PYTHONPATH": str(ROOT)}
        with open(base / f"{out}.log", "ab") as log:
            process = subprocess.Popen(
                [sys.executable, str(ROOT / "explain.py"), *fixed, *names, *options],
                env={**os.environ, **threads, **kept, "RAY_USAGE_STATS_ENABLED": "0"},
                stdout=log,
                stderr=log,
            )
        return process, base / out

    return start


@pytest.fixture(scope="module")
def local(command):
    """What the local engine makes."""
    process, out = command("local")
    assert ended(process, out) == 0
    assert len(recorded(out)) == IMAGES
    return contents(out)


def ended(process: subprocess.Popen, out: Path) -> int:
    try:
        code = process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    log = out.with_suffix(".log").read_text()
    assert code in (0, -signal.SIGKILL, -signal.SIGINT), log[-5000:]
    return code


def some_are_recorded(process: subprocess.Popen, out: Path, before: int = 0) -> None:
    began = time.monotonic()
    while len(recorded(out)) < before + SOME:
        assert process.poll() is None, out.with_suffix(".log").read_text()[-5000:]
        assert time.monotonic() < began + PATIENCE
        time.sleep(0.1)
    assert len(recorded(out)) < IMAGES, "too late to be in the middle of the run"


def contents(out: Path) -> dict[str, bytes]:
    found = {path.relative_to(out).as_posix(): path for path in out.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in found.items()}


def check(out: Path, local: dict[str, bytes]) -> None:
    """All images, each once, and every file bit for bit."""
    assert Counter(recorded(out)) == Counter(f"{number:02d}.png" for number in range(IMAGES))
    found = contents(out)
    assert found.keys() == local.keys()
    assert [name for name in found if found[name] != local[name]] == []


def on(cluster) -> list[str]:
    return ["--engine=ray", f"--ray-address={cluster[0].address}"]


def test_a_machine_dies(cluster, command, local):
    made, others = cluster
    process, out = command("machine", *on(cluster), "--workers=3")
    some_are_recorded(process, out)
    made.remove_node(others.pop(), allow_graceful=False)
    assert ended(process, out) == 0
    check(out, local)


def test_the_run_is_killed_and_started_again(cluster, command, local):
    """By fewer workers, killed once more, and ended by the local engine."""
    killed = 0
    for workers in (2, 1):
        process, out = command("killed", *on(cluster), f"--workers={workers}")
        some_are_recorded(process, out, killed)
        process.kill()
        assert ended(process, out) == -signal.SIGKILL
        assert not [file for file, count in Counter(recorded(out)).items() if count > 1]
        killed = len(recorded(out))
    process, out = command("killed")
    assert ended(process, out) == 0
    check(out, local)


def test_the_run_is_stopped_and_ends_on_the_cluster(cluster, command, local):
    process, out = command("again", *on(cluster))
    some_are_recorded(process, out)
    process.send_signal(signal.SIGINT)
    assert ended(process, out) == -signal.SIGINT
    assert set(contents(out)) & {".lock"} == set() and len(set(recorded(out))) == len(recorded(out))
    process, out = command("again", *on(cluster))
    assert ended(process, out) == 0
    check(out, local)
