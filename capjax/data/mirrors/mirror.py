"""A folder of results that lives in a store: written here, and put to its address as it grows.

Commands write to folders of this machine, whose files they replace in one rename and to whose lines
they append. A store has neither: it puts an object whole, or not at all. So a run at an address
works in a temporary folder. First all that the address holds is fetched; then what is new or
changed is put again and again, by a thread beside the run.

What refers to files (JSON, lines) is copied before the others are listed, and put after them. So
whoever fetches after a death at any moment finds a folder that its command goes on with, as after a
death here; only what was done since the last put is done again.

One process writes to an address at a time, see `capjax.data.mirrors.lock`.
"""

import atexit
import contextlib
import os
import pathlib
import posixpath
import shutil
import stat
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence

from absl import logging

from capjax.data.mirrors.lock import held, is_lock
from capjax.data.stores.remote import Remote, remote
from capjax.runtime.files import is_address, is_temporary, local_path
from capjax.runtime.locks import FILE

EVERY, SHARE = 60.0, 5.0
"""Seconds between two puts, and how many times as long as the last put took, if that is longer."""
TRIES, PATIENCE = 5, 1.0
"""Of the last put, and seconds before the second try; each later one waits twice as long."""
_BATCH = 64
_LAST = (".html", ".json", ".jsonl")
"""What refers to other files, in the order in which it is put after them."""

State = tuple[int, int, int]
"""By which versions of a file are told apart: its number, size and time of change."""


class Mirror:
    """A folder of this machine, and the address that is kept equal to it; see `mirrored`.

    Attributes:
      place: the address.
      folder: on this machine; whatever is written here will be there.
      kept: whether the folder stays, since not all of it could be put.
    """

    def __init__(self, place: Remote, folder: pathlib.Path) -> None:
        self.place, self.folder = place, folder
        self._put: dict[str, State] = {}
        self.kept = False
        self._stopped = threading.Event()
        self._one = threading.Lock()
        self._thread = threading.Thread(target=self._keep_putting, daemon=True)

    def at(self, path: pathlib.Path) -> str:
        """What a file of the folder is called at the address."""
        return f"{self.place}/{path.relative_to(self.folder).as_posix()}"

    def fetch(self) -> None:
        """Copies all that is at the address into the folder, which is empty.

        Raises:
          OSError: the store does not answer.
        """
        fetch(self.place, self.folder)
        self._put = self._there()

    def start(self) -> None:
        """Begins to put, in a thread of its own."""
        self._thread.start()

    def push(self) -> None:
        """Puts what is new or changed since the last time, and removes what is gone.

        Raises:
          OSError: the store does not answer; what is not there is put by the next call.
        """
        with self._one, self.place.writing():
            while not self._pushed():
                pass  # files were replaced meanwhile: what refers to them is copied again

    def finish(self) -> None:
        """Puts the rest; nothing is written to the folder after it.

        Raises:
          OSError: the store does not answer, after some tries; the text says where all lies.
        """
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()
        for number in range(TRIES):
            try:
                return self.push()
            except OSError as error:
                failure = error
            if number + 1 < TRIES:
                time.sleep(PATIENCE * 2**number)
        self.kept = True
        raise OSError(
            f"{failure}. The results could not be put to {self.place}; they are kept in "
            f"{self.folder}. Run the same command again, or copy that folder to the address"
        )

    def _keep_putting(self) -> None:
        wait = EVERY
        while not self._stopped.wait(wait):
            began = time.monotonic()
            try:
                self.push()
            except OSError as error:
                logging.warning("%s; tried again later, nothing is lost", error)
            wait = max(EVERY, SHARE * (time.monotonic() - began))

    def _pushed(self) -> bool:
        """One pass; whether all files that were listed were still there when they were put."""
        with tempfile.TemporaryDirectory(prefix="capjax-put-") as kept:
            copies = self._copied(pathlib.Path(kept))
            there = self._there()
            changed = [name for name in there if there[name] != self._put.get(name)]
            plain = [name for name in changed if not name.endswith(_LAST)]
            for start in range(0, len(plain), _BATCH):
                names = plain[start : start + _BATCH]
                try:
                    self._upload(names, [self.folder / name for name in names])
                except FileNotFoundError:
                    if all((self.folder / name).exists() for name in names):
                        raise
                    return False
                self._put.update((name, there[name]) for name in names)
            for suffix in _LAST:
                for name in sorted(copies):
                    path, state = copies[name]
                    if name.endswith(suffix) and state != self._put.get(name):
                        self._upload([name], [path])
                        self._put[name] = state
            gone = [name for name in self._put if name not in there]
            for name in gone:
                with contextlib.suppress(FileNotFoundError):
                    self.place.system.rm_file(_under(self.place, name))
                del self._put[name]
        return True

    def _copied(self, to: pathlib.Path) -> dict[str, tuple[pathlib.Path, State]]:
        """Copies of what refers to other files, where it changed, with the state it had before."""
        copies = {}
        for number, (name, state) in enumerate(self._there().items()):
            if name.endswith(_LAST) and state != self._put.get(name):
                with contextlib.suppress(FileNotFoundError):
                    shutil.copyfile(self.folder / name, to / str(number))
                    copies[name] = (to / str(number), state)
        return copies

    def _there(self) -> dict[str, State]:
        """The files of the folder, its lock and what is being written apart, by name."""
        found = {}
        for path in sorted(self.folder.rglob("*")):
            name = path.relative_to(self.folder).as_posix()
            with contextlib.suppress(FileNotFoundError):
                own = path.stat()
                if stat.S_ISREG(own.st_mode) and name != FILE and not is_temporary(path):
                    found[name] = (own.st_ino, own.st_size, own.st_mtime_ns)
        return found

    def _upload(self, names: Sequence[str], paths: Sequence[pathlib.Path]) -> None:
        whole = [_under(self.place, name) for name in names]
        self.place.system.put([str(path) for path in paths], whole)


