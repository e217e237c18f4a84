"""Watching a Keras model run."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from parity.port.keras_layers import Part
from parity.port.layer import Call


@contextlib.contextmanager
def watched(parts: list[Part]) -> Iterator[list[Call]]:
    """The calls of the parts, as long as this lasts."""
    calls: list[Call] = []
    changed: list[tuple[Any, str]] = []
    for part in parts:
        if part.module is None:
            continue
        before: list[np.ndarray] = []
        _replace(part.module, "call", _recorder(part, before, calls), changed)
        activation = getattr(part.module, "activation", None)
        if part.layer.kind in ("Linear", "Conv", "Depthwise", "ConvTranspose") and activation:
            _replace(part.module, "activation", _noting(activation, before), changed)
    try:
        yield calls
    finally:
        for module, name in changed:
            _restore(module, name)


_ABSENT = object()
_KEPT: dict[tuple[int, str], Any] = {}


def _replace(module: Any, name: str, value: Any, changed: list[tuple[Any, str]]) -> None:
    _KEPT[id(module), name] = vars(module).get(name, _ABSENT)
    # Past Keras's own bookkeeping: nothing of this is the layer's.
    object.__setattr__(module, name, value)
    changed.append((module, name))


def _restore(module: Any, name: str) -> None:
    value = _KEPT.pop((id(module), name))
    if value is _ABSENT:
        object.__delattr__(module, name)
    else:
        object.__setattr__(module, name, value)


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
