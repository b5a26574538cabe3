"""Which process a test runs in: programs compiled quickly, optimised ones, or eight devices.

Compilers and devices are chosen when jax starts, so a test that is marked `optimised` or `devices`
runs in a process of its own that has them: one a module, started by the process that collected it.
"""

import collections
import gc
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import jax
import pytest

VARIABLE = "CAPJAX_TEST_PROCESS"
QUICK, OPTIMISED, DEVICES = "quick", "optimised", "devices"
REPORTS = "CAPJAX_TEST_REPORTS"
"""The file that a process started here writes, a line a phase of a test."""

WHOLE_FLAG = "--xla_cpu_parallel_codegen_split_count=1"
"""XLA cuts a program into 32 parts for as many threads; tests have a core each, and parts cost."""
QUICK_FLAG = "--xla_cpu_use_fusion_emitters=false"
"""The emitters take most of the time that compiling takes, and gain nothing unoptimised."""
HAS_FLAG = (0, 10) <= jax.__version_info__ < (0, 11)
"""XLA ends a process that gives it a flag it does not know: jax 0.12 has no such flag."""

PROGRAMS = "JAX_COMPILATION_CACHE_DIR"
COMPILED_LONG = "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"
LONG = 0.2
"""Seconds: smaller programs compile about as fast as they are read."""


def this_process() -> str:
    """`quick`, unless `$CAPJAX_TEST_PROCESS` says otherwise."""
    kind = os.environ.get(VARIABLE, QUICK)
    if kind not in (QUICK, OPTIMISED, DEVICES):
        raise pytest.UsageError(
            f"{VARIABLE} is {kind!r}; expected {QUICK!r}, {OPTIMISED!r} or {DEVICES!r}"
        )
    return kind


def start_jax() -> None:
    """Makes this process what it is to be, before jax makes its first array."""
    kind = this_process()
    quick = kind != OPTIMISED
    # In the environment too: the commands that tests start compile as the tests do.
    own = [WHOLE_FLAG, QUICK_FLAG] if quick and HAS_FLAG else [WHOLE_FLAG]
    others = os.environ.get("XLA_FLAGS", "").split()
    flags = [flag for flag in others if flag not in (WHOLE_FLAG, QUICK_FLAG)]
    os.environ["XLA_FLAGS"] = " ".join([*flags, *own])
    os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = str(int(quick))
    jax.config.update("jax_disable_most_optimizations", quick)
    jax.config.update("jax_num_cpu_devices", 8 if kind == DEVICES else 1)
    # Tracing makes many objects that live long, and notes a line of code for every operation.
    gc.set_threshold(200_000, 50, 100)
    jax.config.update("jax_include_full_tracebacks_in_locations", False)
    jax.config.update("jax_traceback_in_locations_limit", 1)


def keep_programs(config: pytest.Config) -> None:
    """Compiles a program once for all that uses it: this process, and those that its tests start.

    The folder is empty at first and goes with the process. Others that collect tests have their
    own: jax writes a program in place, where another might read half of it.
    """
    if this_process() == OPTIMISED:  # what a program read from a file says of its memory is no test
        os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"
        jax.config.update("jax_enable_compilation_cache", False)
    elif REPORTS not in os.environ:
        folder = tempfile.TemporaryDirectory(prefix="capjax-programs-")
        config.add_cleanup(folder.cleanup)
        os.environ[PROGRAMS], os.environ[COMPILED_LONG] = folder.name, str(LONG)
        jax.config.update("jax_compilation_cache_dir", folder.name)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", LONG)


def process_of(item: pytest.Item) -> str:
    """The process that a test asks for by its mark."""
    kinds = [name for name in (OPTIMISED, DEVICES) if item.get_closest_marker(name)]
    if len(kinds) > 1:
        raise pytest.UsageError(f"{item.nodeid} is marked {' and '.join(kinds)}: keep one of them")
    return kinds[0] if kinds else QUICK


class Elsewhere(pytest.Item):
    """A test that runs in another process, told here as if it had run in this one."""

    def __init__(self, *, kind: str, together: list[str], **keywords) -> None:
        super().__init__(**keywords)
        self.kind, self.together = kind, together

    def runtest(self) -> None:
        told = self.session.stash.setdefault(TOLD, {})
        if self.nodeid not in told:
            told.update(run_elsewhere(self.config, self.kind, self.together))
        outcome, text = told[self.nodeid]
        if outcome == "skipped":
            pytest.skip(text)
        if outcome == "failed":
            raise FailedElsewhere(text)

    def repr_failure(self, excinfo, style=None):
        if isinstance(excinfo.value, FailedElsewhere):
            return f"in a process of its own ({VARIABLE}={self.kind}):\n{excinfo.value}"
        return super().repr_failure(excinfo, style)

    def reportinfo(self):
        return self.path, None, self.name


class FailedElsewhere(Exception):  # noqa: N818
    """What the other process said of a test."""


TOLD: pytest.StashKey[dict[str, tuple[str, str]]] = pytest.StashKey()


def send_elsewhere(items: list[pytest.Item]) -> None:
    """Replaces, in place, the tests that this process is not made for."""
    groups = collections.defaultdict(list)
    for index, item in enumerate(items):
        kind = process_of(item)
        if kind in (QUICK, this_process()) or item.get_closest_marker("skip"):
            continue
        together = groups[item.path, kind]
        together.append(item.nodeid)
        items[index] = Elsewhere.from_parent(
            item.parent, name=item.name, kind=kind, together=together
        )


def run_elsewhere(config: pytest.Config, kind: str, tests: list[str]) -> dict[str, tuple[str, str]]:
    """(outcome, text) of each test, from one process made for them."""
    with tempfile.TemporaryDirectory() as folder:
        reports = Path(folder) / "reports"
        reports.touch()
        environment = {**os.environ, VARIABLE: kind, REPORTS: str(reports), "PYTEST_ADDOPTS": ""}
        for name in [name for name in environment if name.startswith("PYTEST_XDIST")]:
            del environment[name]
        expression = ["-m", config.getoption("-m")] if config.getoption("-m") else []
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "-p", "no:cacheprovider"]
        done = subprocess.run(
            [*command, *expression, *tests],
            cwd=config.rootpath,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        lines = [json.loads(line) for line in reports.read_text().splitlines()]
    lost = f"it ended ({done.returncode}) before this test did:\n{done.stdout[-4000:]}"
    told = dict.fromkeys(tests, ("failed", lost))
    for test, when, outcome, text in lines:
        if outcome != "passed" or when == "call":
            told[test] = (outcome, text)
    return told


def tell(report: pytest.TestReport) -> None:
    """Writes what the process that started this one asks for."""
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longreprtext
    line = json.dumps([report.nodeid, report.when, report.outcome, reason])
    with Path(os.environ[REPORTS]).open("a") as file:
        file.write(line + "\n")
