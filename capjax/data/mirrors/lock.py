"""The lock of an address: one process writes there, where stores have no locks.

It is an object `.lock.N` beside the files, made by a conditional write, that says who made it. The
highest N holds. A dead process's lock is taken over by making N + 1, which one of several can; who
made one and finds a higher one beside it gives way.
"""

import contextlib
import dataclasses
import json
import secrets
from collections.abc import Iterator

from capjax.data.stores.remote import Remote
from capjax.runtime.locks import FILE, Holder, LockedError, refusal


@contextlib.contextmanager
def held(place: Remote, *, break_lock: bool = False) -> Iterator[None]:
    """Holds the lock of an address for the length of a block.

    Args:
      place: of a folder, there or not.
      break_lock: the process that locked it is dead, says the user.

    Raises:
      LockedError: another process writes there, or may.
      ValueError: the store has no conditional writes.
      OSError: it does not answer.
    """
    number, content = _take(place, break_lock=break_lock)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            if _read(place, number) == content:  # or somebody broke it
                for each in [n for n in _locks(place) if n <= number]:
                    with contextlib.suppress(FileNotFoundError):
                        place.system.rm_file(_lock(place, each))


def _take(place: Remote, *, break_lock: bool) -> tuple[int, bytes]:
    """The number and the content of the lock that this process made."""
    body = {**dataclasses.asdict(Holder.this()), "token": secrets.token_hex(8)}
    content = json.dumps(body).encode()
    while True:
        there = _locks(place)
        if there:
            holder = Holder.read(_read(place, there[-1]) or b"")
            alive = holder is None or not holder.is_here or holder.may_live
            sure = holder is not None and holder.is_here and holder.may_live
            if alive and (sure or not break_lock):
                locked = False if sure else None
                raise LockedError(refusal(str(place), locked, holder, broken=break_lock))
        number = there[-1] + 1 if there else 1
        if not _made(place, number, content):
            continue  # another process was faster
        if _locks(place)[-1] == number:
            return number, content
        place.system.rm_file(_lock(place, number))  # a later lock was made beside it


def _made(place: Remote, number: int, content: bytes) -> bool:
    """Whether a lock was made by this call: a conditional write, which is tried out.

    Raises:
      ValueError: the store replaces what is there.
    """
    failure: OSError | None = None
    for attempt in (content, b"{}"):
        try:
            with place.writing():
                place.system.pipe_file(_lock(place, number), attempt, mode="create")
        except OSError as error:  # each store has a kind of its own for what is there already
            failure = error
        found = _read(place, number)
        if found is None:
            raise failure or OSError(f"{place} does not keep what is put there")
        if found == b"{}":
            place.system.rm_file(_lock(place, number))
            raise ValueError(
                f"{place} replaces what is there where it should refuse: its store has no "
                "conditional writes, without which two runs could write to one address. Give a "
                "folder of this machine, and copy it"
            )
        if found != content:
            return False
    return True


def _locks(place: Remote) -> list[int]:
    """The numbers of the locks of an address, in order."""
    place.system.invalidate_cache()
    names = place.below() or ()
    return sorted(int(name.rpartition(".")[2]) for name in names if is_lock(name))


def _read(place: Remote, number: int) -> bytes | None:
    """What a lock says; None where it is gone."""
    place.system.invalidate_cache()
    try:
        return dataclasses.replace(place, path=_lock(place, number)).content()
    except FileNotFoundError:
        return None


def _lock(place: Remote, number: int) -> str:
    return f"{place.path}/{FILE}.{number}"


def is_lock(name: str) -> bool:
    """Whether a file of this name, in a folder, is a lock of it."""
    return name.startswith(f"{FILE}.") and name.removeprefix(f"{FILE}.").isdecimal()
