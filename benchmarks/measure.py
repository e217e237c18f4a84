"""Timing of processes: baselines take turns in rounds, so that a noisy minute affects them all."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from chifoumi_jax.errors import UserError


class BaselineError(UserError):
    """A baseline could not run; the message gives the reason."""


@dataclasses.dataclass
class Row:
    """Measurements of one baseline.

    Attributes:
        name: Name of the baseline.
        values: Every repetition, in the case's unit.
        peak_bytes: Largest peak memory of its processes, in bytes.
        versions: Versions of what it ran on, by name.
        error: Reason why there are no values, or None.
    """

    name: str
    values: list[float] = dataclasses.field(default_factory=list)
    peak_bytes: int = 0
    versions: dict[str, str] = dataclasses.field(default_factory=dict)
    error: str | None = None

    @property
    def median(self) -> float:
        """Median of all repetitions."""
        return statistics.median(self.values)


@dataclasses.dataclass
class Case:
    """One comparison.

    Attributes:
        name: The measured quantity.
        unit: Unit of the values.
        rows: One for each baseline, ours first.
        more_is_better: Whether the values are rates.
    """

    name: str
    unit: str
    rows: list[Row]
    more_is_better: bool = False

    def ratio(self, row: Row) -> float:
        """A row's median divided by that of the first row, this project's."""
        return row.median / self.rows[0].median

    def as_json(self) -> dict[str, Any]:
        """All measurements as a dictionary for JSON."""
        return dataclasses.asdict(self)


Measurement = Callable[[], tuple[Sequence[float], int, Mapping[str, str]]]


def measure_in_turn(
    name: str,
    unit: str,
    baselines: Mapping[str, Measurement],
    rounds: int,
    log: Callable[[str], None],
    *,
    more_is_better: bool = False,
) -> Case:
    """Measure each baseline once in every round.

    A baseline that fails is left out of the following rounds.

    Raises:
        BaselineError: If the first baseline, this project's, fails.
    """
    case = Case(name, unit, [Row(baseline) for baseline in baselines], more_is_better)
    for number in range(rounds):
        for row, measure in zip(case.rows, baselines.values(), strict=True):
            if row.error is not None:
                continue
            try:
                values, peak, versions = measure()
            except BaselineError as error:
                row.error = str(error)
                log(f"{name}: {row.name}: {row.error}")
                continue
            row.values += values
            row.peak_bytes = max(row.peak_bytes, peak)
            row.versions = dict(versions)
            log(f"{name}, round {number + 1}: {row.name} {statistics.median(values):.4g} {unit}")
    if case.rows[0].error is not None:
        raise BaselineError(f"{name}: {case.rows[0].error}")
    return case


# Variables that are removed. The first names JAX's compilation cache, where a start with an empty
# cache must find nothing. The second makes Python compile all modules at every start, which takes
# many seconds for TensorFlow's.
_REMOVED = ("JAX_COMPILATION_CACHE_DIR", "PYTHONDONTWRITEBYTECODE")


def run(command: Sequence[object], environment: Mapping[str, str] | None = None) -> str:
    """Run a command to its end and return what it printed.

    Raises:
        BaselineError: If it cannot be started; if it fails, with the last line that it wrote to
            standard error.
    """
    words = [str(word) for word in command]
    variables = {name: value for name, value in os.environ.items() if name not in _REMOVED}
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, env=variables | dict(environment or {})
        )
    except OSError as error:
        raise BaselineError(f"{words[0]} cannot be started: {error.strerror}") from error
    if done.returncode != 0:
        last = (done.stderr.strip() or "it wrote nothing to standard error").splitlines()[-1]
        raise BaselineError(f"exit code {done.returncode}: {last}")
    return done.stdout


_DEVICES = """
import jax, json
print(json.dumps({"devices": [one.device_kind for one in jax.devices()], "jax": jax.__version__}))
"""


@functools.cache
def machine() -> dict[str, Any]:
    """Description of this machine and its software."""
    import platform

    import psutil

    # In its own process, because this one must leave the devices' memory to the baselines.
    devices: dict[str, Any] = json.loads(run([sys.executable, "-c", _DEVICES]))
    return {
        "processor": _processor() or platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": psutil.virtual_memory().total,
        "devices": devices["devices"],
        "python": platform.python_version(),
        "jax": devices["jax"],
        "system": platform.platform(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    names = [line.partition(":")[2] for line in lines if line.startswith("model name")]
    return names[0].strip() if names else ""


def worker(
    python: str,
    arguments: Sequence[object],
    environment: Mapping[str, str],
    convert: Callable[[float], float] = lambda seconds: seconds,
) -> Measurement:
    """A measurement by `benchmarks.worker` in its own process."""

    def measure() -> tuple[Sequence[float], int, Mapping[str, str]]:
        command = [python, "-m", "benchmarks.worker", *arguments]
        output = run(command, environment)
        found = json.loads(output.splitlines()[-1])
        return [convert(s) for s in found["seconds"]], found["peak_bytes"], found["versions"]

    return measure


def command(words: Sequence[object], environment: Mapping[str, str] | None = None) -> Measurement:
    """A measurement of a whole command, from start to end."""

    def measure() -> tuple[Sequence[float], int, Mapping[str, str]]:
        output = run([sys.executable, "-m", "benchmarks.time_and_memory", *words], environment)
        found = json.loads(output.splitlines()[-1])
        return [found["seconds"]], found["peak_bytes"], {}

    return measure
