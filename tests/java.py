"""Java, which METEOR needs: hidden from most tests, as each start takes 9 s of processor time."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

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


METEOR = 0.25
"""What `answering` scores any sentences together."""
ANSWERS = f"""#!/bin/sh
while read -r line; do
    case $line in
        SCORE*) echo 1.0 2.0 ;;
        EVAL*)
            while [ "$line" != "${{line#*"|||"}}" ]; do line=${{line#*"|||"}}; echo 0.5; done
            echo {METEOR} ;;
    esac
done
"""


@contextlib.contextmanager
def answering(folder: Path) -> Iterator[None]:
    """Runs find a program in the folder that answers at once, in the form of METEOR's."""
    program = folder / "java"
    program.write_text(ANSWERS)
    program.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            shutil,
            "which",
            lambda name, *rest: str(program) if name == "java" else which(name, *rest),
        )
        yield
