"""The study's small systems beside their originals: training alone, and the whole process."""

from __future__ import annotations

import csv
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.measure import BaselineError, Case, Row, measure_in_turn, run, worker

if TYPE_CHECKING:
    from benchmarks.cases import Settings
    from chifoumi_jax.systems.system import System

# Epochs and digits, where the study's own numbers take too long for several rounds.
_SHORTER = {
    "sine-denoiser": (40, None),
    "vae": (3, 60_000),
    "dense-autoencoder": (3, 60_000),
    "conv-autoencoder": (1, 6_000),
    "fgsm": (2, 60_000),
    "gan": (2, 60_000),
}
_TINY_DIGITS = 200


def systems(settings: Settings) -> Iterator[Case]:
    """Every variant of every small system, and the attack's counts."""
    from chifoumi_jax import systems

    for name in settings.systems:
        system = systems.small(name)
        for variant in system.variants:
            yield from _measured(settings, system.of(variant))
    images = _TINY_DIGITS if settings.tiny else 10_000
    baselines = {
        "chifoumi-jax, with compilation": (sys.executable, "counts_chifoumi"),
        "PyTorch, one image at a time": (settings.baselines_python, "counts_torch"),
    }
    yield measure_in_turn(
        f"fgsm, seven counts of {images:,} images",
        "s",
        {
            name: worker(python, [module, "count", images, 0, 1], {})
            for name, (python, module) in baselines.items()
        },
        settings.rounds,
        settings.log,
    )


def _measured(settings: Settings, system: System) -> list[Case]:
    """Two cases from the same processes, which take turns."""
    epochs, digits = _SHORTER.get(system.name, (system.epochs, None))
    if settings.tiny:
        epochs, digits = 1, digits and _TINY_DIGITS
    length = "1 epoch" if epochs == 1 else f"{epochs:,} epochs"
    name = f"{system.label}, {length}" + (f" of {digits:,} digits" if digits else "")
    alone = Case(f"{name}: training with its compilation", "s", [])
    whole = Case(f"{name}: whole process", "s", [])
    shared: tuple[object, ...] = ("--variant", system.variant, "--epochs", epochs)
    with tempfile.TemporaryDirectory() as folder:
        if digits:
            write_digits(Path(folder) / "digits", digits)
            shared += ("--data", Path(folder) / "digits")
        baselines: dict[str, Callable[[], tuple[float, float]]] = {
            "chifoumi-jax, nothing kept": lambda: _ours(system.name, shared),
        }
        if system.has_original:
            baselines[system.framework] = lambda: _theirs(
                settings.baselines_python, system.name, shared
            )
        for case in (alone, whole):
            case.rows = [Row(baseline) for baseline in baselines]
        for _ in range(settings.rounds):
            for number, (baseline, measure) in enumerate(baselines.items()):
                if alone.rows[number].error is not None:
                    continue
                try:
                    seconds = measure()
                except BaselineError as error:
                    for case in (alone, whole):
                        case.rows[number].error = str(error)
                    settings.log(f"{name}: {baseline}: {error}")
                    continue
                for case, value in zip((alone, whole), seconds, strict=True):
                    case.rows[number].values.append(value)
                    settings.log(f"{case.name}: {baseline} {value:.4g} s")
    if alone.rows[0].error is not None:
        raise BaselineError(f"{name}: {alone.rows[0].error}")
    return [alone, whole]


def _ours(name: str, options: tuple[object, ...]) -> tuple[float, float]:
    """Seconds of the training with its compilation, and of the whole process."""
    with tempfile.TemporaryDirectory() as folder:
        runs = Path(folder) / "runs"
        # No compiled program is kept, so that every training compiles.
        environment = {"XDG_CACHE_HOME": folder}
        command = [sys.executable, "-m", "chifoumi_jax.cli", "reproduce", name, *options]
        began = time.perf_counter()
        run([*command, "--runs", runs, "--quiet"], environment)
        seconds = time.perf_counter() - began
        (metrics,) = runs.glob("*/metrics.csv")
        with metrics.open(newline="") as file:
            return sum(float(row["seconds"]) for row in csv.DictReader(file)), seconds


def _theirs(python: str, name: str, options: tuple[object, ...]) -> tuple[float, float]:
    """The same of the original; it keeps a history instead of a run."""
    with tempfile.TemporaryDirectory() as folder:
        history = Path(folder) / "history.json"
        module = f"reference.{name.replace('-', '_')}"
        began = time.perf_counter()
        run([python, "-m", module, *options, "--history", history], {"TF_CPP_MIN_LOG_LEVEL": "3"})
        seconds = time.perf_counter() - began
        rows = json.loads(history.read_bytes())
        return sum(row["seconds"] for row in rows), seconds


def write_digits(folder: Path, count: int) -> None:
    """Write drawn digits as MNIST's four idx files, a sixth as many for the test."""
    from chifoumi_jax.systems.drawn_digits import draw_digits

    folder.mkdir()
    for seed, (prefix, images) in enumerate((("train", count), ("t10k", count // 6))):
        labels = np.random.RandomState(seed).randint(0, 10, images).astype(np.uint8)
        for name, values in (
            ("images-idx3", draw_digits(labels, seed)),
            ("labels-idx1", labels),
        ):
            header = bytes([0, 0, 8, values.ndim]) + np.array(values.shape, ">u4").tobytes()
            (folder / f"{prefix}-{name}-ubyte").write_bytes(header + values.tobytes())
