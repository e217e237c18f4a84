"""Trains a system's original beside a run: the same examples, order and initial weights.

The original runs in its own process, because this package never imports TensorFlow or PyTorch.
"""

from __future__ import annotations

import importlib.util
import itertools
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from flax import nnx

from chifoumi_jax.errors import UserError
from chifoumi_jax.files import write_json
from chifoumi_jax.systems.loop import read_system
from chifoumi_jax.systems.pictures import figure

if TYPE_CHECKING:
    from chifoumi_jax.systems.loop import SystemRun
    from chifoumi_jax.systems.system import Data, System

_PACKAGES = {"Keras": "keras", "PyTorch": "torch"}
# The last lines of what a failed original printed.
_TAIL = 15


class OriginalError(UserError, RuntimeError):
    """The original cannot be trained."""


def train_original(run: SystemRun) -> list[dict[str, float]]:
    """Train the original of a finished run, from the run's initial weights.

    Writes `original.json`, the original's history, and `original.png`, both losses by epoch, into
    the run's folder. Random numbers other than the order of the examples are the original's own.

    Returns:
        The original's history: "epoch", "loss" as in the run's, "seconds".

    Raises:
        OriginalError: If the framework is not installed, the run began with the user's own weights,
            or the original failed.
    """
    system, config = read_system(run.directory)
    require_framework(system)
    if config["initial"]:
        raise OriginalError(
            f"{run.directory} began with weights that it did not keep; train it from a --seed"
        )
    data, seed = system.data(config["data"]).first(config["limit"]), config["seed"]
    with tempfile.TemporaryDirectory(prefix="chifoumi-original-") as folder:
        given, history = Path(folder) / "given.npz", Path(folder) / "history.json"
        _write_given(given, system, data, seed, len(run.history))
        command = [sys.executable, "-m", f"reference.{system.name.replace('-', '_')}"]
        command += ["--variant", system.variant, "--epochs", str(len(run.history))]
        command += ["--seed", str(seed), "--given", str(given), "--history", str(history)]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode or not history.exists():
            tail = "\n".join(done.stdout.splitlines()[-_TAIL:])
            raise OriginalError(f"{' '.join(command[1:3])} failed:\n{tail}")
        rows: list[dict[str, float]] = json.loads(history.read_bytes())
    write_json(run.directory / "original.json", rows)
    _draw(run, rows, system)
    return rows


def require_framework(system: System) -> None:
    """Check that the original can be run here, before a training begins.

    Raises:
        OriginalError: If there is none, or it or its framework is not installed.
    """
    if not system.has_original:
        raise OriginalError(
            f"{system.label} has no original, because the study did not have it: leave out "
            f"--original, or train {system.name} without --variant"
        )
    for package in ("reference", _PACKAGES[system.framework]):
        if importlib.util.find_spec(package) is None:
            raise OriginalError(
                f"{package} is not installed, which the original of {system.name} needs: run "
                "`pip install 'chifoumi-jax[parity]'`"
            )


def _write_given(path: Path, system: System, data: Data, seed: int, epochs: int) -> None:
    model = system.build(rngs=nnx.Rngs(seed))
    orders = np.stack(list(itertools.islice(system.orders(len(data), seed), epochs)))
    arrays = {"orders": orders.astype(np.int32)}
    for split, examples in (("train", data.train), ("test", data.test)):
        arrays |= {f"data/{split}/{name}": values for name, values in examples.items()}
    arrays |= {f"weights/{name}": value for name, value in system.to_original(model).items()}
    np.savez(path, allow_pickle=False, **arrays)


def _draw(run: SystemRun, rows: Sequence[Mapping[str, float]], system: System) -> None:
    with figure(run.directory / "original.png") as axes:
        for history, label, style in ((rows, system.framework, "o-"), (run.history, "JAX", "x--")):
            epochs, losses = zip(*((row["epoch"], row["loss"]) for row in history), strict=True)
            seconds = sum(row["seconds"] for row in history)
            axes.plot(epochs, losses, style, markersize=4, label=f"{label}, {seconds:.3g} s")
        axes.set(xlabel="epoch", ylabel="loss", title=f"{system.label}: the original and the port")
        axes.legend()
