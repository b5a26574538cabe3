"""One process writes to an address, whatever its store calls what is there already."""

import json

import pytest

from capjax.data.mirrors import lock
from capjax.data.mirrors.lock import held
from capjax.data.stores.remote import remote
from capjax.runtime.locks import Holder, LockedError

fsspec = pytest.importorskip("fsspec", reason="needs the extra `remote`")


@pytest.fixture
def place():
    system = fsspec.filesystem("memory")
    yield remote("memory://locked/report")
    if system.exists("/locked"):
        system.rm("/locked", recursive=True)


def names(place):
    return sorted(place.below() or ())


def test_a_second_one_is_refused_while_the_first_one_lives(place):
    with held(place):
        assert names(place) == [".lock.1"]
        for broken in (False, True):
            with (
                pytest.raises(LockedError, match="memory://.*is being written by process"),
                held(place, break_lock=broken),
            ):
                pass
    assert names(place) == []
    with held(place):
        pass


def test_a_dead_process_is_followed_and_another_machine_is_asked_about(place, monkeypatch):
    dead = lock._take(place, break_lock=False)
    with monkeypatch.context() as patch:
        patch.setattr(Holder, "may_live", property(lambda self: False))
        with held(place):
            assert names(place) == [".lock.1", ".lock.2"]
        assert names(place) == []
    body = {**json.loads(dead[1]), "host": "elsewhere", "boot": "another"}
    place.system.pipe_file(f"{place.path}/.lock.4", json.dumps(body).encode())
    with pytest.raises(LockedError, match="on elsewhere.*--break-lock"), held(place):
        pass
    with held(place, break_lock=True):
        assert names(place) == [".lock.4", ".lock.5"]
    assert names(place) == []


def test_of_two_that_follow_a_dead_one_the_first_wins(place, monkeypatch):
    lock._take(place, break_lock=False)
    own, seen = lock._locks, []

    def late(place):
        """The second one looks before the first one has made its lock."""
        found = own(place)
        if not seen:
            seen.append(lock._made(place, 2, b'{"host": "elsewhere"}'))
        return found

    with monkeypatch.context() as patch:
        patch.setattr(Holder, "may_live", property(lambda self: False))
        patch.setattr(lock, "_locks", late)
        with pytest.raises(LockedError, match="locked by another process"), held(place):
            pass
    assert seen == [True] and own(place) == [1, 2]


def test_who_finds_a_later_lock_beside_its_own_gives_way(place, monkeypatch):
    own, asked = lock._locks, []

    def empty_at_first(place):
        asked.append(place)
        if len(asked) == 1:
            place.system.pipe_file(f"{place.path}/.lock.2", b"{}")
            return []
        return own(place)

    monkeypatch.setattr(lock, "_locks", empty_at_first)
    with pytest.raises(LockedError), held(place):
        pass
    assert own(place) == [2]


def test_a_store_that_replaces_what_is_there_is_refused(place, monkeypatch):
    plain = type(place.system).pipe_file
    monkeypatch.setattr(
        type(place.system), "pipe_file", lambda self, path, value, mode: plain(self, path, value)
    )
    with pytest.raises(ValueError, match="no conditional writes"), held(place):
        pass
    assert names(place) == []


def test_an_error_of_any_kind_says_that_it_is_there_already(place, monkeypatch):
    """S3 answers a failed condition, which s3fs makes an OSError of no kind of its own."""
    plain = type(place.system).pipe_file

    def refusing(self, path, value, mode):
        if self.exists(path):
            raise OSError(22, "PreconditionFailed")
        plain(self, path, value)

    monkeypatch.setattr(type(place.system), "pipe_file", refusing)
    with held(place):
        assert names(place) == [".lock.1"]
        with pytest.raises(LockedError), held(place):
            pass


def test_a_store_that_does_not_answer_says_so(place, monkeypatch):
    def down(self, path, value, mode):
        raise RuntimeError("no route")

    monkeypatch.setattr(type(place.system), "pipe_file", down)
    with pytest.raises(OSError, match="cannot write to memory://.*no route"), held(place):
        pass
