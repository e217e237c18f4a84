"""Many players at once: `python -m benchmarks.load RUN --clients 32 --seconds 60`.

Starts `chifoumi play` itself. Each client holds one connection open and sends frame after frame, as
a page does; who is told to come back later (429) waits as long as `Retry-After` says. The exit code
is 1 if a request failed: an answer of 500 or more, or a connection that was dropped.
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

# Of a frame, in pixels: as the page sends it.
_SIDE = 224
_SAMPLE_SECONDS = 0.25
# Memory is compared with what it was after this share of the time: until then caches fill.
_WARM_SHARE = 0.25


@dataclasses.dataclass(frozen=True)
class Load:
    """What the clients met.

    Attributes:
        seconds: From the first request to the last answer.
        statuses: How many answers had each status.
        dropped: Connections that ended without an answer.
        latencies: Of the answered frames, in seconds, from the last byte sent; sorted.
        memory: Of the server in bytes, at even distances in time.
    """

    seconds: float
    statuses: Counter[int]
    dropped: int
    latencies: list[float]
    memory: list[int]

    @property
    def failures(self) -> int:
        """Answers of 500 or more, and dropped connections."""
        return self.dropped + sum(n for status, n in self.statuses.items() if status >= 500)

    def growth(self) -> int:
        """By how many bytes the server's memory grew once its caches were full."""
        rest = self.memory[int(len(self.memory) * _WARM_SHARE) :]
        half = len(rest) // 2
        return max(rest[half:]) - max(rest[:half]) if half else 0

    def as_json(self) -> dict[str, object]:
        """The figures."""
        percentiles = np.percentile(self.latencies or [np.nan], [50, 95, 99])
        names = ("p50_ms", "p95_ms", "p99_ms")
        return {
            "frames": len(self.latencies),
            "frames_per_second": round(len(self.latencies) / self.seconds, 1),
            **{name: round(1000 * float(p), 1) for name, p in zip(names, percentiles, strict=True)},
            "statuses": {str(status): n for status, n in sorted(self.statuses.items())},
            "dropped": self.dropped,
            "memory_mb": round(max(self.memory) / 1e6),
            "memory_growth_mb": round(self.growth() / 1e6, 1),
        }


class Client(threading.Thread):
    """One player: asks until the time is over."""

    def __init__(self, port: int, frames: list[bytes], until: float):
        super().__init__()
        self._port, self._frames, self._until = port, frames, until
        self.statuses: Counter[int] = Counter()
        self.latencies: list[float] = []
        self.dropped = 0

    def run(self) -> None:
        """Ask."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        number = 0
        while time.monotonic() < self._until:
            number += 1
            try:
                self._ask(connection, self._frames[number % len(self._frames)])
            except (OSError, http.client.HTTPException):
                self.dropped += 1
                connection.close()
        connection.close()

    def _ask(self, connection: http.client.HTTPConnection, frame: bytes) -> None:
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
def server(run: Path) -> Iterator[tuple[int, psutil.Process]]:
    """The command's process and the port where it answers.

    Raises:
        RuntimeError: If it does not start.
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


def measure(run: Path, clients: int, seconds: float) -> Load:
    """Put a run's server under load."""
    frames = [_frame(gesture, seed) for seed in range(4) for gesture in GESTURES]
    memory = []
    with server(run) as (port, process):
        began = time.monotonic()
        players = [Client(port, frames, began + seconds) for _ in range(clients)]
        for player in players:
            player.start()
        while time.monotonic() < began + seconds:
            memory.append(process.memory_info().rss)
            time.sleep(_SAMPLE_SECONDS)
        for player in players:
            player.join()
        took = time.monotonic() - began
    return Load(
        took,
        sum((player.statuses for player in players), Counter()),
        sum(player.dropped for player in players),
        sorted(latency for player in players for latency in player.latencies),
        memory,
    )


def _frame(gesture: str, seed: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(render(gesture, seed=seed, size=(_SIDE, _SIDE))).save(file, "JPEG", quality=90)
    return file.getvalue()


def main(
    run: tyro.conf.Positional[Path | None] = None, clients: int = 32, seconds: float = 60
) -> None:
    """Measure, and print the figures as JSON.

    Args:
        run: Folder of the run to serve; the packaged model if not given.
        clients: Players at once.
        seconds: How long they play.
    """
    load = measure(builtin_run() if run is None else run, clients, seconds)
    print(json.dumps({"clients": clients, "seconds": seconds, **load.as_json()}, indent=2))
    sys.exit(int(load.failures > 0))


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
