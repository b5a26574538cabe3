"""What a server counts of itself, in the text format of Prometheus."""

import collections
import threading

BOUNDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
"""Upper ends of the histogram of seconds."""


class Meters:
    """Counts of answered requests; may be used from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answered: collections.Counter[tuple[str, int]] = collections.Counter()
        self._within: dict[str, list[int]] = {}
        self._seconds: dict[str, float] = {}

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Counts one answer."""
        with self._lock:
            self._answered[route, status] += 1
            self._seconds[route] = self._seconds.get(route, 0.0) + seconds
            within = self._within.setdefault(route, [0] * len(BOUNDS))
            for at, bound in enumerate(BOUNDS):
                within[at] += seconds <= bound

    def text(self, gauges: dict[str, tuple[str, str, float]]) -> str:
        """All of it, and values from elsewhere: name -> (kind, meaning, value)."""
        lines = [
            "# HELP capjax_requests_total Requests answered, by route and status.",
            "# TYPE capjax_requests_total counter",
        ]
        with self._lock:
            lines += [
                f'capjax_requests_total{{route="{route}",status="{status}"}} {count}'
                for (route, status), count in sorted(self._answered.items())
            ]
            lines += [
                "# HELP capjax_request_seconds Time from the first byte to the last of the answer.",
                "# TYPE capjax_request_seconds histogram",
            ]
            for route, within in sorted(self._within.items()):
                total = sum(n for (own, _), n in self._answered.items() if own == route)
                bounds = [*zip(map(str, BOUNDS), within, strict=True), ("+Inf", total)]
                lines += [
                    f'capjax_request_seconds_bucket{{route="{route}",le="{bound}"}} {count}'
                    for bound, count in bounds
                ]
                lines.append(
                    f'capjax_request_seconds_sum{{route="{route}"}} {self._seconds[route]:.6f}'
                )
                lines.append(f'capjax_request_seconds_count{{route="{route}"}} {total}')
        for name, (kind, meaning, value) in gauges.items():
            lines += [f"# HELP {name} {meaning}", f"# TYPE {name} {kind}", f"{name} {value:g}"]
        return "\n".join(lines) + "\n"
