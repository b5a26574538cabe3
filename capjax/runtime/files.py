"""Writes files whole or not at all, and says where files can be written."""

import contextlib
import errno
import os
import pathlib
import re
import shutil
import stat
import tempfile
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, BinaryIO

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
"""How an address of another system starts; a drive of Windows has one letter."""
_TRIAL = 4096
"""Bytes written to learn whether a place takes any."""
_CHOICE = re.compile(r"\{(?:([^{}]*,[^{}]*)|(\d+)\.\.(\d+))\}")
"""Braces as shells write a choice, the innermost: `{jpg,png}`, or numbers: `{000..012}`."""
MOST_NAMED = 8
"""How many names of many a message shows."""


@contextlib.contextmanager
def replacing(path: pathlib.Path, *, durable: bool = False) -> Iterator[BinaryIO]:
    """Yields a stream whose content replaces `path`, in one rename, when the block ends well.

    Args:
      path: its folder is created where missing.
      durable: the content is on disk before the rename, so that a power cut keeps it too.
    """
    with replacing_path(path, durable=durable) as temporary, open(temporary, "wb") as stream:
        yield stream


@contextlib.contextmanager
def replacing_path(path: pathlib.Path, *, durable: bool = False) -> Iterator[pathlib.Path]:
    """Yields the path of a file to be written, which replaces `path` when the block ends well.

    Args:
      path, durable: as of `replacing`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        yield temporary
        if durable:
            with open(temporary, "rb+") as stream:
                os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)  # on a full disk its bytes are wanted
        raise


def is_temporary(path: pathlib.Path) -> bool:
    """Whether a file is one that is to replace another, see `replacing_path`."""
    return path.name.startswith(".") and path.name.endswith(".tmp")


_FULL = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "your quota on the disk is used up",
    errno.EFBIG: "a file grew over the limit on the size of files (see ulimit -f)",
}


def fullness(error: BaseException | None) -> str | None:
    """Names the limit on writing (disk, quota, file size) that an error reports; else None.

    Causes count too, and so do texts: libraries pass the system's error on as text alone, as in
    "… [OS error 28: No space left on device]".
    """
    while error is not None:
        for number, text in _FULL.items():
            known = isinstance(error, OSError) and error.errno == number
            if known or os.strerror(number) in str(error):
                return text
        error = error.__cause__ or error.__context__
    return None


def stopped_by_disk(error: BaseException) -> str | None:
    """One sentence for the user when an error of files ends the work; None for other errors."""
    full = fullness(error)
    if full is not None:
        return f"{full} ({error}): make room, then run the same command to go on"
    return str(error) if isinstance(error, OSError) else None


def is_address(given: str) -> bool:
    """Whether a text is the address of another system, such as gs://bucket/a.jpg."""
    return _ADDRESS.match(given) is not None and not given.lower().startswith("file:")


def local_path(given: str | os.PathLike[str], option: str) -> pathlib.Path:
    """The path on this machine that an option names, with `~` for the home folder.

    Args:
      given: as it was typed.
      option: what to call it, e.g. "--out".

    Raises:
      ValueError: it is empty, or the address of another system, which as a local path would be a
        folder called "gs:".
    """
    text = os.fspath(given)
    if not text.strip():
        raise ValueError(f"{option} is empty; expected a path (an unset variable of the shell?)")
    if _ADDRESS.match(text):
        raise ValueError(
            f"{option}={text} is an address, and {option} takes paths of this machine only; mount "
            "that storage, or copy to and from it"
        )
    # Shells leave the ~ of --option=~/folder alone. ~name is left alone here: it may be a file.
    return pathlib.Path(text).expanduser() if re.match("~(/|$)", text) else pathlib.Path(text)


def printable(name: str | os.PathLike[str]) -> str:
    """A file name on one line, for terminals and pages: what cannot be seen is escaped.

    Control characters, line ends and marks that reverse the text around them become `\\n` or
    `\\u202e`; bytes that are no UTF-8 become `\\xff`.
    """
    return "".join(map(_seen, os.fspath(name)))


def _seen(character: str) -> str:
    if "\udc80" <= character <= "\udcff":
        return f"\\x{ord(character) - 0xDC00:02x}"
    hidden = unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")
    turning = "\u202a" <= character <= "\u202e" or "\u2066" <= character <= "\u2069"
    return repr(character)[1:-1] if hidden or turning else character


def counted(number: int, noun: str) -> str:
    """A number and its noun."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def listed(names: Sequence[str], *, most: int = MOST_NAMED, between: str = ", ") -> str:
    """The first names, and how many more there are: "a, b, and 3 more"."""
    more = [f"and {len(names) - most} more"] if len(names) > most else []
    return between.join([*names[:most], *more])


def written_out(names: str) -> list[str]:
    """Splits names and patterns at commas, and "a.{jpg,png}" into a.jpg and a.png.

    "{08..11}" is each number from the first to the last, written as long as the first.
    """
    choice = _CHOICE.search(names)
    if choice is None:
        return [name for name in names.split(",") if name.strip()]
    ones = choice[1].split(",") if choice[1] is not None else _numbers(choice[2], choice[3])
    forms = (names[: choice.start()] + one + names[choice.end() :] for one in ones)
    return list(dict.fromkeys(name for form in forms for name in written_out(form)))


def _numbers(first: str, last: str) -> list[str]:
    step = 1 if int(first) <= int(last) else -1
    return [f"{number:0{len(first)}}" for number in range(int(first), int(last) + step, step)]


def without_places(value: Any) -> Any:
    """Plain JSON values in which absolute paths are reduced to their last name.

    What is handed on says what it was made from, not where that lay on somebody's machine.
    """
    if isinstance(value, Mapping):
        return {name: without_places(own) for name, own in value.items()}
    if isinstance(value, list | tuple):
        return [without_places(own) for own in value]
    if not isinstance(value, str):
        return value
    if value.startswith(("/", "~/")):
        return pathlib.PurePosixPath(value).name
    windows = pathlib.PureWindowsPath(value)
    return windows.name if windows.drive and windows.root else value


def check_writable(path: pathlib.Path, option: str, *, folder: bool) -> None:
    """Tries to write where results shall go, before there are any; leaves nothing behind.

    Args:
      path: a file or a folder, there already or not, whose parents may be missing.
      option: what named it.
      folder: whether it is a folder that will be filled.

    Raises:
      ValueError: it cannot be written; the text says why.
    """
    with _explained(path, option):
        _check_kind(path, folder=folder)
        place = path if folder else path.parent
        while not os.path.lexists(place):
            place = place.parent
        with tempfile.TemporaryFile(dir=place) as trial:
            trial.write(bytes(_TRIAL))


def _check_kind(path: pathlib.Path, *, folder: bool) -> None:
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return  # to be made; the trial finds a parent that is a file
    if folder and not stat.S_ISDIR(mode):
        raise OSError(errno.ENOTDIR, "it is no folder, and a folder is to be written")
    if not folder and not stat.S_ISREG(mode):
        raise OSError(errno.EISDIR, "it is no ordinary file, and a file is to be written")


@contextlib.contextmanager
def _explained(path: pathlib.Path, option: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        reason = fullness(error) or error.strerror
        raise ValueError(
            f"{option}={path} cannot be written: {reason}{where}; name another place, or mend that"
        ) from error


def space(folder: pathlib.Path) -> str:
    """How much the disk of `folder` has left, for messages."""
    usage = shutil.disk_usage(folder)
    return f"{usage.free / 1e6:,.0f} of {usage.total / 1e6:,.0f} MB are free there"
