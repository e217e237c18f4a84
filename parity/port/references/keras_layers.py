"""Finds the layers of a Keras model that hold parameters."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import keras

from parity.port.layer import Layer, Parameter

_KINDS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("Dense",), "Linear"),
    (("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"), "ConvTranspose"),
    (("DepthwiseConv1D", "DepthwiseConv2D"), "Depthwise"),
    (("SeparableConv1D", "SeparableConv2D"), "Separable"),
    (("Conv1D", "Conv2D", "Conv3D"), "Conv"),
    (("BatchNormalization",), "BatchNorm"),
    (("LayerNormalization", "GroupNormalization", "RMSNormalization"), "Norm"),
    (("Embedding",), "Embedding"),
    (("PReLU",), "PReLU"),
    (("LSTM", "LSTMCell"), "LSTM"),
    (("GRU", "GRUCell"), "GRU"),
    (("SimpleRNN", "SimpleRNNCell"), "RNN"),
)
_GATES = {"LSTM": "ifgo", "GRU": "zrn", "RNN": "n"}
_ROLES = {
    "kernel": "kernel",
    "bias": "bias",
    "gamma": "scale",
    "scale": "scale",
    "beta": "bias",
    "moving_mean": "mean",
    "moving_variance": "var",
    "embeddings": "embedding",
    "alpha": "slope",
    "depthwise_kernel": "kernel",
    "pointwise_kernel": "kernel",
}
_RECURRENT = {"kernel": "input", "recurrent_kernel": "hidden", "bias": "input bias"}


@dataclasses.dataclass(frozen=True)
class Part:
    """A layer together with its Keras objects.

    Attributes:
        layer: The layer as the comparison describes it.
        variables: The Keras variables of its parameters, in the same order.
        module: The Keras layer whose calls are recorded as its calls, or None if there is none.
        takes_inputs: Whether the inputs of these calls are its own inputs.
    """

    layer: Layer
    variables: tuple[Any, ...]
    module: Any
    takes_inputs: bool = True


def parts_of(model: Any) -> list[Part]:
    """All layers that hold floating-point variables, each once."""
    found: list[Part] = []
    seen: set[int] = set()
    taken: set[int] = set()
    for part in (*_walk(model, "", None, seen), *_own(model, "")):
        kept = [
            (p, v)
            for p, v in zip(part.layer.parameters, part.variables, strict=True)
            if id(v) not in taken
        ]
        taken.update(id(v) for _, v in kept)
        if kept:
            parameters, variables = zip(*kept, strict=True)
            layer = dataclasses.replace(part.layer, parameters=parameters)
            found.append(dataclasses.replace(part, layer=layer, variables=variables))
    return found


def _walk(parent: Any, prefix: str, outer: Any, seen: set[int]) -> Iterator[Part]:
    for layer in parent._flatten_layers(include_self=False, recursive=False):
        if id(layer) in seen:
            continue
        seen.add(id(layer))
        name = prefix + layer.name
        kind = _kind(layer)
        if kind == "Separable":
            yield from _separable(layer, name)
        elif kind != "Other":
            yield _part(layer, name, kind, list(layer.variables), outer or layer)
            # Skips the cell of a recurrent layer, because it holds the same variables.
            seen.update(id(part) for part in layer._flatten_layers(include_self=False))
        else:
            yield from _own(layer, name)
            # Records the calls of TimeDistributed itself, because it calls its inner layer once for
            # each time step, or with batch and time merged into one axis.
            wrapper = layer if isinstance(layer, keras.layers.TimeDistributed) else None
            yield from _walk(layer, name + "/", wrapper, seen)


def _own(layer: Any, name: str) -> Iterator[Part]:
    """The variables that a layer of an unknown kind holds directly."""
    inside = {id(v) for part in layer._flatten_layers(include_self=False) for v in part.variables}
    own = [v for v in layer.variables if id(v) not in inside]
    if own:
        yield _part(layer, name, "Other", own, layer if name else None)


def _kind(layer: Any) -> str:
    for names, kind in _KINDS:
        if any(_is(layer, n) for n in names):
            return kind
    return "Other"


def _is(layer: Any, name: str) -> bool:
    cls = getattr(keras.layers, name, None)
    return cls is not None and isinstance(layer, cls)


def _part(
    layer: Any, name: str, kind: str, variables: list[Any], module: Any, part: str = ""
) -> Part:
    floating = [v for v in variables if keras.backend.is_float_dtype(v.dtype)]
    roles = _RECURRENT if kind in _GATES else _ROLES
    parameters = tuple(
        Parameter(
            name=f"{name}/{v.name}" if name else v.name,
            role=roles.get(v.name, v.name) if kind != "Other" else v.name,
            shape=tuple(v.shape),
            trained=v.trainable if kind == "Other" else not v.name.startswith("moving_"),
            optional=kind == "Other" and not v.trainable,
        )
        for v in floating
    )
    found = Layer(name + part or layer.name, kind, "keras", parameters, gates=_GATES.get(kind, ""))
    return Part(found, tuple(floating), module)


def _separable(layer: Any, name: str) -> Iterator[Part]:
    """A depthwise convolution, then a pointwise one, whose output is the only one that is seen."""
    variables = {v.name: v for v in layer.variables}
    yield _part(layer, name, "Depthwise", [variables.pop("depthwise_kernel")], None, "/depthwise")
    last = _part(layer, name, "Conv", list(variables.values()), layer, "/pointwise")
    yield dataclasses.replace(last, takes_inputs=False)
