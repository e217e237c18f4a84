"""Load test with concurrent players: `python -m benchmarks.load RUN --clients 32 --seconds 60`.

It starts `chifoumi play` itself. Each client keeps one connection open and sends one frame after
the other, as the page does. A client that gets a 429 waits as long as `Retry-After` says. The exit
code is 1 if a request failed: a status of 500 or more, or a dropped connection.
"""

import contextlib
import dataclasses
import http.client
import io
import json
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import tyro
from PIL import Image

from chifoumi_jax.builtin import builtin_run
from chifoumi_jax.hands import GESTURES, render

# Width and height of a frame in pixels, as the page sends it.
_FRAME_SIDE = 224
_SAMPLE_SECONDS = 0.25
# Memory samples from this first share of the time are ignored, because the caches still fill.
_WARM_UP_SHARE = 0.25


@dataclasses.dataclass(frozen=True)
class LoadResult:
    """Measurements of a load test.

    Attributes:
        seconds: Time from the first request to the last response, in seconds.
        statuses: Number of responses with each HTTP status.
        dropped: Number of connections that ended without a response.
        latencies: Seconds from a frame's last sent byte to its response with status 200; sorted.
        memory: Samples of the server's memory in bytes, at even intervals.
    """

    seconds: float
    statuses: Counter[int]
    dropped: int
    latencies: list[float]
    memory: list[int]

    @property
    def failures(self) -> int:
        """Number of responses with a status of 500 or more, plus dropped connections."""
        return self.dropped + sum(n for status, n in self.statuses.items() if status >= 500)

    def memory_growth(self) -> int:
        """Growth of the server's memory after its caches are full, in bytes."""
        rest = self.memory[int(len(self.memory) * _WARM_UP_SHARE) :]
        half = len(rest) // 2
        return max(rest[half:]) - max(rest[:half]) if half else 0

    def as_json(self) -> dict[str, object]:
        """The figures to print."""
        percentiles = np.percentile(self.latencies or [np.nan], [50, 95, 99])
        names = ("p50_ms", "p95_ms", "p99_ms")
        return {
            "frames": len(self.latencies),
            "frames_per_second": round(len(self.latencies) / self.seconds, 1),
            **{name: round(1000 * float(p), 1) for name, p in zip(names, percentiles, strict=True)},
            "statuses": {str(status): n for status, n in sorted(self.statuses.items())},
            "dropped": self.dropped,
            "memory_mb": round(max(self.memory) / 1e6),
            "memory_growth_mb": round(self.memory_growth() / 1e6, 1),
        }


class Client(threading.Thread):
    """One player: sends frames until a point in time."""

    def __init__(self, port: int, frames: list[bytes], until: float):
        super().__init__()
        self._port, self._frames, self._until = port, frames, until
        self.statuses: Counter[int] = Counter()
        self.latencies: list[float] = []
        self.dropped = 0

    def run(self) -> None:
        """Send frames until the time is over."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        number = 0
        while time.monotonic() < self._until:
            number += 1
            try:
                self._send(connection, self._frames[number % len(self._frames)])
            except (OSError, http.client.HTTPException):
                self.dropped += 1
                connection.close()
        connection.close()

    def _send(self, connection: http.client.HTTPConnection, frame: bytes) -> None:
        connection.request("POST", "/api/frame", frame, {"Content-Type": "image/jpeg"})
        sent = time.monotonic()
        response = connection.getresponse()
        response.read()
        self.statuses[response.status] += 1
        if response.status == 200:
            self.latencies.append(time.monotonic() - sent)
        elif response.status == 429:
            time.sleep(float(response.headers["Retry-After"]))


@contextlib.contextmanager
def running_server(run: Path) -> Iterator[tuple[int, psutil.Process]]:
    """The server's port and process.

    Raises:
        RuntimeError: If the server does not start.
    """
    command = [sys.executable, "-m", "chifoumi_jax.cli", "play", str(run), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            found = re.search(r":(\d+)/$", process.stdout.readline().strip())
            if found is None:
                raise RuntimeError("the server did not start")
            yield int(found[1]), psutil.Process(process.pid)
        finally:
            process.terminate()


def measure(run: Path, clients: int, seconds: float) -> LoadResult:
    """Run the load test on a run's server."""
    frames = [_frame(gesture, seed) for seed in range(4) for gesture in GESTURES]
    memory = []
    with running_server(run) as (port, process):
        began = time.monotonic()
        players = [Client(port, frames, began + seconds) for _ in range(clients)]
        for player in players:
            player.start()
        while time.monotonic() < began + seconds:
            memory.append(process.memory_info().rss)
            time.sleep(_SAMPLE_SECONDS)
        for player in players:
            player.join()
        elapsed = time.monotonic() - began
    return LoadResult(
        elapsed,
        sum((player.statuses for player in players), Counter()),
        sum(player.dropped for player in players),
        sorted(latency for player in players for latency in player.latencies),
        memory,
    )


def _frame(gesture: str, seed: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(render(gesture, seed=seed, size=(_FRAME_SIDE, _FRAME_SIDE))).save(
        file, "JPEG", quality=90
    )
    return file.getvalue()


def main(
    run: tyro.conf.Positional[Path | None] = None, clients: int = 32, seconds: float = 60
) -> None:
    """Run the load test, and print its figures as JSON.

    Args:
        run: Folder of the run to serve; the packaged model if not given.
        clients: Number of concurrent players.
        seconds: Duration of the test, in seconds.
    """
    result = measure(builtin_run() if run is None else run, clients, seconds)
    print(json.dumps({"clients": clients, "seconds": seconds, **result.as_json()}, indent=2))
    sys.exit(int(result.failures > 0))


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
