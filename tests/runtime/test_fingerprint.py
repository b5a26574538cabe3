"""A file is the same exactly where its content is, whatever its name, size and times say."""

import hashlib
import json
import os
import shutil
import time

import pytest

from capjax.runtime import fingerprint as fingerprints
from capjax.runtime.fingerprint import Fingerprint, fingerprint, still

EARLIER = time.time_ns() - 10**12


@pytest.fixture
def file(tmp_path, monkeypatch):
    """A file that was written long before it is looked at."""
    path = tmp_path / "frame.bmp"
    path.write_bytes(b"one picture")
    monkeypatch.setattr(fingerprints, "_TICK", -(10**12))
    return path


def test_the_digest_is_that_of_the_content(file):
    known = fingerprint(file)
    assert known.sha256 == hashlib.sha256(b"one picture").hexdigest()
    assert known.bytes == 11 and known.times is not None
    assert Fingerprint.from_json(json.loads(json.dumps(known.to_json()))) == known
    assert Fingerprint.from_json({"bytes": 11}) is None


def test_an_unchanged_file_is_not_read_again(file, monkeypatch):
    known = fingerprint(file)
    monkeypatch.setattr(fingerprints, "fingerprint", lambda _: pytest.fail("was read"))
    assert still(file, known) is known


def test_a_replaced_file_of_equal_size_is_another(file):
    known = fingerprint(file)
    file.write_bytes(b"two picture")
    assert still(file, known) is None
    file.write_bytes(b"one picture ")
    assert still(file, known) is None
    file.unlink()
    assert still(file, known) is None


def test_equal_content_stays_the_same_under_other_times(file):
    known = fingerprint(file)
    os.utime(file, ns=(EARLIER, EARLIER))
    now = still(file, known)
    assert now is not None and now.sha256 == known.sha256 and now.times != known.times
    assert still(file, now) is now


def test_a_copy_that_keeps_the_time_of_its_content_is_noticed(file, tmp_path):
    os.utime(file, ns=(EARLIER, EARLIER))
    known = fingerprint(file)
    other = tmp_path / "other"
    other.write_bytes(b"two picture")
    os.utime(other, ns=(EARLIER, EARLIER))
    shutil.copy2(other, file)
    assert file.stat().st_mtime_ns == EARLIER and still(file, known) is None
    os.replace(other, file)
    assert file.stat().st_mtime_ns == EARLIER and still(file, known) is None


def test_the_times_of_a_file_that_was_just_written_prove_nothing(tmp_path):
    path = tmp_path / "frame.bmp"
    path.write_bytes(b"one")
    known = fingerprint(path)
    assert known.times is None
    before = path.stat()
    path.write_bytes(b"two")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert still(path, known) is None
