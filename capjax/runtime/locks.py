"""Locks of folders: one process writes at a time, and the next one is told whose turn it is.

A lock is a file that names its holder, who also has an `flock` on it. The system drops the flock
when the holder dies, in whatever way: the lock of a dead process of this machine is taken over.
Between machines an `flock` cannot be relied on (NFS), so there the content decides: the lock of
another machine stays until its process removes it, or the user says that it is dead.
"""

import contextlib
import dataclasses
import errno
import functools
import json
import os
import pathlib
import socket
import sys
import time
import weakref
from collections.abc import Iterator

from absl import logging

try:
    import fcntl
except ImportError:  # Windows has none: the content of the file decides alone
    fcntl = None  # type: ignore[assignment]

FILE = ".lock"
"""Name of the lock within the folder that it is about."""
BREAK = "--break-lock"
_BOOT = pathlib.Path("/proc/sys/kernel/random/boot_id")
_POLL, _PATIENCE = 0.2, 20.0
"""Seconds between two looks at a lock that is waited for, and until the user is told of it."""
_MISSES = 100
"""How often in a row a folder may vanish before taking its lock fails: nothing can be made there
(/proc, or a link to nowhere in place of the lock)."""
_NO_FLOCK = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
"""What some shared file systems answer."""


class LockedError(ValueError):
    """Another process writes there, or may; the text names it and says what to do."""


@dataclasses.dataclass(frozen=True)
class Holder:
    """Who holds a lock.

    Attributes:
      host, boot: the machine, and which start of it; two containers of one machine have one boot.
      process: its number there.
      command: the program.
      since: local time.
    """

    host: str
    boot: str
    process: int
    command: str
    since: str

    @classmethod
    def this(cls) -> "Holder":
        """This process."""
        command = pathlib.Path(sys.argv[0]).name or "python"
        since = time.strftime("%Y-%m-%d %H:%M:%S")
        return cls(socket.gethostname(), _boot(), os.getpid(), command, since)

    @property
    def is_here(self) -> bool:
        """Whether it is, or was, a process of this machine."""
        return bool(self.boot and self.boot == _boot()) or self.host == socket.gethostname()

    @property
    def may_live(self) -> bool:
        """Whether a process with its number runs on this machine. Its flock is better evidence."""
        if self.boot != _boot():
            return False
        if os.name != "posix":
            return True  # no signal asks there
        try:
            os.kill(self.process, 0)
        except ProcessLookupError:
            return False
        except PermissionError:  # of another user
            return True
        return True

    @classmethod
    def read(cls, content: bytes) -> "Holder | None":
        """Whom a lock names; None for an empty or torn one, whose writer died over it."""
        try:
            found = json.loads(content)
            return cls(**{field.name: found[field.name] for field in dataclasses.fields(cls)})
        except (ValueError, KeyError, TypeError):
            return None

    def __str__(self) -> str:
        return f"process {self.process} on {self.host} ({self.command}, since {self.since})"


class Lock:
    """A lock that this process holds; see `take`."""

    def __init__(self, path: pathlib.Path, descriptor: int, made: list[pathlib.Path]) -> None:
        self._path, self._descriptor, self._made = path, descriptor, made
        if hasattr(os, "register_at_fork"):
            forget = functools.partial(_forget, weakref.ref(self))
            os.register_at_fork(after_in_child=forget)

    def release(self) -> None:
        """Removes the lock, and folders that were made for it and hold nothing else."""
        if self._descriptor < 0:
            return
        with contextlib.suppress(OSError):
            os.ftruncate(self._descriptor, 0)
            if _is_at(self._descriptor, self._path):  # or somebody broke it
                self._path.unlink()
        self._close()
        with contextlib.suppress(OSError):
            for folder in self._made:
                folder.rmdir()

    def _close(self) -> None:
        os.close(self._descriptor)
        self._descriptor = -1


def _forget(reference: "weakref.ref[Lock]") -> None:
    """In a forked child: it must not keep the lock when its parent is killed."""
    lock = reference()
    if lock is not None and lock._descriptor >= 0:
        lock._close()


