"""Quick compilation on one device, strict shapes, no Java, and the folder of real photographs."""

import gc
import os
from pathlib import Path

import jax
import pytest

import capjax  # noqa: F401 - as in every command, before the first array
from tests import java, processes

# Before the first array: the platform and the number of devices are fixed when jax initialises.
jax.config.update("jax_platforms", os.environ.get("JAX_PLATFORMS", "cpu"))
processes.start_jax()
if not hasattr(jax, "enable_x64"):  # before JAX 0.8
    jax.enable_x64 = jax.experimental.enable_x64
# A silent [B] + [B, 1] is the classic captioning bug.
jax.config.update("jax_numpy_rank_promotion", "raise")

ROOT = Path(__file__).resolve().parents[1]

MAPPED = Path("/proc/self/maps")
MOST_MAPPINGS = 20_000
"""Of a process that goes on compiling: Linux ends it at 65,530 (vm.max_map_count)."""


@pytest.fixture(scope="module", autouse=True)
def _programs_are_dropped_in_time():
    """Every compiled program keeps some ten memory mappings until its cache is cleared."""
    yield
    if MAPPED.exists() and MAPPED.read_text().count("\n") > MOST_MAPPINGS:
        jax.clear_caches()
        gc.collect()


@pytest.fixture(scope="session", autouse=True)
def _without_java():
    """A test of METEOR asks for it: `with java.found()`."""
    with java.hidden():
        yield


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with `coco/` and `ucm/`: `$CAPJAX_DATA`, or `../shared/data`."""
    folder = Path(os.environ.get("CAPJAX_DATA", ROOT.parent / "shared" / "data")).resolve()
    missing = [name for name in ("coco", "ucm") if not (folder / name).is_dir()]
    if missing:
        pytest.skip(
            f"real photographs not found: {folder} lacks {' and '.join(missing)}; "
            "set CAPJAX_DATA to the folder that holds both"
        )
    return folder


@pytest.fixture
def compiled():
    """An entry for every program that is compiled."""
    events = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, duration, **_: events.append(event) if "backend_compile" in event else None
    )
    yield events
    jax.monitoring.clear_event_listeners()


def pytest_configure(config: pytest.Config) -> None:
    processes.keep_programs(config)


@pytest.hookimpl(trylast=True)  # after -m and -k
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave `slow` tests to an explicit `-m`, and tests of other processes to these."""
    if not config.getoption("-m"):
        skip = pytest.mark.skip(reason="slow: run with -m slow")
        for item in items:
            if "slow" in item.keywords:
                item.add_marker(skip)
    processes.send_elsewhere(items)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if processes.REPORTS in os.environ:
        processes.tell(report)
