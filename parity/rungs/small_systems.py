"""The rungs of the study's small systems: those of the photo classifiers, without the photos."""

from __future__ import annotations

import dataclasses
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
from parity.system_case import Arrays, Step, SystemCase, SystemOriginal

# float64: sums of at most a few hundred terms of order one, each rounded by 1e-16; float32: 6e-8.
BOUNDS = {"float64": 1e-12, "float32": 1e-5}
BECAUSE = {
    "float64": "rounding of sums of a few hundred terms is 1e-14; the smallest fault is 1e-3",
    "float32": "rounding of sums of a few hundred terms is 1e-6",
}
_OPTIMISER_STEPS = 20


def checks(original: SystemOriginal) -> Iterator[Check]:
    """All rungs of a system, from the lowest to the highest."""
    long = original.case.long
    for check in _checks(original):
        yield dataclasses.replace(check, long=True) if check.rung in long else check


def _checks(original: SystemOriginal) -> Iterator[Check]:
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
            if rung == 7 and dtype not in case.gradient_dtypes:
                continue
            yield original.check(
                rung,
                dtype,
                bound=BOUNDS[dtype],
                because=BECAUSE[dtype],
                run=functools.partial(compared_on, original, dtype),
                quick=dtype == "float64",
            )
    if case.saturated is not None:
        for rung, compared_on in ((6, _loss), (7, _gradients)):
            yield original.check(
                rung,
                "float32, saturated",
                bound=BOUNDS["float32"],
                because=BECAUSE["float32"],
                run=functools.partial(compared_on, original, "float32", saturated=True),
                quick=True,
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


# Ports with a fault elsewhere inherit `create`, so that their weights are not drawn again.
@functools.lru_cache(maxsize=4)
def _own_summaries(creator: type[System], variant: str) -> dict[str, np.ndarray]:
    return summaries(functools.partial(_drawn, creator(variant)))


def _initial(
    compared: Callable[..., Comparison],
    theirs: Callable[[], dict[str, np.ndarray]],
    sizes: Mapping[str, int],
    port: System,
) -> Comparison:
    creator = next(kind for kind in type(port).__mro__ if "create" in vars(kind))
    return compared(_own_summaries(creator, port.variant), theirs(), sizes)


def loaded(port: System, weights: Arrays, dtype: str) -> nnx.Module:
    """The port's model with these weights in `dtype`."""
    # Only shapes are needed; all weights are loaded, running statistics too.
    model: nnx.Module = nnx.eval_shape(lambda: port.build(rngs=nnx.Rngs(0)))
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


# The original's answers are the same for every port. Each is kept until the next original.
@functools.lru_cache(maxsize=4)
def _their_outputs(original: SystemOriginal, dtype: str) -> Arrays:
    return original.outputs(original.case.weights, original.case.batch, dtype)


@functools.lru_cache(maxsize=4)
def _their_gradients(original: SystemOriginal, dtype: str, saturated: bool) -> Arrays:
    case = original.case
    return original.value_and_gradients(_chosen(case, saturated), case.batch, case.noise, dtype)


@functools.lru_cache(maxsize=1)
def _their_updates(original: SystemOriginal) -> Arrays:
    return original.optimise(original.case.weights, list(_random_gradients(original.case)))


@functools.lru_cache(maxsize=1)
def _their_training(original: SystemOriginal) -> Arrays:
    return original.train(original.case.weights, _steps(original.case))


def _chosen(case: SystemCase, saturated: bool) -> Arrays:
    return case.saturated if saturated and case.saturated is not None else case.weights


def _outputs(original: SystemOriginal, dtype: str, port: System) -> Comparison:
    case = original.case
    theirs = _their_outputs(original, dtype)
    with pinned(dtype):
        ours = port.outputs(loaded(port, case.weights, dtype), cast(case.batch, dtype))
        return compare({name: np.asarray(value) for name, value in ours.items()}, theirs)


def _loss(
    original: SystemOriginal, dtype: str, port: System, saturated: bool = False
) -> Comparison:
    losses, _, theirs = _losses_and_gradients(original, dtype, port, saturated)
    weighted = original.case.weights
    return compare(losses, {name: value for name, value in theirs.items() if name not in weighted})


def _gradients(
    original: SystemOriginal, dtype: str, port: System, saturated: bool = False
) -> Comparison:
    case = original.case
    _, gradients, theirs = _losses_and_gradients(original, dtype, port, saturated)
    chosen = _chosen(case, saturated)
    with pinned(dtype):
        by_batch = nnx.jit(port.batch_gradients)(
            loaded(port, chosen, dtype), cast(case.batch, dtype)
        )
        ours = {**gradients} | {name: np.asarray(value) for name, value in by_batch.items()}
    expected = {name: theirs[name] for name in case.weights}
    expected.update(original.batch_gradients(chosen, case.batch, dtype))
    return compare(ours, expected)


def _losses_and_gradients(
    original: SystemOriginal, dtype: str, port: System, saturated: bool
) -> tuple[Arrays, Arrays, Arrays]:
    """The port's losses; its gradients and running statistics; all of the original's."""
    case = original.case
    with pinned(dtype):
        graph, state = port.state(loaded(port, _chosen(case, saturated), dtype))
        if case.carry is not None:
            state = state._replace(carry=jnp.asarray(case.carry.astype(dtype)))
        gradients, found = jax.jit(functools.partial(port.gradients, graph))(
            state, cast(case.batch, dtype), cast(case.noise, dtype)
        )
        named = port.to_original(nnx.merge(graph, gradients, found.statistics))
        losses = {name: np.asarray(value) for name, value in found.losses.items()}
    return losses, named, _their_gradients(original, dtype, saturated)


def _random_gradients(case: SystemCase) -> Iterator[Arrays]:
    rng = np.random.default_rng(8)
    for _ in range(_OPTIMISER_STEPS):
        yield {
            name: rng.standard_normal(value.shape) * 10.0 ** rng.uniform(-6, 0, value.shape)
            for name, value in case.weights.items()
        }


def _optimiser(original: SystemOriginal, port: System) -> Comparison:
    case = original.case
    with pinned("float64"):
        graph, state = port.state(loaded(port, case.weights, "float64"))
        params, opt_state = state.params, state.opt_state
        update = jax.jit(port.optimizer().update)
        for one in _random_gradients(case):
            given = nnx.state(loaded(port, one, "float64"), nnx.Param)
            updates, opt_state = update(given, opt_state, params)
            params = optax.apply_updates(params, updates)
        ours = port.to_original(nnx.merge(graph, params, state.statistics))
    theirs = _their_updates(original)
    return compare({name: ours[name] for name in theirs}, theirs)


def _trajectory(original: SystemOriginal, port: System) -> Comparison:
    case, examples = original.case, _examples(original.case)
    theirs = dict(_their_training(original))
    losses = theirs.pop("loss")
    orders = list(itertools.islice(port.orders(_length(examples), 5), case.epochs))
    with pinned("float64"):
        graph, state = port.state(loaded(port, case.weights, "float64"))
        rows, rest, sizes = divide(orders, case.batch_size or port.batch_size)
        (state, _), taken = epochs_function(port, graph)(
            state, cast(examples, "float64"), rows, rest, jax.random.key(5), jnp.int32(0)
        )
        ours = port.to_original(nnx.merge(graph, state.params, state.statistics))
        printed = np.array([port.printed(epoch, sizes) for epoch in np.asarray(taken)])
    relative = relative_to_movement(ours, theirs, case.weights)
    return compare({"printed loss": printed}, {"printed loss": losses}) + Comparison(
        (Difference("all weights, relative to their movement", relative),),
        f"{taken.size:,} updates",
    )


def _examples(case: SystemCase) -> Arrays:
    train = case.port.data().train if case.examples is None else case.examples
    return {name: _as_float64(value) for name, value in train.items()}


def _length(examples: Arrays) -> int:
    return len(next(iter(examples.values())))


def _steps(case: SystemCase) -> Iterator[Iterator[Step]]:
    """The steps of the proven port's training, with its order and its noise."""
    examples, size = _examples(case), case.batch_size or case.port.batch_size
    key, number = jax.random.key(5), itertools.count()

    def step(rows: np.ndarray) -> Step:
        with pinned("float64"):
            drawn = case.port.draw(jax.random.fold_in(key, next(number)), len(rows))
            noise = jax.tree.map(np.asarray, drawn)
        return Step({name: values[rows] for name, values in examples.items()}, noise)

    for order in itertools.islice(case.port.orders(_length(examples), 5), case.epochs):
        yield (step(order[start : start + size]) for start in range(0, len(order), size))


def _as_float64(values: np.ndarray) -> np.ndarray:
    """The values in float64 if they are of floating point; labels stay integers."""
    return values.astype("float64") if np.issubdtype(values.dtype, np.floating) else values


def cast(arrays: Any, dtype: str) -> Any:
    """The arrays in `dtype` where they are of floating point."""

    def cast(value: Any) -> Any:
        value = np.asarray(value)
        floating = np.issubdtype(value.dtype, np.floating)
        return jnp.asarray(value.astype(dtype) if floating else value)

    return jax.tree.map(cast, arrays)