@contextlib.contextmanager
def mirrored(address: str, *, break_lock: bool = False) -> Iterator[Mirror]:
    """A folder of this machine with all that an address holds, put there until the block ends.

    The folder is removed at the end, but kept where not all of it could be put.

    Args:
      address: of a folder, there or not.
      break_lock: the process that locked the address is dead, says the user.

    Raises:
      ImportError: fsspec, or the package of this kind of store, is missing.
      ValueError: no address that fsspec opens, or the store has no conditional writes.
      LockedError: another process writes there.
      OSError: the store does not answer; see `Mirror.finish` for the end.
    """
    place = remote(address.rstrip("/"))
    with held(place, break_lock=break_lock):
        folder = pathlib.Path(tempfile.mkdtemp(prefix="capjax-out-"))
        mirror = Mirror(place, folder)
        try:
            mirror.fetch()
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        mirror.start()
        try:
            yield mirror
        except BaseException:
            with contextlib.suppress(OSError):
                mirror.finish()
                shutil.rmtree(folder, ignore_errors=True)
            raise
        if not mirror.kept:
            mirror.finish()
            shutil.rmtree(folder, ignore_errors=True)


def fetch(place: Remote, folder: pathlib.Path) -> None:
    """Copies all files of an address into a folder, locks apart; of nothing there nothing.

    Raises:
      OSError: the store does not answer, or a file vanished meanwhile.
    """
    place.system.invalidate_cache()
    names = [name for name in place.below() or () if not is_lock(name)]
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
    with place.reading():
        for start in range(0, len(names), _BATCH):
            batch = names[start : start + _BATCH]
            given = [_under(place, name) for name in batch]
            place.system.get(given, [str(folder / name) for name in batch])


def here(given: str | os.PathLike[str], option: str) -> pathlib.Path:
    """The folder that an option names; of an address a copy, which this process removes at its end.

    Raises:
      ValueError: it is empty, or no address that fsspec opens.
      FileNotFoundError: nothing is at the address.
      ImportError, OSError: as `mirrored`.
    """
    text = os.fspath(given)
    if not is_address(text):
        return local_path(text, option)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="capjax-read-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    place = remote(text.rstrip("/"))
    fetch(place, folder)
    if not any(folder.iterdir()):
        raise FileNotFoundError(f"there is nothing at {place}; give the address of a folder")
    return folder


def _under(place: Remote, name: str) -> str:
    return posixpath.join(place.path, name)
