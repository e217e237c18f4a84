"""A Flax NNX module as a candidate."""

import contextvars
import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import jax.numpy as jnp
import numpy as np
from flax import nnx

from parity.port.candidates.base import (
    Candidate,
    Leaf,
    Weights,
    arrays_of,
    mode_arguments,
    same_dtypes,
    trace_level,
)
from parity.port.candidates.flax_kinds import kind_of
from parity.port.layer import Call
from parity.port.trees import is_float


class NNXCandidate(Candidate):
    """An NNX module. It is called as `module(*inputs)`."""

    kind = "NNX module"

    def __init__(self, module: nnx.Module) -> None:
        self._graph, self._state = nnx.split(module)
        self._parameters = list(inspect.signature(type(module).__call__).parameters)

    def leaves(self) -> list[Leaf]:
        """Parameters and statistics, in the module's order."""
        return [
            Leaf(path, tuple(variable.shape), isinstance(variable, nnx.Param))
            for path, variable in self._variables().items()
        ]

    def arrays(self) -> dict[str, np.ndarray]:
        """The values of the leaves, by path."""
        return {path: np.asarray(v.get_value()) for path, v in self._variables().items()}

    def at_precision(self, dtype: str) -> Self:
        """A copy whose layers compute at this precision."""
        module = nnx.merge(self._graph, self._state)
        for _, part in nnx.iter_modules(module):
            for name in ("dtype", "param_dtype"):
                if _is_float32(getattr(part, name, None)):
                    setattr(part, name, jnp.dtype(dtype))
        return type(self)(module)

    def apply(
        self, weights: Weights, args: Sequence[Any], kwargs: Mapping[str, Any], train: bool
    ) -> tuple[Any, dict[str, Any]]:
        """Outputs and statistics of a forward pass with these weights."""
        module = self._module(weights, train)
        outputs = self._call(module, args, kwargs, train)
        return outputs, _statistics(module)

    def observe(
        self, weights: Weights, args: Sequence[Any], kwargs: Mapping[str, Any], train: bool
    ) -> tuple[Any, dict[str, Any], list[Call]]:
        """Like `apply`, and also the calls of its modules."""
        module = self._module(weights, train)
        calls: list[Call] = []
        places = {}
        for path, part in list(nnx.iter_modules(module)):
            places[id(part)] = _name(path)
            # Changes the class, because Python looks up `__call__` in the class, not the instance.
            object.__setattr__(part, "__class__", _recording_class(type(part)))
        token = _WATCH.set((trace_level(), places, calls))
        try:
            outputs = self._call(module, args, kwargs, train)
        finally:
            _WATCH.reset(token)
        return outputs, _statistics(module), calls

    def with_weights(self, arrays: Weights) -> nnx.Module:
        """A new module with these weights, in the dtypes of its own."""
        own = {path: variable.get_value() for path, variable in self._variables().items()}
        return nnx.merge(self._graph, self._replaced(same_dtypes(arrays, own)), copy=True)

    def module_kinds(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, str]:
        """The kinds of its Flax layers, by path."""
        del args, kwargs
        module = nnx.merge(self._graph, self._state)
        return {_name(path): kind_of(part) for path, part in nnx.iter_modules(module)}

    def _variables(self) -> dict[str, Any]:
        return _variables(self._state)

    def _replaced(self, weights: Weights) -> Any:
        flat = [
            (path, variable.replace(weights[_name(path)]) if _name(path) in weights else variable)
            for path, variable in nnx.to_flat_state(self._state)
        ]
        return nnx.from_flat_state(flat)

    def _module(self, weights: Weights, train: bool) -> Any:
        module = nnx.merge(self._graph, self._replaced(weights), copy=True)
        module.set_attributes(
            deterministic=True, use_running_average=not train, raise_if_not_found=False
        )
        return module

    def _call(
        self, module: Any, args: Sequence[Any], kwargs: Mapping[str, Any], train: bool
    ) -> Any:
        return module(*args, **kwargs, **mode_arguments(self._parameters, train))


_Watch = tuple[Any, dict[int, str], list[Call]]
_WATCH: contextvars.ContextVar[_Watch | None] = contextvars.ContextVar("watch", default=None)


@functools.cache
def _recording_class(cls: Any) -> Any:
    original: Callable[..., Any] | None = getattr(cls, "__call__", None)  # noqa: B004
    if original is None:
        return cls

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        outputs = original(self, *args, **kwargs)
        watch = _WATCH.get()
        # Copies of a module that a transformation made are not in `places`.
        if watch is not None and id(self) in watch[1] and trace_level() == watch[0]:
            found = arrays_of(outputs)
            if found:
                watch[2].append(Call(watch[1][id(self)], arrays_of((args, kwargs)), found))
        return outputs

    return type(cls.__name__, (cls,), {"__call__": call, "__module__": cls.__module__})


def _variables(state: Any) -> dict[str, Any]:
    return {
        _name(path): variable
        for path, variable in nnx.to_flat_state(state)
        if not isinstance(variable, nnx.RngState | nnx.Cache | nnx.Intermediate)
        and hasattr(variable, "dtype")
        and is_float(variable)
    }


def _statistics(module: Any) -> dict[str, Any]:
    found = _variables(nnx.state(module))
    return {
        path: variable.get_value()
        for path, variable in found.items()
        if not isinstance(variable, nnx.Param)
    }


def _name(path: Sequence[Any]) -> str:
    return ".".join(map(str, path))


def _is_float32(dtype: Any) -> bool:
    try:
        return dtype is not None and jnp.dtype(dtype) == jnp.float32
    except TypeError:
        return False
