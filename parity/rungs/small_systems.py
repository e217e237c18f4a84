"""The rungs of the study's small systems: those of the photo classifiers, without the photos."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from chifoumi_jax.systems.loop import divide, epochs_function
from chifoumi_jax.systems.system import System
from parity.check import Check
from parity.comparison import Comparison, Difference, compare, compare_exactly
from parity.distance import relative_to_movement
from parity.precision import pinned
from parity.rungs.initialisation import (
    MAX_EXTREME,
    MAX_Z,
    compare_extremes,
    compare_moments,
    summaries,
)
from parity.system_case import Arrays, SystemOriginal

# float64: sums of at most a few hundred terms of order one, each rounded by 1e-16; float32: 6e-8.
_BOUNDS = {"float64": 1e-12, "float32": 1e-5}
_BECAUSE = {
    "float64": "rounding of sums of a few hundred terms is 1e-14; the smallest fault is 1e-3",
    "float32": "rounding of sums of a few hundred terms is 1e-6",
}
_OPTIMISER_STEPS = 20


def checks(original: SystemOriginal) -> Iterator[Check]:
    """All rungs of a system, from the lowest to the highest."""
    case = original.case
    initial = functools.cache(lambda: summaries(original.initial))
    sizes = {name: value.size for name, value in case.weights.items()}
    yield original.check(
        1,
        "the study's size",
        bound=0.0,
        because="names, shapes and counts are equal or not",
        run=functools.partial(_structure, original),
        quick=True,
    )
    for name, bound, because, compared in (
        ("moments", MAX_Z, "z score; by chance above 5 once in 2 million", compare_moments),
        ("extremes", MAX_EXTREME, "above 25 by chance once in 7e10", compare_extremes),
    ):
        if name == "extremes" and not original.case.port.bounded_initial:
            continue
        yield original.check(
            2,
            name,
            bound=bound,
            because=because,
            run=functools.partial(_initial, compared, initial, sizes),
            quick=True,
        )
    yield original.check(
        4,
        "there and back",
        bound=0.0,
        because="the bits are equal or not",
        run=functools.partial(_there_and_back, original),
        quick=True,
    )
    for dtype in ("float64", "float32"):
        for rung, compared_on in ((5, _outputs), (6, _loss), (7, _gradients)):
            yield original.check(
                rung,
                dtype,
                bound=_BOUNDS[dtype],
                because=_BECAUSE[dtype],
                run=functools.partial(compared_on, original, dtype),
                quick=dtype == "float64",
            )
    yield original.check(
        8,
        f"float64, {_OPTIMISER_STEPS} steps",
        bound=1e-13,
        because="20 steps of a few roundings each; measured 6e-17",
        run=functools.partial(_optimiser, original),
        quick=True,
    )
    bound, reason = case.trajectory_bound
    yield original.check(
        9,
        f"float64, {case.epochs} epochs",
        bound=bound,
        because=reason,
        run=functools.partial(_trajectory, original),
        quick=True,
    )


def _initial(
    compared: Callable[..., Comparison],
    theirs: Callable[[], dict[str, np.ndarray]],
    sizes: Mapping[str, int],
    port: System,
) -> Comparison:
    return compared(summaries(functools.partial(_drawn, port)), theirs(), sizes)


def _model(port: System, weights: Arrays, dtype: str) -> nnx.Module:
    model = port.build(rngs=nnx.Rngs(0))
    port.load_original(model, {name: value.astype(dtype) for name, value in weights.items()})
    return model


def _drawn(port: System, seed: int) -> Arrays:
    return port.to_original(port.build(rngs=nnx.Rngs(seed)))


def _structure(original: SystemOriginal, port: System) -> Comparison:
    def shapes(weights: Arrays) -> dict[str, np.ndarray]:
        found = {name: np.array(value.shape) for name, value in weights.items()}
        return found | {"parameters": np.array(sum(v.size for v in weights.values()))}

    return compare_exactly(shapes(_drawn(port, 0)), shapes(original.initial(0)))


def _there_and_back(original: SystemOriginal, port: System) -> Comparison:
    weights = original.initial(1)
    model = port.build(rngs=nnx.Rngs(0))
    port.load_original(model, original.live(weights))
    return compare_exactly(port.to_original(model), weights)


def _outputs(original: SystemOriginal, dtype: str, port: System) -> Comparison:
    case = original.case
    theirs = original.outputs(case.weights, case.batch, dtype)
    with pinned(dtype):
        ours = port.outputs(_model(port, case.weights, dtype), _cast(case.batch, dtype))
        return compare({name: np.asarray(value) for name, value in ours.items()}, theirs)


def _loss(original: SystemOriginal, dtype: str, port: System) -> Comparison:
    theirs = original.value_and_gradients(original.case.weights, original.case.batch, dtype)
    ours, _ = _value_and_gradients(original, dtype, port)
    return compare({"loss": ours}, {"loss": theirs["loss"]})


def _gradients(original: SystemOriginal, dtype: str, port: System) -> Comparison:
    case = original.case
    theirs = original.value_and_gradients(case.weights, case.batch, dtype)
    _, ours = _value_and_gradients(original, dtype, port)
    return compare(ours, {name: theirs[name] for name in case.weights})


def _value_and_gradients(
    original: SystemOriginal, dtype: str, port: System
) -> tuple[np.ndarray, Arrays]:
    case = original.case
    with pinned(dtype):
        graph, state = port.state(_model(port, case.weights, dtype))
        carry = state.carry if case.carry is None else jnp.asarray(case.carry.astype(dtype))
        batch = _cast(case.batch, dtype)

        def loss(params: Any) -> Any:
            return port.loss(nnx.merge(graph, params, state.statistics), batch, carry, ())[0]

        value, gradients = jax.value_and_grad(loss)(state.params)
        named = port.to_original(nnx.merge(graph, gradients, state.statistics))
        return np.asarray(value), named


def _optimiser(original: SystemOriginal, port: System) -> Comparison:
    case, rng = original.case, np.random.default_rng(8)
    gradients = [
        {
            name: rng.standard_normal(value.shape) * 10.0 ** rng.uniform(-6, 0, value.shape)
            for name, value in case.weights.items()
        }
        for _ in range(_OPTIMISER_STEPS)
    ]
    theirs = original.optimise(case.weights, gradients)
    with pinned("float64"):
        graph, state = port.state(_model(port, case.weights, "float64"))
        params, opt_state = state.params, state.opt_state
        for one in gradients:
            given = nnx.state(_model(port, one, "float64"), nnx.Param)
            updates, opt_state = port.optimizer().update(given, opt_state, params)
            params = optax.apply_updates(params, updates)
        ours = port.to_original(nnx.merge(graph, params, state.statistics))
    return compare(ours, theirs)


def _trajectory(original: SystemOriginal, port: System) -> Comparison:
    case = original.case
    data = original.case.port.data()
    orders = list(itertools.islice(case.port.orders(len(data), 5), case.epochs))
    own = list(itertools.islice(port.orders(len(data), 5), case.epochs))
    theirs = dict(original.train(case.weights, orders))
    losses = theirs.pop("loss")
    with pinned("float64"):
        graph, state = port.state(_model(port, case.weights, "float64"))
        rows, rest, sizes = divide(own, port.batch_size)
        (state, _), taken = epochs_function(port, graph)(
            state, _cast(data.train, "float64"), rows, rest, jax.random.key(0), jnp.int32(0)
        )
        ours = port.to_original(nnx.merge(graph, state.params, state.statistics))
        printed = np.array([port.printed(epoch, sizes) for epoch in np.asarray(taken)])
    relative = relative_to_movement(ours, theirs, case.weights)
    return compare({"printed loss": printed}, {"printed loss": losses}) + Comparison(
        (Difference("all weights, relative to their movement", relative),),
        f"{taken.size:,} updates",
    )


def _cast(arrays: Mapping[str, Any], dtype: str) -> dict[str, Any]:
    return {name: jnp.asarray(np.asarray(value).astype(dtype)) for name, value in arrays.items()}
