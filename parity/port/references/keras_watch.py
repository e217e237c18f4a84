"""Watching a Keras model run."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from parity.port.layer import Call
from parity.port.references.keras_layers import Part

_WITH_ACTIVATION = ("Linear", "Conv", "Depthwise", "ConvTranspose")


@contextlib.contextmanager
def watched(parts: list[Part]) -> Iterator[list[Call]]:
    """The calls of the parts, as long as this lasts."""
    calls: list[Call] = []
    with contextlib.ExitStack() as stack:
        for part in parts:
            if part.module is None:
                continue
            before: list[np.ndarray] = []
            stack.enter_context(_replaced(part.module, "call", _recorder(part, before, calls)))
            activation = getattr(part.module, "activation", None)
            if part.layer.kind in _WITH_ACTIVATION and activation:
                noting = _noting(activation, before)
                stack.enter_context(_replaced(part.module, "activation", noting))
        yield calls


@contextlib.contextmanager
def _replaced(module: Any, name: str, value: Any) -> Iterator[None]:
    absent = object()
    before = vars(module).get(name, absent)
    # Past Keras's own bookkeeping: nothing of this is the layer's.
    object.__setattr__(module, name, value)
    try:
        yield
    finally:
        if before is absent:
            object.__delattr__(module, name)
        else:
            object.__setattr__(module, name, before)


def _recorder(part: Part, before: list[np.ndarray], calls: list[Call]) -> Callable[..., Any]:
    original = part.module.call

    def call(*args: Any, **kwargs: Any) -> Any:
        before.clear()
        output = original(*args, **kwargs)
        found = arrays(output)[:1]
        if found:
            given = arrays((args, kwargs)) if part.begins else ()
            calls.append(Call(part.layer.name, given, (*found, *before)))
        return output

    return call


def _noting(activation: Callable[[Any], Any], before: list[np.ndarray]) -> Callable[[Any], Any]:
    def noted(x: Any) -> Any:
        before.extend(arrays(x))
        return activation(x)

    return noted


def arrays(tree: Any) -> tuple[np.ndarray, ...]:
    """The tensors of a structure; none of those that are symbolic."""
    if isinstance(tree, dict):
        tree = tuple(tree.values())
    if isinstance(tree, tuple | list):
        return tuple(array for part in tree for array in arrays(part))
    return (np.asarray(tree),) if callable(getattr(tree, "numpy", None)) else ()
