"""A candidate's forward pass with the calls of its modules, compiled once."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from parity.port.candidates.base import Candidate
from parity.port.layer import Call

#: No expensive optimizations, because the compiled code runs only a few times.
COMPILE: dict[str, Any] = {
    "xla_llvm_disable_expensive_passes": True,
    "xla_backend_optimization_level": 0,
}

Observer = Callable[[Any, Any, Any], tuple[Any, Any, list[Call]]]
_NOT_TRACEABLE = (jax.errors.ConcretizationTypeError, jax.errors.TracerArrayConversionError)


def observer(candidate: Candidate, train: bool) -> Observer:
    """A function from weights, args and kwargs to outputs, statistics and calls.

    A candidate whose Python code reads the values of its arrays runs uncompiled.
    """
    places: list[str] = []

    def traced(weights: Any, args: Any, kwargs: Any) -> Any:
        outputs, statistics, calls = candidate.observe(weights, args, kwargs, train)
        # Strings cannot be outputs of compiled code; another trace would give the same ones.
        places[:] = [call.place for call in calls]
        return outputs, statistics, [(call.inputs, call.outputs) for call in calls]

    compiled = jax.jit(traced, compiler_options=COMPILE)

    def run(weights: Any, args: Any, kwargs: Any) -> tuple[Any, Any, list[Call]]:
        try:
            outputs, statistics, arrays = compiled(weights, args, kwargs)
        except _NOT_TRACEABLE:
            outputs, statistics, arrays = traced(weights, args, kwargs)
        calls = [
            Call(place, _numpy(inputs), _numpy(outputs))
            for place, (inputs, outputs) in zip(places, arrays, strict=True)
        ]
        return outputs, statistics, calls

    return run


def _numpy(arrays: tuple[Any, ...]) -> tuple[np.ndarray, ...]:
    return tuple(np.asarray(array) for array in arrays)
