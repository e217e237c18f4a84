"""Records the layer calls of a running Keras model."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from parity.port.layer import Call
from parity.port.references.keras_layers import Part

_WITH_ACTIVATION = ("Linear", "Conv", "Depthwise", "ConvTranspose")


@contextlib.contextmanager
def recorded_calls(parts: list[Part]) -> Iterator[list[Call]]:
    """A list that receives the calls of the parts until exit."""
    calls: list[Call] = []
    with contextlib.ExitStack() as stack:
        for part in parts:
            if part.module is None:
                continue
            before: list[np.ndarray] = []
            stack.enter_context(_replaced(part.module, "call", _recorder(part, before, calls)))
            activation = getattr(part.module, "activation", None)
            if part.layer.kind in _WITH_ACTIVATION and activation:
                recording = _recording_activation(activation, before)
                stack.enter_context(_replaced(part.module, "activation", recording))
        yield calls


@contextlib.contextmanager
def _replaced(module: Any, name: str, value: Any) -> Iterator[None]:
    absent = object()
    before = vars(module).get(name, absent)
    # `object.__setattr__` bypasses Keras's attribute tracking.
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
            given = arrays((args, kwargs)) if part.takes_inputs else ()
            calls.append(Call(part.layer.name, given, (*found, *before)))
        return output

    return call


def _recording_activation(
    activation: Callable[[Any], Any], before: list[np.ndarray]
) -> Callable[[Any], Any]:
    def recording(x: Any) -> Any:
        before.extend(arrays(x))
        return activation(x)

    return recording


def arrays(tree: Any) -> tuple[np.ndarray, ...]:
    """The tensors of a structure as arrays, without symbolic tensors."""
    if isinstance(tree, dict):
        tree = tuple(tree.values())
    if isinstance(tree, tuple | list):
        return tuple(array for part in tree for array in arrays(part))
    return (np.asarray(tree),) if callable(getattr(tree, "numpy", None)) else ()
