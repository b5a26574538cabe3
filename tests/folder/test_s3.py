"""explain.py --out=s3://…, killed and run again, against a server of moto that runs here."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import capjax
from tests.api.conftest import write_photographs
from tests.buckets import served

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
ROOT = Path(__file__).resolve().parents[2]
ADDRESS = "s3://bucket/report"


@pytest.fixture
def bucket(monkeypatch):
    with served(monkeypatch) as system:
        yield system


# What a run does every minute is done every half second here.
EAGER = """
import sys
from capjax.data.mirrors import mirror
mirror.EVERY = mirror.SHARE = 0.5
from capjax.folder.run import main
sys.exit(main())
"""


@pytest.mark.parametrize("form", ["files", "parquet"])
def test_killed_and_run_again(bucket, model, tmp_path, form):
    images, local = tmp_path / "images", tmp_path / "local"
    write_photographs(images, 40)
    fixed = [f"--model={model}", f"--images={images}", "--max-length=7", "--batch-size=2"]
    fixed += [f"--format={form}", "--methods=attention,gradcam"]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", EAGER, *fixed, f"--out={ADDRESS}"]
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 240

    def recorded():
        bucket.invalidate_cache()
        there = bucket.exists("bucket/report/results.jsonl")
        return bucket.cat_file("bucket/report/results.jsonl").count(b"\n") if there else 0

    while recorded() < 6:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert 6 <= recorded() < 40 and bucket.exists("bucket/report/.lock.1")
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"report: {ADDRESS}/index.html" in done.stdout
    assert subprocess.run(
        [sys.executable, "explain.py", *fixed, f"--out={local}"], cwd=ROOT, env=environment
    ).returncode == 0  # fmt: skip
    here, there = capjax.open_results(local), capjax.open_results(ADDRESS)
    assert len(here) == 40 and here.files == there.files and not there.check()
    for one, other in zip(here, there, strict=True):
        assert one.caption == other.caption
        for method, found in one.explanations.items():
            assert (found.maps == other[method].maps).all()
    assert not [name for name in bucket.find("bucket/report") if ".lock" in name]