def take(path: pathlib.Path, *, wait: bool = False, break_lock: bool = False) -> Lock:
    """Takes the lock at `path`, whose folder is made where missing.

    Args:
      path: the lock's file.
      wait: for as long as another process holds it, instead of failing.
      break_lock: another machine's process is dead, says the user.

    Raises:
      LockedError: another process holds it, or one of another machine may.
      OSError: the file cannot be written.
    """
    made: list[pathlib.Path] = []
    started, told, misses = time.monotonic(), False, 0
    while True:
        try:
            _make(path.parent, made)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except FileNotFoundError:
            misses += 1
            if misses > _MISSES:
                raise
            continue  # its holder made the folder, and removed it this moment
        except FileExistsError:
            if os.path.lexists(path.parent) and not path.parent.is_dir():
                raise  # a file where the folder should be
            continue
        kept, misses = False, 0
        try:
            locked = _try_flock(descriptor)
            if not _is_at(descriptor, path):
                continue  # its holder removed it, or another process broke it
            os.lseek(descriptor, 0, os.SEEK_SET)
            holder = Holder.read(os.read(descriptor, 2**16))
            if locked is False and break_lock and holder is not None and not holder.is_here:
                path.unlink()
                continue
            if _is_free(locked, holder) or (break_lock and locked is not False):
                _write(descriptor)
                kept = True
                return Lock(path, descriptor, made)
            if not wait:
                what = path.parent if path.name == FILE else path
                raise LockedError(refusal(str(what), locked, holder, broken=break_lock))
            if not told and time.monotonic() - started > _PATIENCE:
                told = True
                logging.warning("%s", _waiting(path, holder))
        finally:
            if not kept:
                os.close(descriptor)
        time.sleep(_POLL)


@contextlib.contextmanager
def held(path: pathlib.Path, *, wait: bool = False, break_lock: bool = False) -> Iterator[None]:
    """`take` for the length of a block."""
    lock = take(path, wait=wait, break_lock=break_lock)
    try:
        yield
    finally:
        lock.release()


def _boot() -> str:
    try:
        return _BOOT.read_text().strip()
    except OSError:  # not Linux
        return ""


def _make(folder: pathlib.Path, made: list[pathlib.Path]) -> None:
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    made[:] = missing or made


def _try_flock(descriptor: int) -> bool | None:
    """Whether the flock is ours now; None where there are no flocks."""
    locked = None
    if fcntl is not None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            locked = True
        except BlockingIOError:
            locked = False
        except OSError as error:
            if error.errno not in _NO_FLOCK:
                raise
    return locked


def _is_at(descriptor: int, path: pathlib.Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _is_free(locked: bool | None, holder: Holder | None) -> bool:
    if locked is False or holder is None:
        return locked is not False
    return holder.is_here and (locked is True or not holder.may_live)


def _write(descriptor: int) -> None:
    os.ftruncate(descriptor, 0)
    os.lseek(descriptor, 0, os.SEEK_SET)
    os.write(descriptor, (json.dumps(dataclasses.asdict(Holder.this())) + "\n").encode())
    os.fsync(descriptor)  # other machines read it


def refusal(what: str, locked: bool | None, holder: Holder | None, *, broken: bool) -> str:
    """Says why a lock is not to be had, and what to do.

    Args:
      what: is locked.
      locked: False where its holder lives for sure, None where this machine cannot tell.
      holder: of the lock, where it is known.
      broken: whether the user said that the holder is dead.
    """
    who = "another process" if holder is None else str(holder)
    if locked is False:
        end = f"; {BREAK} is for processes that are dead, and this one is not" if broken else ""
        return (
            f"{what} is being written by {who}: wait until it ends, or choose another folder{end}"
        )
    return (
        f"{what} is locked by {who}, and this machine cannot tell whether that still runs: if it "
        f"does, wait or choose another folder; if it is dead, add {BREAK}"
    )


def _waiting(path: pathlib.Path, holder: Holder | None) -> str:
    who = "another process" if holder is None else str(holder)
    elsewhere = holder is not None and not holder.is_here
    end = f"; if that process is dead, remove {path}" if elsewhere else ""
    return f"waiting for {who}, which holds {path}{end}"
