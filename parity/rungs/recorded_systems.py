"""The rungs of a small system against what the software of 2018 recorded of it."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from chifoumi_jax.systems.loop import divide, epochs_function
from chifoumi_jax.systems.system import State, System
from parity.check import Check
from parity.comparison import Comparison, compare
from parity.originals.recorded_system import RecordedSystem, compare_digests
from parity.precision import pinned
from parity.rungs.small_systems import BECAUSE, BOUNDS, cast, loaded
from parity.system_case import Arrays


def checks(recorded: RecordedSystem) -> Iterator[Check]:
    """Outputs, losses, gradients and training, as far as they were recorded."""
    for dtype in ("float64", "float32"):
        wanted = [(5, _outputs)] if recorded.outputs else []
        if dtype in recorded.gradient_dtypes:
            wanted += [(6, _losses)] if recorded.losses else []
            wanted += [(7, _gradients)]
        for rung, compared_on in wanted:
            yield recorded.check(
                rung,
                dtype,
                bound=BOUNDS[dtype],
                because=BECAUSE[dtype],
                run=functools.partial(compared_on, recorded, dtype),
                long=dtype != "float64",
            )
    if recorded.training is not None:
        training = recorded.training
        yield recorded.check(
            9,
            f"{training.dtype}, {training.updates:,} updates",
            bound=training.bound[0],
            because=training.bound[1],
            run=functools.partial(_training, recorded),
        )


def _outputs(recorded: RecordedSystem, dtype: str, port: System) -> Comparison:
    theirs = recorded.under(dtype, recorded.outputs)
    with pinned(dtype):
        ours = port.outputs(loaded(port, recorded.weights, dtype), cast(recorded.batch, dtype))
        arrays = {name: np.asarray(value) for name, value in ours.items()}
    return compare_digests(arrays, theirs, recorded.outputs)


def _losses(recorded: RecordedSystem, dtype: str, port: System) -> Comparison:
    losses, _ = _differentiated(recorded, dtype, port)
    return compare_digests(losses, recorded.under(dtype, recorded.losses))


def _gradients(recorded: RecordedSystem, dtype: str, port: System) -> Comparison:
    _, gradients = _differentiated(recorded, dtype, port)
    theirs = recorded.by_weight(dtype, recorded.gradients)
    return compare_digests(gradients, theirs | recorded.under(dtype, recorded.batch_gradients))


# Two rungs compare the same losses and gradients, one of them after the other rung of all systems.
@functools.lru_cache(maxsize=16)
def _differentiated(
    recorded: RecordedSystem, dtype: str, port: System
) -> tuple[dict[str, np.ndarray], Arrays]:
    """The port's losses, and its gradients by the weights' and the examples' names."""
    losses: dict[str, np.ndarray] = {}
    gradients: dict[str, np.ndarray] = {}
    with pinned(dtype):
        model, batch = loaded(port, recorded.weights, dtype), cast(recorded.batch, dtype)
        if recorded.losses:
            graph, state = port.state(model)
            found, more = jax.jit(functools.partial(port.gradients, graph))(
                state, batch, cast(recorded.noise, dtype)
            )
            gradients |= port.to_original(nnx.merge(graph, found, more.statistics))
            losses |= {name: np.asarray(value) for name, value in more.losses.items()}
        by_batch = nnx.jit(port.batch_gradients)(model, batch) if recorded.batch_gradients else {}
        gradients |= {name: np.asarray(value) for name, value in by_batch.items()}
    return losses, gradients


def _training(recorded: RecordedSystem, port: System) -> Comparison:
    training = recorded.training
    assert training is not None
    with pinned(training.dtype):
        model = loaded(port, recorded.weights, training.dtype)
        graph, state = port.state(model)
        train = _epochs if training.orders is not None else _steps
        state, losses = train(recorded, port, graph, state)
        ours = port.to_original(nnx.merge(graph, state.params, state.statistics))
    recorded_losses = recorded.under(training.dtype, {"losses": training.losses})
    rows = recorded.by_weight(training.dtype, {"": training.weights})
    # The first axis counts the kept steps, unless the weights were kept at the end only.
    last = {name: value[-1] if training.rows else value for name, value in rows.items()}
    return compare({"losses": losses}, recorded_losses) + compare_digests(ours, last)


def _steps(
    recorded: RecordedSystem, port: System, graph: Any, state: State
) -> tuple[State, np.ndarray]:
    """The state after the recorded steps, and their losses."""
    assert recorded.training is not None
    step, losses = jax.jit(functools.partial(port.step, graph)), []
    dtype = recorded.training.dtype
    for one in recorded.training.steps:
        state, loss = step(state, cast(one.batch, dtype), cast(one.noise, dtype))
        losses.append(float(loss))
    return state, np.array(losses)


def _epochs(
    recorded: RecordedSystem, port: System, graph: Any, state: State
) -> tuple[State, np.ndarray]:
    """The state after the recorded epochs over the batch, and their printed losses."""
    training = recorded.training
    assert training is not None and training.orders is not None
    rows, rest, sizes = divide(list(training.orders), port.batch_size)
    (state, _), losses = epochs_function(port, graph)(
        state, cast(recorded.batch, training.dtype), rows, rest, jax.random.key(0), jnp.int32(0)
    )
    return state, np.array([port.printed(epoch, sizes) for epoch in np.asarray(losses)])
