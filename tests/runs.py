"""Comparison of two runs."""

from typing import Any

import jax
import numpy as np

from chifoumi_jax.training import checkpoint
from chifoumi_jax.training.program_cache import program_of
from chifoumi_jax.training.run import Run, read_config
from chifoumi_jax.training.saving import restore
from chifoumi_jax.training.step import TrainState

_TIMES = {"seconds", "images_per_second"}


def assert_same_training(first: Run, second: Run) -> None:
    """Assert that weights, optimiser state, metrics and results are equal, bit for bit."""
    assert _untimed(first) == _untimed(second)
    assert first.results == second.results
    states = [final_state(run) for run in (first, second)]
    # It also fails if the trees have different structures.
    jax.tree.map(np.testing.assert_array_equal, *states)


def final_state(run: Run) -> TrainState:
    """All arrays of a run's newest checkpoint."""
    recipe, config = read_config(run.directory)
    step, problems = checkpoint.newest(run.directory / "checkpoints")
    assert step is not None
    assert not problems
    program = program_of(recipe, len(config["classes"]), step)
    return restore(run.directory, program, step)[0]


def _untimed(run: Run) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if k not in _TIMES} for row in run.history]
