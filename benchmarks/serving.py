"""Many clients at one server: how fast they are answered, and what batches are worth.

    python benchmarks/serving.py [--clients=64] [--seconds=60] [--model=scenes-soft] [--save]

There are more clients than places. Each sends one scene after another to `/caption`, and comes back
when a 503 says so. One more client sends a byte a second and has to hold nobody up. The same is
done with a server that joins no requests (`--batch=1`). Ratios:

    batching    captions a second with batches / one by one
    answered    requests that were answered at once / all requests (the others: 503, then answered)

and of the one with batches the 50th, 95th and 99th percentile of the latency, and the memory of the
server after a tenth of the time and at the end; and how many requests made a batch.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from protocol import argument_parser, report

from capjax.data.scenes.still import scene

SCENES = 32
WAITING = 32
"""Places in the server's line."""


def pictures() -> list[bytes]:
    """Scenes as PNG files."""
    found = []
    for number in range(SCENES):
        stream = io.BytesIO()
        Image.fromarray(scene(number, split="test").image).save(stream, "PNG")
        found.append(stream.getvalue())
    return found


@contextlib.contextmanager
def server(model: str, batch: int) -> Iterator[tuple[int, int]]:
    """(port, process id) of a server that is ready."""
    command = [sys.executable, "-m", "capjax.serve", f"--model={model}", "--port=0"]
    command.append(f"--waiting={WAITING}")
    with subprocess.Popen(
        [*command, f"--batch={batch}"], stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        try:
            for line in process.stderr:
                ready = re.search(r"ready: .*:(\d+)$", line)
                if ready:
                    break
                print(line, end="", file=sys.stderr)
            else:
                raise RuntimeError("the server ended before it was ready")
            yield int(ready[1]), process.pid
        finally:
            process.terminate()


class Client(threading.Thread):
    """Asks until the time is over."""

    def __init__(self, port: int, number: int, files: list[bytes], end: float) -> None:
        super().__init__(daemon=True)
        self.port, self.number, self.files, self.end = port, number, files, end
        self.seconds: list[float] = []
        self.refused = 0
        self.wrong: list[str] = []

    def run(self) -> None:
        """Of a thread."""
        try:
            self.ask()
        except (OSError, http.client.HTTPException) as error:
            self.wrong.append(repr(error))

    def ask(self) -> None:
        """Asks; what fails ends it."""
        connection = http.client.HTTPConnection("localhost", self.port, timeout=120)
        sent = self.number
        while time.monotonic() < self.end:
            start = time.monotonic()
            connection.request("POST", "/caption", self.files[sent % len(self.files)])
            response = connection.getresponse()
            response.read()
            if response.status == 200:
                self.seconds.append(time.monotonic() - start)
                sent += 1
            elif response.status == 503:
                self.refused += 1
                connection.close()  # the server keeps no idle one so long; a new one is opened
                time.sleep(float(response.headers["Retry-After"]))
            else:
                self.wrong.append(f"status {response.status}")


def drip(port: int, end: float) -> None:
    """Sends a byte a second of a picture that never comes."""
    with contextlib.suppress(OSError), socket.create_connection(("localhost", port)) as slow:
        head = f"POST /caption HTTP/1.1\r\nHost: localhost:{port}\r\nContent-Length: 9999\r\n\r\n"
        slow.sendall(head.encode())
        while time.monotonic() < end:
            slow.sendall(b"\x89")
            time.sleep(1)


def megabytes(process: int) -> float:
    """Resident memory; 0 where the system does not tell."""
    status = Path(f"/proc/{process}/status")
    found = re.search(r"VmRSS:\s+(\d+)", status.read_text()) if status.exists() else None
    return int(found[1]) / 1024 if found else 0.0


def counted(port: int, what: str) -> float:
    """A count of the server's own."""
    connection = http.client.HTTPConnection("localhost", port, timeout=120)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    found = re.search(rf"^capjax_{what}_total (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def load(model: str, batch: int, clients: int, seconds: float) -> dict[str, float]:
    """What so many clients meet."""
    files = pictures()
    with server(model, batch) as (port, process):
        start = time.monotonic()
        end = start + seconds
        asking = [Client(port, number, files, end) for number in range(clients)]
        for client in asking:
            client.start()
        threading.Thread(target=drip, args=(port, end), daemon=True).start()
        time.sleep(seconds / 10)
        early = megabytes(process)
        for client in asking:
            client.join()
        spent, late = time.monotonic() - start, megabytes(process)
        joined = counted(port, "pictures") / counted(port, "batches")
    wrong = [why for client in asking for why in client.wrong]
    if wrong:
        raise RuntimeError(f"requests failed: {sorted(set(wrong))}")
    latency = [second for client in asking for second in client.seconds]
    refused = sum(client.refused for client in asking)
    if not refused:
        raise RuntimeError("no request was refused, so nothing was tried; give more --clients")
    low, high, highest = 1000 * np.percentile(latency, (50, 95, 99))
    return {
        "captions_per_second": len(latency) / spent,
        "p50_ms": float(low),
        "p95_ms": float(high),
        "p99_ms": float(highest),
        "answered": len(latency) / (len(latency) + refused),
        "refused": float(refused),
        "pictures_a_batch": joined,
        "early_mb": early,
        "late_mb": late,
    }


def main() -> None:
    """Runs the comparison."""
    parser = argument_parser(__doc__, timed=False)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--model", default="scenes-soft")
    options = parser.parse_args()
    joined = load(options.model, 8, options.clients, options.seconds)
    alone = load(options.model, 1, options.clients, options.seconds)
    report(
        "serving",
        ratios={
            "batching": joined["captions_per_second"] / alone["captions_per_second"],
            "answered": joined.pop("answered"),
        },
        figures={
            **joined,
            "captions_per_second_one_by_one": alone["captions_per_second"],
            "p95_ms_one_by_one": alone["p95_ms"],
        },
        save=options.save,
    )


if __name__ == "__main__":
    main()
