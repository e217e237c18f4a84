"""A reference and a candidate, made comparable: the same batch, names and layouts for both."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from parity.check import AbsentError
from parity.port.candidates.base import Candidate
from parity.port.candidates.observe import COMPILE, Observer, observer
from parity.port.layer import Arrays, Call, Objective, Run
from parity.port.mapping.mapping import WeightMapping
from parity.port.references.base import Reference
from parity.port.trees import arguments, cast, is_float, named
from parity.slope import Slope


@dataclasses.dataclass(frozen=True)
class Pair:
    """A reference, a candidate, and how arrays go from one to the other.

    Attributes:
        reference: The original.
        candidate: The port.
        batch: In the reference's layout.
        to_candidate: From the batch to what the candidate is called with.
        to_reference: From the candidate's outputs to the reference's layout.
        dtype: The precision of the exact comparisons: "float64", or "float32" where one side
            cannot do better.
    """

    reference: Reference
    candidate: Candidate
    batch: Any
    to_candidate: Callable[[Any], Any]
    to_reference: Callable[[Any], Any]
    dtype: str = "float64"

    @functools.cached_property
    def module_kinds(self) -> dict[str, str]:
        """What Flax layer stands at which of the candidate's paths, as far as that is known."""
        args, kwargs = self.candidate_call(self.dtype)
        return self.at(self.dtype).module_kinds(args, kwargs)

    @functools.cached_property
    def _at(self) -> dict[str, Candidate]:
        return {dtype: self.candidate.at(dtype) for dtype in ("float32", "float64")}

    def at(self, dtype: str) -> Candidate:
        """The candidate, computing at this precision."""
        return self._at[dtype]

    def candidate_call(self, dtype: str) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """What the candidate is called with."""
        return arguments(self.to_candidate(jax.tree.map(jnp.asarray, cast(self.batch, dtype))))

    def run(self, weights: Arrays, dtype: str, train: bool) -> Run:
        """The candidate's pass with these weights, by the candidate's paths."""
        args, kwargs = self.candidate_call(dtype)
        arrays = {path: jnp.asarray(array) for path, array in cast(weights, dtype).items()}
        observe = self._observers.setdefault((dtype, train), observer(self.at(dtype), train))
        outputs, statistics, calls = observe(arrays, args, kwargs)
        found = {k: np.asarray(v) for k, v in named("output", self.to_reference(outputs)).items()}
        return Run(found, _numpy(statistics), tuple(calls))

    @functools.cached_property
    def _observers(self) -> dict[tuple[str, bool], Observer]:
        return {}

    def slope_function(
        self, dtype: str, train: bool, objective: Objective
    ) -> Callable[[Arrays], Slope]:
        """From the candidate's weights to the objective and its gradients, compiled once."""
        candidate = self.at(dtype)
        trained = {leaf.path: leaf.trained for leaf in candidate.leaves()}
        batch = jax.tree.map(jnp.asarray, cast(self.batch, dtype))
        inputs, structure = jax.tree.flatten(batch)
        names = list(named("input", batch))
        floats = {n: a for n, a in zip(names, inputs, strict=True) if is_float(a)}

        def value(moving: Any, floats: Any, resting: Any) -> tuple[jax.Array, Any]:
            whole = [floats.get(n, a) for n, a in zip(names, inputs, strict=True)]
            args, kwargs = arguments(self.to_candidate(jax.tree.unflatten(structure, whole)))
            outputs, statistics = candidate.apply({**moving, **resting}, args, kwargs, train)
            return self._value(outputs, objective), statistics

        run = jax.jit(
            jax.value_and_grad(value, argnums=(0, 1), has_aux=True), compiler_options=COMPILE
        )

        def slope(weights: Arrays) -> Slope:
            arrays = {path: jnp.asarray(array) for path, array in cast(weights, dtype).items()}
            moving = {path: array for path, array in arrays.items() if trained[path]}
            resting = {path: array for path, array in arrays.items() if not trained[path]}
            (found, statistics), (gradients, at_inputs) = run(moving, floats, resting)
            return Slope(float(found), _numpy(gradients), _numpy(at_inputs), _numpy(statistics))

        return slope

    def _value(self, outputs: Any, objective: Objective) -> jax.Array:
        if objective.loss is not None:
            value: jax.Array = objective.loss(outputs)
            return value
        found = named("output", self.to_reference(outputs))
        if set(found) != set(objective.cotangents):
            raise ValueError(different_outputs(list(found), list(objective.cotangents)))
        terms = [jnp.sum(found[name] * factor) for name, factor in objective.cotangents.items()]
        return jnp.sum(jnp.stack(terms))


@dataclasses.dataclass(frozen=True)
class Case:
    """A pair with its mapping: everything that a rung needs.

    Attributes:
        pair: Both sides.
        mapping: Between their weights.
        weights: The reference's weights, by its names, in the precision of the comparison.
        extra: The candidate's own values of what the mapping does not give it.
        seed: Of the cotangents.
        losses: The user's objective for the candidate's outputs and for the reference's.
    """

    pair: Pair
    mapping: WeightMapping
    weights: Arrays
    extra: Arrays
    seed: int = 0
    losses: tuple[Callable[[Any], Any], Callable[[Any], Any]] | None = None

    def mapped(self, weights: Arrays) -> dict[str, np.ndarray]:
        """The candidate's weights."""
        return {**self.extra, **self.mapping.apply(weights)}

    @property
    def trains(self) -> bool:
        """Whether gradients are taken in training mode."""
        return not self.pair.candidate.why_no_training()

    def require_slope(self) -> None:
        """Raise `AbsentError` where there is nothing to differentiate."""
        if self.losses is None and not self.objectives[1].cotangents:
            raise AbsentError("no output is of floating point: give `loss=` to compare gradients")

    @functools.cached_property
    def candidate_slope(self) -> Callable[[Arrays], Slope]:
        """The candidate's objective and gradients, compiled once for all rungs."""
        return self.pair.slope_function(self.pair.dtype, self.trains, self.objectives[0])

    @functools.cached_property
    def objectives(self) -> tuple[Objective, Objective]:
        """The candidate's and the reference's: a seeded random sum of the outputs, or losses."""
        if self.losses is not None:
            return Objective({}, self.losses[0]), Objective({}, self.losses[1])
        pair = self.pair
        outputs = pair.reference.run(self.weights, pair.batch, pair.dtype, self.trains).outputs
        random = np.random.default_rng(self.seed)
        factors = {
            name: random.standard_normal(array.shape).astype(pair.dtype)
            for name, array in outputs.items()
            if is_float(array)
        }
        size = sum(float(np.sum(np.abs(outputs[name] * factors[name]))) for name in factors)
        return (Objective(factors, size=size),) * 2


def different_outputs(candidate: list[str], reference: list[str]) -> str:
    """What to do when the sides return different structures."""
    return (
        f"the candidate returns {', '.join(candidate)}, the reference {', '.join(reference)}: "
        "have both return the same, or give to_reference=, a function from the candidate's "
        "outputs to the reference's"
    )


def calls_at(calls: Sequence[Call], place: str) -> list[Call]:
    """The calls of one layer or module, in order."""
    return [call for call in calls if call.place == place]


def _numpy(arrays: Mapping[str, Any]) -> dict[str, np.ndarray]:
    return {name: np.asarray(array) for name, array in arrays.items()}
