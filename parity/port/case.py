"""A reference and a candidate with the same batch, names and layouts, ready to compare."""

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
from parity.port.trees import call_arguments, cast, is_float, named_leaves
from parity.value_and_grad import ValueAndGrad


@dataclasses.dataclass(frozen=True)
class Pair:
    """A reference, a candidate, and the conversions between their layouts.

    Attributes:
        reference: The original.
        candidate: The port.
        batch: Inputs in the reference's layout.
        to_candidate: Converts the batch to the candidate's inputs.
        to_reference: Converts the candidate's outputs to the reference's layout.
        dtype: The precision of the exact comparisons: "float64", or "float32" if one side cannot
            compute in float64.
    """

    reference: Reference
    candidate: Candidate
    batch: Any
    to_candidate: Callable[[Any], Any]
    to_reference: Callable[[Any], Any]
    dtype: str = "float64"

    @functools.cached_property
    def module_kinds(self) -> dict[str, str]:
        """The kind of the Flax layer at each path of the candidate, as far as known."""
        args, kwargs = self.candidate_call(self.dtype)
        return self.candidate_at(self.dtype).module_kinds(args, kwargs)

    @functools.cached_property
    def _candidates(self) -> dict[str, Candidate]:
        return {dtype: self.candidate.at_precision(dtype) for dtype in ("float32", "float64")}

    def candidate_at(self, dtype: str) -> Candidate:
        """The candidate at this precision."""
        return self._candidates[dtype]

    def candidate_call(self, dtype: str) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The candidate's positional and keyword arguments."""
        return call_arguments(self.to_candidate(jax.tree.map(jnp.asarray, cast(self.batch, dtype))))

    def run(self, weights: Arrays, dtype: str, train: bool) -> Run:
        """A forward pass of the candidate with these weights, given by the candidate's paths."""
        args, kwargs = self.candidate_call(dtype)
        arrays = {path: jnp.asarray(array) for path, array in cast(weights, dtype).items()}
        candidate = self.candidate_at(dtype)
        observe = self._observers.setdefault((dtype, train), observer(candidate, train))
        outputs, statistics, calls = observe(arrays, args, kwargs)
        leaves = named_leaves("output", self.to_reference(outputs))
        found = {name: np.asarray(leaf) for name, leaf in leaves.items()}
        return Run(found, _numpy(statistics), tuple(calls))

    @functools.cached_property
    def _observers(self) -> dict[tuple[str, bool], Observer]:
        return {}

    def value_and_grad_function(
        self, dtype: str, train: bool, objective: Objective
    ) -> Callable[[Arrays], ValueAndGrad]:
        """A function from the candidate's weights to the objective and its gradients.

        It is compiled once.
        """
        candidate = self.candidate_at(dtype)
        is_trained = {leaf.path: leaf.trained for leaf in candidate.leaves()}
        batch = jax.tree.map(jnp.asarray, cast(self.batch, dtype))
        inputs, structure = jax.tree.flatten(batch)
        names = list(named_leaves("input", batch))
        floats = {n: a for n, a in zip(names, inputs, strict=True) if is_float(a)}

        def value(trained: Any, floats: Any, frozen: Any) -> tuple[jax.Array, Any]:
            every = [floats.get(n, a) for n, a in zip(names, inputs, strict=True)]
            args, kwargs = call_arguments(self.to_candidate(jax.tree.unflatten(structure, every)))
            outputs, statistics = candidate.apply({**trained, **frozen}, args, kwargs, train)
            return self._value(outputs, objective), statistics

        run = jax.jit(
            jax.value_and_grad(value, argnums=(0, 1), has_aux=True), compiler_options=COMPILE
        )

        def value_and_grad(weights: Arrays) -> ValueAndGrad:
            arrays = {path: jnp.asarray(array) for path, array in cast(weights, dtype).items()}
            trained = {path: array for path, array in arrays.items() if is_trained[path]}
            frozen = {path: array for path, array in arrays.items() if not is_trained[path]}
            (found, statistics), (gradients, inputs_gradients) = run(trained, floats, frozen)
            return ValueAndGrad(
                float(found), _numpy(gradients), _numpy(inputs_gradients), _numpy(statistics)
            )

        return value_and_grad

    def _value(self, outputs: Any, objective: Objective) -> jax.Array:
        if objective.loss is not None:
            value: jax.Array = objective.loss(outputs)
            return value
        found = named_leaves("output", self.to_reference(outputs))
        if set(found) != set(objective.cotangents):
            raise ValueError(different_outputs(list(found), list(objective.cotangents)))
        terms = [jnp.sum(found[name] * factor) for name, factor in objective.cotangents.items()]
        return jnp.sum(jnp.stack(terms))


@dataclasses.dataclass(frozen=True)
class Case:
    """A pair with its mapping: everything that a rung needs.

    Attributes:
        pair: Both sides.
        mapping: The mapping between their weights.
        weights: The reference's weights, by its names, in the precision of the comparison.
        extra: The candidate's own values of the parameters that the mapping does not fill.
        seed: Seed of the cotangents.
        losses: The user's objectives, of the candidate's outputs and of the reference's.
    """

    pair: Pair
    mapping: WeightMapping
    weights: Arrays
    extra: Arrays
    seed: int = 0
    losses: tuple[Callable[[Any], Any], Callable[[Any], Any]] | None = None

    def mapped(self, weights: Arrays) -> dict[str, np.ndarray]:
        """The candidate's weights, from the reference's."""
        return {**self.extra, **self.mapping.apply(weights)}

    @property
    def trains(self) -> bool:
        """Whether gradients are taken in training mode."""
        return not self.pair.candidate.why_no_training()

    def require_objective(self) -> None:
        """Raise `AbsentError` if there is nothing to differentiate."""
        if self.losses is None and not self.objectives[1].cotangents:
            raise AbsentError("no output is floating-point: give `loss=` to compare gradients")

    @functools.cached_property
    def candidate_value_and_grad(self) -> Callable[[Arrays], ValueAndGrad]:
        """The candidate's objective and gradients, compiled once for all rungs."""
        return self.pair.value_and_grad_function(self.pair.dtype, self.trains, self.objectives[0])

    @functools.cached_property
    def objectives(self) -> tuple[Objective, Objective]:
        """The candidate's and the reference's objective: a random sum of the outputs, or losses."""
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
        scale = sum(float(np.sum(np.abs(outputs[name] * factors[name]))) for name in factors)
        return (Objective(factors, scale=scale),) * 2


def different_outputs(candidate: list[str], reference: list[str]) -> str:
    """The error message for sides that return different structures."""
    return (
        f"the candidate returns {', '.join(candidate)}, the reference {', '.join(reference)}: "
        "make both return the same structure, or give to_reference=, a function from the "
        "candidate's outputs to the reference's"
    )


def calls_at(calls: Sequence[Call], place: str) -> list[Call]:
    """The calls of one layer or module, in order."""
    return [call for call in calls if call.place == place]


def _numpy(arrays: Mapping[str, Any]) -> dict[str, np.ndarray]:
    return {name: np.asarray(array) for name, array in arrays.items()}
