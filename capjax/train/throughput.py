"""What a run makes of its devices: examples a second, utilisation, and waiting for data."""

import concurrent.futures
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax

from capjax.train.arithmetic import count_flops, peak_flops

WARN_SHARE = 0.2
"""Share of the time without work, for want of a batch, that is worth a warning."""
WARN_SECONDS = 20.0
"""How long it has to last."""


class Cost(NamedTuple):
    """What one update took.

    Attributes:
      examples: it learnt from.
      waited: seconds in which the devices had nothing to do because its batch was not there.
      flops: of its products and convolutions, on all devices; None where unknown.
      cached: its batch held features of a cache, not images.
      encodes: no encoder of it was frozen, so that no features can be cached.
    """

    examples: int
    waited: float
    flops: float | None
    cached: bool = False
    encodes: bool = False


class DeviceClock:
    """Notes when the devices finished their last update, and so began to wait.

    The host runs ahead of the devices, so they may be busy while it waits for a batch. A thread
    waits for each update and notes the time.
    """

    def __init__(self) -> None:
        self._thread = concurrent.futures.ThreadPoolExecutor(1, "device-clock")
        self._last: concurrent.futures.Future[float] | None = None

    def watch(self, values: Any) -> None:
        """Takes what an update returned and nothing donates."""
        self._last = self._thread.submit(_when_ready, values)

    def idle(self, begin: float, end: float) -> float:
        """Seconds between two times of `time.perf_counter` in which the devices had no work."""
        if self._last is None:
            return end - begin
        if not self._last.done():
            return 0.0
        if self._last.exception() is not None:
            return 0.0  # the loop meets the same error when it fetches
        return max(0.0, end - max(begin, self._last.result()))

    def close(self) -> None:
        """Ends the thread once the last update is done."""
        self._thread.shutdown(wait=False)


def _when_ready(values: Any) -> float:
    jax.block_until_ready(values)
    return time.perf_counter()


class Meter:
    """Takes the cost of each update of a loop."""

    def __init__(self, step: Any, *, examples: int) -> None:
        """Args:
        step: a jitted update; of any other callable the arithmetic is unknown.
        examples: of a global batch.
        """
        self._trace = getattr(step, "trace", None)
        self._examples = examples
        self._clock = DeviceClock()
        self._known: dict[tuple[Any, ...], float] = {}

    def cost(self, state: Any, batch: Mapping[str, jax.Array], *, since: float) -> Cost:
        """Of the update of `state` with `batch`: asked for at `since`, just come."""
        waited = self._clock.idle(since, time.perf_counter())
        return Cost(
            self._examples,
            waited,
            self._flops(state, batch),
            cached="features" in batch,
            encodes="encoder" not in state.frozen,
        )

    def watch(self, values: Any) -> None:
        """Takes what the update returned."""
        self._clock.watch(values)

    def close(self) -> None:
        """Ends the clock."""
        self._clock.close()

    def _flops(self, state: Any, batch: Mapping[str, jax.Array]) -> float | None:
        if self._trace is None:
            return None
        shapes = tuple((name, array.shape) for name, array in sorted(batch.items()))
        if shapes not in self._known:  # one trace, which the jitted update then uses itself
            self._known[shapes] = count_flops(self._trace(state, batch).jaxpr)
        return self._known[shapes]


class Rates:
    """Rates of consecutive updates, and one warning when they wait for data."""

    def __init__(
        self,
        devices: Sequence[jax.Device],
        *,
        peak_teraflops: float = 0.0,
        examples: str = "captions",
    ) -> None:
        """Args:
        devices: of the run, of all its processes.
        peak_teraflops: rate of one of them in 1e12 operations a second; 0: its data sheet's.
        examples: what updates learn from, in the plural.
        """
        self._count, self._name = len(devices), f"{examples}_per_second"
        self._peak = peak_teraflops * 1e12 or peak_flops(devices[0])
        self._windows = 0
        self._seconds = self._waited = 0.0
        self._warned = False

    def of(self, costs: Sequence[Cost], seconds: float) -> dict[str, float]:
        """`captions_per_second` or so, `data_wait` (share of the time) and what is known of
        `teraflops_per_device` (1e12 operations a second) and `mfu` (share of the peak).

        Args:
          costs: of updates in a row.
          seconds: they took together.
        """
        waited = sum(cost.waited for cost in costs)
        self._latest = costs[-1]
        rates = {
            self._name: round(sum(cost.examples for cost in costs) / seconds, 3),
            "data_wait": round(min(waited / seconds, 1.0), 4),
        }
        flops = [cost.flops for cost in costs if cost.flops is not None]
        if flops and len(flops) == len(costs):
            rate = sum(flops) / seconds / self._count
            rates["teraflops_per_device"] = float(f"{rate / 1e12:.4g}")
            if self._peak:
                rates["mfu"] = float(f"{rate / self._peak:.4g}")
        self._windows += 1
        if self._windows > 1:  # the first one compiles
            self._seconds, self._waited = self._seconds + seconds, self._waited + waited
        return rates

    def complaint(self) -> str | None:
        """What to say, once, when the devices wait for data."""
        if self._warned or self._seconds < WARN_SECONDS:
            return None
        share, seconds = self._waited / self._seconds, self._seconds
        self._seconds = self._waited = 0.0
        if share < WARN_SHARE:
            return None
        self._warned = True
        return (
            f"loading data is the bottleneck: for {share:.0%} of the last {seconds:.0f} s the "
            "devices had nothing to do, since the next batch was not there. What helps, the most "
            f"effective first: {'; '.join(_remedies(self._latest))}"
        )


def _remedies(cost: Cost) -> list[str]:
    """What may make data come faster for updates such as this one."""
    processes = (
        f"load in processes (--config.data.workers=…; this machine has {os.cpu_count()} cores)"
    )
    if cost.cached:
        return ["put the features on a faster disk (--config.data.cache=…)", processes]
    caching = "cache the frozen encoder's features (--config.data.cache_features=True)"
    return [
        *([] if cost.encodes else [caching]),
        "keep prepared images in memory (--config.data.keep_megabytes=…)",
        "resize photographs faster (--config.data.resizer=simd)",
        processes,
    ]
