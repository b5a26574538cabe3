"""What is written here is at the address, whole, in whatever order a run dies."""

import itertools
import logging

import pytest

from capjax.data.mirrors import mirror as mirrors
from capjax.data.mirrors.mirror import here, mirrored
from capjax.folder.maps import sharding
from capjax.folder.results import ResultFolder
from capjax.runtime.locks import Holder
from tests.folder.maps.made import CONTENTS, check, explain

fsspec = pytest.importorskip("fsspec", reason="needs the extra `remote`")
ADDRESS = "memory://mirrored/report"


@pytest.fixture
def system():
    found = fsspec.filesystem("memory")
    yield found
    if found.exists("/mirrored"):
        found.rm("/mirrored", recursive=True)


class Dead(BaseException):
    """As if the process were killed: nothing catches it, nothing is cleaned up."""


def dying(monkeypatch, system, changes):
    """Ends all that follows so many changes of the store."""
    left = changes

    def counted(change):
        def counting(*arguments, **options):
            nonlocal left
            if left <= 0:
                raise Dead
            left -= 1
            return change(*arguments, **options)

        return counting

    for name in ("put_file", "rm_file", "pipe_file"):
        monkeypatch.setattr(type(system), name, counted(getattr(type(system), name)))


def pushing(monkeypatch, mirror):
    """Puts after every image that is recorded, as a slow run does every minute."""
    append = ResultFolder.append

    def both(self, result):
        append(self, result)
        mirror.push()

    monkeypatch.setattr(ResultFolder, "append", both)


@pytest.mark.parametrize("form", ["files", "parquet"])
def test_a_run_that_dies_before_any_change_of_the_store_goes_on(form, system, monkeypatch):
    pytest.importorskip("pyarrow", reason="needs the extra `parquet`")
    monkeypatch.setattr(sharding, "MOST_ROWS", 3)
    methods = ["attention", "gradient"]
    earlier = dict([*CONTENTS.items()][:3])
    kept = set()
    for point in itertools.count():
        with mirrored(ADDRESS) as mirror:  # what an earlier run left
            explain(mirror.folder, form, earlier, methods[:1])
        with monkeypatch.context() as patch:
            dying(patch, system, point)
            try:
                with mirrored(ADDRESS) as mirror:
                    pushing(patch, mirror)
                    explain(mirror.folder, form, CONTENTS, methods)
                ended = True
            except Dead:
                ended = False
        kept.add(len(system.cat_file("/mirrored/report/results.jsonl").splitlines()))
        with monkeypatch.context() as patch:
            patch.setattr(Holder, "may_live", property(lambda self: False))
            with mirrored(ADDRESS) as mirror:
                explain(mirror.folder, form, CONTENTS, methods)
        check(here(ADDRESS, "--results"), form, CONTENTS, methods)
        assert not [name for name in system.find("/mirrored") if ".lock" in name]
        system.rm("/mirrored", recursive=True)
        if ended:
            break
    assert point > 20 and len(kept) > 3  # some died early, some late


def test_only_what_changed_is_put_and_what_is_gone_is_removed(system, monkeypatch):
    put = []
    plain = type(system).put_file
    monkeypatch.setattr(
        type(system),
        "put_file",
        lambda self, here, there, **more: put.append(there) or plain(self, here, there, **more),
    )
    system.pipe_file("/mirrored/report/theirs.txt", b"stays")
    with mirrored(ADDRESS) as mirror:
        assert (mirror.folder / "theirs.txt").read_bytes() == b"stays"
        for name, content in {"a/1.bin": "one", "a/2.bin": "two", "lines.jsonl": "1\n"}.items():
            (mirror.folder / name).parent.mkdir(exist_ok=True)
            (mirror.folder / name).write_text(content)
        mirror.push()
        assert [path.rpartition("report/")[2] for path in put] == [
            "a/1.bin",
            "a/2.bin",
            "lines.jsonl",
        ]
        put.clear()
        (mirror.folder / "a/1.bin").unlink()
        (mirror.folder / "a/.3.bin.tmp").write_text("half")
        with open(mirror.folder / "lines.jsonl", "a") as lines:
            lines.write("2\n")
    assert [path.rpartition("report/")[2] for path in put] == ["lines.jsonl"]
    assert not mirror.folder.exists()
    found = {path.rpartition("report/")[2]: system.cat_file(path) for path in system.find(ADDRESS)}
    assert found == {"a/2.bin": b"two", "lines.jsonl": b"1\n2\n", "theirs.txt": b"stays"}


def test_a_file_that_goes_while_it_is_put_starts_the_pass_again(system, monkeypatch):
    """A shard takes the place of rows: the lines of before must not be all that is there."""
    plain = type(system).put_file

    def late(self, here, there, **more):
        rows = mirror.folder / "row.bin"
        if rows.exists():
            (mirror.folder / "shard.bin").write_text("row")
            rows.unlink()
            (mirror.folder / "lines.jsonl").write_text("shard")
        plain(self, here, there, **more)

    with mirrored(ADDRESS) as mirror:
        (mirror.folder / "row.bin").write_text("row")
        (mirror.folder / "lines.jsonl").write_text("row")
        monkeypatch.setattr(type(system), "put_file", late)
        mirror.push()
        found = sorted(path.rpartition("/")[2] for path in system.find(ADDRESS))
        assert found == [".lock.1", "lines.jsonl", "shard.bin"]
        assert system.cat_file("/mirrored/report/lines.jsonl") == b"shard"


def test_a_store_that_fails_for_a_while_ends_nothing_and_one_that_stays_away_keeps_all_here(
    system, monkeypatch, caplog
):
    monkeypatch.setattr(mirrors, "EVERY", 0.01)
    monkeypatch.setattr(mirrors, "PATIENCE", 0.01)
    plain, left = type(system).put_file, 3

    def failing(self, here, there, **more):
        nonlocal left
        left -= 1
        if left >= 0:
            raise ConnectionError("no route")
        plain(self, here, there, **more)

    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING):
        patch.setattr(type(system), "put_file", failing)
        with mirrored(ADDRESS) as mirror:
            (mirror.folder / "a.bin").write_text("one")
    assert system.cat_file("/mirrored/report/a.bin") == b"one" and left < 0
    left = 10**6
    with (
        monkeypatch.context() as patch,
        pytest.raises(OSError, match="no route.*are kept in .*Run the same command") as caught,
    ):
        patch.setattr(type(system), "put_file", failing)
        with mirrored(ADDRESS) as mirror:
            (mirror.folder / "b.bin").write_text("two")
    assert (mirror.folder / "b.bin").read_text() == "two" and str(mirror.folder) in str(caught)
    assert not [name for name in system.find("/mirrored") if ".lock" in name]


def test_nothing_at_an_address_is_said(system):
    with pytest.raises(FileNotFoundError, match="nothing at memory://"):
        here("memory://mirrored/nowhere", "--results")
