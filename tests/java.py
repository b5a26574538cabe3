"""Java, which METEOR needs: hidden from most tests, as each start takes 9 s of processor time."""

import contextlib
import shutil
from collections.abc import Iterator

import pytest

which = shutil.which
PROGRAM = which("java")
"""Of this machine; None: it has none."""
needs_java = pytest.mark.skipif(PROGRAM is None, reason="needs Java")


def _hide(command, *arguments, **named):
    found = which(command, *arguments, **named)
    return None if found is not None and found == PROGRAM else found


@contextlib.contextmanager
def hidden() -> Iterator[None]:
    """Runs find no Java in here, and report METEOR as unavailable."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shutil, "which", _hide)
        yield


@contextlib.contextmanager
def found() -> Iterator[None]:
    """Runs find this machine's Java in here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shutil, "which", which)
        yield
