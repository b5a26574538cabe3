"""Where results may go: tried before the work, refused in one sentence, nothing left behind."""

import errno
import os
import resource
import subprocess
from pathlib import Path

import pytest

from capjax.runtime.files import check_writable, listed, local_path, stopped_by_disk, written_out


@pytest.mark.parametrize(
    "address",
    ["gs://bucket/run", "s3://bucket", "gs:/bucket/run", "https://host/a", "file:///tmp/a"],
)
def test_an_address_is_no_local_folder(address):
    with pytest.raises(ValueError, match=f"--workdir={address} is an address"):
        local_path(address, "--workdir")


def test_paths_of_this_machine_stay(monkeypatch):
    monkeypatch.setenv("HOME", "/home/someone")
    for text in ("runs/a", "/runs/a", "C:/runs", "gs:", "a:b/c", "~name/run", "./gs://bucket"):
        assert local_path(text, "--out") == Path(text)
    assert local_path("~/run", "--out") == Path("/home/someone/run")
    assert local_path("~", "--out") == Path("/home/someone")
    assert local_path(Path("run"), "--out") == Path("run")
    for text in ("", " "):
        with pytest.raises(ValueError, match="--out is empty"):
            local_path(text, "--out")


def test_a_place_that_takes_files_is_left_as_it_was(tmp_path):
    there = tmp_path / "there.json"
    there.write_text("old")
    check_writable(tmp_path / "new" / "deep" / "metrics.json", "--out", folder=False)
    check_writable(there, "--out", folder=False)
    check_writable(tmp_path / "new" / "run", "--out", folder=True)
    check_writable(tmp_path, "--out", folder=True)
    assert list(tmp_path.iterdir()) == [there] and there.read_text() == "old"


def refused(path: Path, *, folder: bool) -> str:
    with pytest.raises(ValueError) as caught:
        check_writable(path, "--out", folder=folder)
    text = str(caught.value)
    assert text.startswith(f"--out={path} cannot be written: ") and "\n" not in text
    return text


def test_what_cannot_be_written_is_refused(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    assert "it is no folder" in refused(file, folder=True)
    assert "it is no ordinary file" in refused(tmp_path, folder=False)
    assert "it is no ordinary file" in refused(Path("/dev/null"), folder=False)  # would be replaced
    for below in (file / "run", file / "a" / "b"):
        for folder in (True, False):
            assert os.strerror(errno.ENOTDIR) in refused(below, folder=folder)
    assert os.strerror(errno.ENAMETOOLONG) in refused(tmp_path / ("n" * 300), folder=True)
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    assert os.strerror(errno.ELOOP) in refused(loop, folder=True)
    dangling = tmp_path / "dangling"
    dangling.symlink_to(tmp_path / "nowhere")
    refused(dangling, folder=True)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no folder that nobody may write")
def test_a_folder_that_takes_no_files_is_refused():
    refused(Path("/proc/run"), folder=True)
    refused(Path("/proc/self/metrics.json"), folder=False)


def test_limits_and_full_disks_are_found_by_trying(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        assert "ulimit -f" in refused(tmp_path / "run", folder=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this user may not mount a small disk")
    try:
        (disk / "filler").write_bytes(bytes(16_384))
        assert "the disk is full" in refused(disk / "run", folder=True)
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        assert os.strerror(errno.EROFS) in refused(disk / "run", folder=True)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_list_names_the_first_and_counts_the_others():
    assert listed([]) == "" and listed(["a"]) == "a" and listed(["a", "b"], most=2) == "a, b"
    assert listed(["a", "b", "c"], most=2) == "a, b, and 1 more"
    assert listed(list("abcde"), most=1, between="; ") == "a; and 4 more"


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("a.jpg", ["a.jpg"]),
        ("a.jpg, b c.jpg,", ["a.jpg", " b c.jpg"]),
        ("*.{jpg,png}", ["*.jpg", "*.png"]),
        ("{a,b}/{1,2}.jpg", ["a/1.jpg", "a/2.jpg", "b/1.jpg", "b/2.jpg"]),
        ("a{,_b}.jpg", ["a.jpg", "a_b.jpg"]),
        ("{a,b{1,2}}.jpg", ["a.jpg", "b1.jpg", "b2.jpg"]),
        ("x/*.{jpg,png},y.jpg", ["x/*.jpg", "y.jpg", "x/*.png"]),
        ("{a}.jpg,b}.jpg,{c", ["{a}.jpg", "b}.jpg", "{c"]),
        ("s-{08..11}.tar", ["s-08.tar", "s-09.tar", "s-10.tar", "s-11.tar"]),
        ("{2..0}{a,b{1..2}}", ["2a", "2b1", "2b2", "1a", "1b1", "1b2", "0a", "0b1", "0b2"]),
        ("{1..}.jpg", ["{1..}.jpg"]),
        (" , ", []),
    ],
)
def test_commas_and_braces_write_several_names(names, expected):
    assert sorted(written_out(names)) == sorted(expected)


def test_errors_of_files_are_one_sentence():
    full = stopped_by_disk(OSError(errno.ENOSPC, "No space left on device", "results.jsonl"))
    assert full and full.startswith("the disk is full (") and "run the same command" in full
    by_library = RuntimeError("write failed: [OS error 28: No space left on device]")
    assert "the disk is full" in str(stopped_by_disk(by_library))
    gone = stopped_by_disk(PermissionError(errno.EACCES, "Permission denied", "maps/a.npz"))
    assert gone == "[Errno 13] Permission denied: 'maps/a.npz'"
    assert stopped_by_disk(ValueError("shape")) is None
