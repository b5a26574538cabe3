"""--engine=hosts leaves the folder of a run of one process, also where it is killed and goes on.

What needs two real processes is slow: `pytest -m slow tests/folder/engines/test_hosts.py`.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from capjax.folder import run as command
from capjax.folder.engines import hosts
from capjax.folder.engines.handed import read_parcels, write_parcels
from capjax.folder.engines.options import ClusterError
from capjax.folder.engines.parts import Parcel
from capjax.folder.opened.results import open_results
from capjax.folder.records import Result
from tests.api.conftest import write_photographs
from tests.folder.engines.recorded import recorded

ROOT = Path(__file__).resolve().parents[3]
ALONE = ["--engine=hosts", "--coordinator=nowhere:1", "--processes=1", "--process=0"]
ASKED = ["--max-length=7", "--batch-size=2", "--no-visual-information", "--query=a [red wave]"]
IMAGES, SOME = 60, 6
"""Of the runs that are killed, and how many are recorded then."""
PATIENCE = 300.0
"""Seconds."""


@pytest.fixture
def alone(monkeypatch):
    """Runs of one process, which no other joins."""
    monkeypatch.setattr(command, "join", lambda place, option: None)


@pytest.fixture(autouse=True)
def ticks(monkeypatch):
    """Times of photographs are known however new they are."""
    monkeypatch.setattr("capjax.runtime.fingerprint._TICK", -(10**12))


def run(model, images, out, *options):
    return command.main([f"--model={model}", f"--images={images}", f"--out={out}", *options])


def contents(out: Path) -> dict[str, bytes]:
    found = {path.relative_to(out).as_posix(): path for path in out.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in found.items()}


def same(ours: Path, theirs: Path) -> None:
    one, other = contents(ours), contents(theirs)
    assert one.keys() == other.keys()
    assert [name for name in one if one[name] != other[name]] == []


@pytest.mark.parametrize("form", ["files", "arrayrecord"])
def test_what_is_handed_in_makes_the_same_folder(model, zoo, tmp_path, alone, form):
    """Errors and all; and methods are added to captions that were handed out."""
    here, there = tmp_path / "here", tmp_path / "there"
    for more in ([], ["--methods=gradcam", "--overlays=png"]):
        own = [*ASKED[:3], f"--format={form}", "--keyword=red", *more]
        assert [run(model, zoo, here, *own), run(model, zoo, there, *own, *ALONE)] == [3, 3]
        same(here, there)
    (image, *_) = [one for one in open_results(there) if not one.error]
    assert [*image.explanations] == ["attention", "gradcam"]


def test_what_nobody_takes_is_removed_by_the_next_run(model, tmp_path, alone):
    write_photographs(tmp_path / "images", 1)
    out = tmp_path / "out"
    left = out / hosts.FOLDER / "dead" / "000000.zip"
    for options in (ALONE, []):
        left.parent.mkdir(parents=True)
        left.write_bytes(b"torn")
        assert run(model, tmp_path / "images", out, *ASKED, *options) == 0
        assert not (out / hosts.FOLDER).exists()


def test_a_part_that_is_too_large_ends_the_run(model, tmp_path, alone, capsys):
    write_photographs(tmp_path / "images", 3)
    code = run(model, tmp_path / "images", tmp_path / "out", *ASKED, *ALONE, "--memory=0.000001")
    assert code == 2 and "the limit given" in capsys.readouterr().err


def test_a_process_whose_run_was_ended_by_the_first_one_is_told(tmp_path):
    with pytest.raises(ClusterError, match="gone: the first process ended this run"):
        hosts._awaited(tmp_path / "gone" / "work.json", tmp_path / "gone")


def test_names_that_are_no_text_are_handed_in(tmp_path):
    name, path = "sm\udcf8rebr\u00f8d\n.jpg", tmp_path / "000000.zip"
    parcels = [
        Parcel("torn.jpg", "cannot read image"),
        Parcel(name, "nothing", {f"maps/{name}.npz": bytes(range(256)), f"overlays/{name}": b""}),
    ]
    write_parcels(path, parcels)
    assert read_parcels(path) == parcels and [*tmp_path.iterdir()] == [path]
    with pytest.raises(ValueError):  # a result without answers is no line
        write_parcels(path, [Parcel("a.jpg", Result("a.jpg", 1))])
    assert read_parcels(path) == parcels


DRIVEN = """
import sys
from capjax.runtime import distributed, fingerprint
from capjax.folder.engines import hosts
distributed.SILENCE, hosts.SEEN, fingerprint._TICK = 10, 1.0, -(10**12)
from capjax.folder.run import main
sys.exit(main(sys.argv[1:]))
"""


class Started:
    """Two processes of one run."""

    def __init__(self, model, images, out, *options, each=((), ()), at=(ROOT, ROOT)) -> None:
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            port = found.getsockname()[1]
        joined = ["--engine=hosts", f"--coordinator=127.0.0.1:{port}", "--processes=2"]
        fixed = [sys.executable, "-c", DRIVEN, f"--model={model}", f"--images={images}", *joined]
        fixed += [f"--out={out}", *ASKED, *options]
        self.logs = [Path(at[number] / f"{out}.{number}.log") for number in range(2)]
        self.running = []
        for number, log in enumerate(self.logs):
            with log.open("wb") as stream:
                self.running.append(
                    subprocess.Popen(
                        [*fixed, f"--process={number}", *each[number]],
                        cwd=at[number],
                        env={**os.environ, "PYTHONPATH": str(ROOT)},
                        stdout=stream,
                        stderr=stream,
                    )
                )

    def ended(self) -> list[int]:
        try:
            return [each.wait(PATIENCE) for each in self.running]
        finally:
            for each in self.running:
                each.kill()

    def said(self, number: int) -> str:
        return self.logs[number].read_text()


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photographs") / "images"
    write_photographs(folder, IMAGES)
    (folder / "torn.jpg").write_bytes(b"torn")
    return folder


@pytest.fixture(scope="module")
def local(model, images, tmp_path_factory):
    """What a run of one process leaves."""
    out = tmp_path_factory.mktemp("local") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("capjax.runtime.fingerprint._TICK", -(10**12))
        assert run(model, images, out, *ASKED) == 3
    return out


@pytest.mark.slow
@pytest.mark.parametrize("dies", [0, 1])
def test_a_process_is_killed_and_one_or_two_go_on(dies, model, images, local, tmp_path):
    out = tmp_path / "out"
    started = Started(model, images, out)
    began = time.monotonic()
    while len(recorded(out)) < SOME:
        assert started.running[0].poll() is None, started.said(0)[-3000:]
        assert time.monotonic() < began + PATIENCE
        time.sleep(0.01)
    started.running[dies].kill()
    codes = started.ended()
    assert codes[dies] == -signal.SIGKILL and codes[1 - dies] == 1, started.said(1 - dies)[-3000:]
    last = started.said(1 - dies).strip().splitlines()[-1]
    assert "another process of this run died" in last and "to go on from what is saved" in last
    before = recorded(out)
    assert SOME <= len(before) == len({*before}) < IMAGES, "too late to be in the middle"
    if dies:
        assert run(model, images, out, *ASKED) == 3
    else:
        again = Started(model, images, out)
        assert again.ended() == [3, 0], again.said(0)[-3000:] + again.said(1)[-3000:]
        assert f"2 hosts explain {IMAGES + 1 - len(before)} images" in again.said(0)
    same(out, local)


@pytest.mark.slow
def test_hosts_that_differ_are_told(model, images, tmp_path):
    started = Started(model, images, tmp_path / "out", each=((), ["--keyword=red"]))
    assert started.ended() == [2, 2]
    for number in range(2):
        said = started.said(number)
        assert "process 0: keyword is []; process 1: keyword is ['red']" in said, said[-3000:]
    assert recorded(tmp_path / "out") == []


@pytest.mark.slow
def test_hosts_that_do_not_share_the_folder_are_told(model, images, tmp_path):
    """The same path, on two machines as it were."""
    machines = tmp_path / "one", tmp_path / "other"
    for own in machines:
        own.mkdir()
    started = Started(model, images, "out", at=machines)
    assert started.ended() == [2, 2]
    told = "what the first process wrote there is not here after 1 seconds"
    assert told in started.said(1), started.said(1)[-3000:]
    assert f"process 1 of 2 could not use --out=out: ValueError: {told}" in started.said(0)


@pytest.mark.slow
def test_a_folder_of_another_run_ends_all_with_its_words(model, images, local, tmp_path):
    """What the first process alone knows."""
    shutil.copytree(local, tmp_path / "out")
    before = contents(local)
    started = Started(model, images, tmp_path / "out", "--dense")
    assert started.ended() == [2, 2]
    told = "holds the results of another run: dense is True, there it is None"
    assert told in started.said(0) and told in started.said(1), started.said(1)[-3000:]
    assert contents(tmp_path / "out") == before
