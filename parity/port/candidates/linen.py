"""A Flax Linen module with its variables as a candidate."""

import contextlib
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen, traverse_util

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

_SEPARATOR = "."


class LinenCandidate(Candidate):
    """A Linen module. It is called as `module.apply(variables, *inputs)`."""

    kind = "Linen module"

    def __init__(
        self, module: linen.Module, variables: Mapping[str, Any], dtype: str | None = None
    ) -> None:
        self._module, self._variables, self._dtype = module, variables, dtype
        plain = linen.meta.unbox(variables)
        self._flat = traverse_util.flatten_dict(dict(plain), sep=_SEPARATOR)
        self._parameters = list(inspect.signature(type(module).__call__).parameters)

    def leaves(self) -> list[Leaf]:
        """Parameters and statistics; the path omits the collection's name if it stays unique."""
        return [
            Leaf(path, tuple(self._flat[key].shape), key.startswith("params" + _SEPARATOR))
            for path, key in self._keys().items()
        ]

    def arrays(self) -> dict[str, np.ndarray]:
        """The values of the leaves, by path."""
        return {path: np.asarray(self._flat[key]) for path, key in self._keys().items()}

    def at_precision(self, dtype: str) -> Self:
        """A copy whose layers compute at this precision."""
        return type(self)(self._module, self._variables, dtype)

    def apply(
        self, weights: Weights, args: Sequence[Any], kwargs: Mapping[str, Any], train: bool
    ) -> tuple[Any, dict[str, Any]]:
        """Outputs and statistics of a forward pass with these weights."""
        return self._run(weights, args, kwargs, train, lambda *_: None)

    def observe(
        self, weights: Weights, args: Sequence[Any], kwargs: Mapping[str, Any], train: bool
    ) -> tuple[Any, dict[str, Any], list[Call]]:
        """Like `apply`, and also the calls of its modules."""
        calls: list[Call] = []
        level = trace_level()

        def record(module: linen.Module, given: Any, outputs: Any) -> None:
            found = arrays_of(outputs)
            if found and trace_level() == level:
                calls.append(Call(_SEPARATOR.join(module.path), arrays_of(given), found))

        outputs, statistics = self._run(weights, args, kwargs, train, record)
        return outputs, statistics, calls

    def with_weights(self, arrays: Weights) -> tuple[linen.Module, Any]:
        """The module, and new variables with these weights in the dtypes of its own."""
        keys = self._keys()
        own = {path: self._flat[key] for path, key in keys.items()}
        plain = self._merged(same_dtypes(arrays, own))
        return self._module, linen.meta.replace_boxed(self._variables, plain)

    def module_kinds(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, str]:
        """The kinds of its Flax layers, by path."""
        found: dict[str, str] = {}

        def note(module: linen.Module, given: Any, outputs: Any) -> None:
            del given, outputs
            found[_SEPARATOR.join(module.path)] = kind_of(module)

        weights = self.arrays()
        jax.eval_shape(lambda: self._run(weights, args, kwargs, False, note))
        return found

    def _keys(self) -> dict[str, str]:
        floating = [key for key, value in self._flat.items() if is_float(value)]
        short = [key.partition(_SEPARATOR)[2] for key in floating]
        return {
            path if short.count(path) == 1 else key: key
            for path, key in zip(short, floating, strict=True)
        }

    def _merged(self, weights: Weights) -> Any:
        keys = self._keys()
        flat = self._flat | {key: weights[path] for path, key in keys.items() if path in weights}
        return traverse_util.unflatten_dict(flat, sep=_SEPARATOR)

    def _run(
        self,
        weights: Weights,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        train: bool,
        record: Callable[[linen.Module, Any, Any], None],
    ) -> tuple[Any, dict[str, Any]]:
        def intercept(
            call: Callable[..., Any],
            given: tuple[Any, ...],
            named: dict[str, Any],
            context: linen.module.InterceptorContext,
        ) -> Any:
            if isinstance(context.module, linen.Dropout):
                return given[0]
            with _precision(context.module, self._dtype):
                outputs = call(*given, **named)
            if context.method_name == "__call__":
                record(context.module, (given, named), outputs)
            return outputs

        changed = [name for name in self._variables if name != "params"] if train else []
        named: dict[str, Any] = {**kwargs, **mode_arguments(self._parameters, train)}
        with linen.intercept_methods(intercept):
            found = self._module.apply(self._merged(weights), *args, **named, mutable=changed)
        outputs, updated = found
        return outputs, self._statistics(weights, linen.meta.unbox(updated))

    def _statistics(self, weights: Weights, updated: Mapping[str, Any]) -> dict[str, Any]:
        flat = traverse_util.flatten_dict(dict(updated), sep=_SEPARATOR)
        return {
            path: flat.get(key, weights.get(path, self._flat[key]))
            for path, key in self._keys().items()
            if not key.startswith("params" + _SEPARATOR)
        }


@contextlib.contextmanager
def _precision(module: linen.Module, dtype: str | None) -> Iterator[None]:
    """Set the precision of the module and of the modules in its fields; restore it on exit."""
    parts = [module, *(v for v in vars(module).values() if isinstance(v, linen.Module))]
    before = [
        (part, name, vars(part)[name])
        for part in parts
        for name in ("dtype", "param_dtype")
        if dtype is not None and vars(part).get(name) in (jnp.float32, np.dtype("float32"))
    ]
    # `object.__setattr__`, because fields of a Linen module are frozen; restored below.
    for part, name, _ in before:
        object.__setattr__(part, name, jnp.dtype(dtype))
    try:
        yield
    finally:
        for part, name, value in before:
            object.__setattr__(part, name, value)
