"""What one opening of an archive finds serves the next, until the archive is another."""

import os

import pytest

from capjax.data.stores import tar
from capjax.data.stores.choosing import open_store
from capjax.runtime import fingerprint
from tests.data.stores.written import contents, jpeg, link, members, text

ENTRIES = [
    ("a/0.jpg", jpeg(0)),
    ("a/0.txt", text("a dog\na hound")),
    ("a/0.json", text({"source": "web", "year": 1990})),
    ("1.json", text({"caption": "a cat", "score": 0.5})),
    ("1.png", jpeg(1)),
    ("b\udcff.jpg", jpeg(2)),
    ("same.jpg", jpeg(3)),
    ("same.jpg", jpeg(4)),
    ("2.cls", b"3"),
    ("3.cls", b"3"),
    link("4.jpg", "a/0.jpg"),
    link("5.jpg", "../outside.jpg"),
]


@pytest.fixture(autouse=True)
def old_files(monkeypatch):
    """Files that were written just now count as written long ago."""
    monkeypatch.setattr(fingerprint, "_TICK", 0)


@pytest.fixture
def archive(tmp_path):
    return members(tmp_path / "s.tar", ENTRIES)


@pytest.fixture
def scans(monkeypatch):
    """How often headers were read."""
    found = []
    scan = tar._scan

    def counted(*arguments):
        found.append(1)
        return scan(*arguments)

    monkeypatch.setattr(tar, "_scan", counted)
    return found


def opened(path, kept):
    told = []
    store = open_store([str(path)], exclude=path.parent / "out", tell=told.append, kept=kept)
    known = {name: store.metadata(name) for name in store.names if name != "s.tar"}
    return list(store.names), store.captions, known, contents(store), sorted(told)


@pytest.mark.parametrize("cut", [False, True])
def test_the_second_opening_reads_no_header_and_finds_the_same(archive, scans, tmp_path, cut):
    if cut:
        archive.write_bytes(archive.read_bytes()[:-11_500])
    kept = tmp_path / "kept"
    plain = opened(archive, None)
    assert len(plain[4]) >= 2  # remarks, which are said again
    first, second = opened(archive, kept), opened(archive, kept)
    assert first == second == plain
    assert len(scans) == 2 and len([*kept.iterdir()]) == 1


def test_another_archive_is_read_again(archive, scans, tmp_path):
    kept = tmp_path / "kept"
    opened(archive, kept)
    members(archive, [*ENTRIES, ("new.jpg", jpeg(5))])
    assert "s.tar/new.jpg" in opened(archive, kept)[0]
    content = bytearray(archive.read_bytes())
    content[:7] = b"b/0.jpg"  # as large as before, and only its times tell
    content[148:156] = b"%06o\0 " % (sum(content[:148]) + 8 * 32 + sum(content[156:512]))
    archive.write_bytes(content)
    assert "s.tar/b/0.jpg" in opened(archive, kept)[0]
    assert len(scans) == 3
    os.utime(archive)
    opened(archive, kept)
    assert len(scans) == 4
    opened(archive, kept)
    assert len(scans) == 4


def test_archives_of_one_name_stay_apart(scans, tmp_path):
    kept = tmp_path / "kept"
    for folder in "ab":
        (tmp_path / folder).mkdir()
        members(tmp_path / folder / "s.tar", [(f"{folder}.jpg", jpeg(0))])
    for _ in range(2):
        for folder in "ab":
            assert opened(tmp_path / folder / "s.tar", kept)[0] == [f"s.tar/{folder}.jpg"]
    assert len(scans) == 2


@pytest.mark.parametrize("damage", ["empty", "cut", "flipped", "version"])
def test_a_damaged_index_is_made_again(archive, scans, tmp_path, damage):
    kept = tmp_path / "kept"
    first = opened(archive, kept)
    (path,) = kept.iterdir()
    content = bytearray(path.read_bytes())
    if damage == "flipped":
        content[len(content) // 2] ^= 1
    elif damage == "version":
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(tar, "_VERSION", 2)
            assert opened(archive, kept) == first and len(scans) == 2
        scans.pop()
        content = path.read_bytes()
    path.write_bytes({"empty": b"", "cut": content[:-1]}.get(damage, content))
    assert opened(archive, kept) == first and len(scans) == 2
    assert opened(archive, kept) == first and len(scans) == 2


def test_a_folder_that_cannot_be_written_is_no_error(archive, tmp_path):
    (tmp_path / "file").write_text("no folder")
    assert opened(archive, tmp_path / "file" / "kept") == opened(archive, None)


def test_an_archive_written_just_now_is_not_kept(archive, tmp_path, monkeypatch):
    monkeypatch.setattr(fingerprint, "_TICK", 10**12)
    opened(archive, tmp_path / "kept")
    assert not (tmp_path / "kept").exists()
