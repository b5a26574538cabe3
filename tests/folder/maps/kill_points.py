"""Kills runs that fill shards, by SIGKILL before what they change on disk, and lets them go on.

    python -m tests.folder.maps.kill_points FORM FOLDER EVERY

Each run is a process of its own and dies EVERY changes later than the one before it: at a rename, a
removal, a line, of which half is written. After each death the folder is read, and finished by a
run that nobody disturbs. Prints how many deaths there were; an error where anything is lost.
"""

import functools
import itertools
import os
import shutil
import signal
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet  # noqa: F401 - once, for all processes

import capjax
from capjax.folder.maps import sharding
from tests.folder.maps.made import CONTENTS, check, check_image, explain

METHODS = ["attention", "gradient"]
LATER = {**dict([*CONTENTS.items()][:6]), "a/2.jpg": "something else", "c/new.jpg": "a new one"}
FIRST = dict([*CONTENTS.items()][:5])
SCENES = enumerate([({}, [], FIRST, METHODS[:1]), (FIRST, METHODS[:1], LATER, METHODS)])
"""What a folder holds, and what the run that dies shall make of it."""
CHANGES = ("replace", "unlink", "rmdir", "write", "ftruncate")


def in_a_process(work: Callable[[], None]) -> int:
    """Does it in a process of its own; returns its exit code, or minus the signal that ended it."""
    process = os.fork()
    if process == 0:
        try:
            work()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def dying(work: Callable[[], None], changes: int) -> None:
    """Does it up to so many changes on disk."""
    left = changes

    def counted(change, name):
        def counting(*arguments, **options):
            nonlocal left
            if left == 0:
                if name == "write":
                    descriptor, content = arguments
                    change(descriptor, content[: len(content) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1
            return change(*arguments, **options)

        return counting

    for name in CHANGES:
        setattr(os, name, counted(getattr(os, name), name))
    work()


def check_readable(out: Path, before: dict[str, str], after: dict[str, str]) -> None:
    """All that the lines of a dead run name is there."""
    if not (out / "run.json").exists():
        return
    results = capjax.open_results(out)
    for image in results.where(error=False):
        if image.file in before and image.caption != after[image.file]:
            assert image.caption == before[image.file]
        else:
            methods = [*image.answers[0].methods]
            check_image(image, after[image.file], methods, exact=False)
    assert set(before) <= set(results.files)


def main(form: str, folder: Path, every: int) -> None:
    sharding.MOST_ROWS = 3
    warnings.filterwarnings("ignore", message=".*os.fork.*", category=RuntimeWarning)
    print(sum(deaths(folder / f"{number}", form, every, *scene) for number, scene in SCENES))


def deaths(folder: Path, form: str, every: int, before, had, after, wanted) -> int:
    """How often the run of a scene died before it came to its end."""
    start, out = folder / "start", folder / "out"
    folder.mkdir()
    work = functools.partial(explain, out, form, after, wanted)
    seen = functools.partial(check_readable, out, before, after)
    whole = functools.partial(check, out, form, after, wanted)
    if before:
        assert in_a_process(functools.partial(explain, start, form, before, had)) == 0
    for point in itertools.count(step=every):
        if before:
            shutil.copytree(start, out)
        ended = in_a_process(functools.partial(dying, work, point))
        assert ended in (0, -signal.SIGKILL)
        for step in ([seen] if ended else []) + [work, whole]:
            assert in_a_process(step) == 0, f"after {point} changes"
        shutil.rmtree(out)
        if ended == 0:
            return point // every
    raise AssertionError("it never ended")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
