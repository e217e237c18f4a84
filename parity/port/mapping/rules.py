"""Conversions between each framework's weight layout of a layer and Flax's."""

import functools
from collections.abc import Callable, Iterator

import numpy as np

from parity.port.layer import Layer, Parameter
from parity.port.mapping.mapping import Pieces, Rule

_SPACE = {1: "W", 2: "HW", 3: "DHW"}

Move = Callable[[np.ndarray], np.ndarray]


def single_array_rule(description: str, move: Move) -> Rule:
    """A rule from one array to one array."""

    def apply(array: np.ndarray) -> Pieces:
        return (move(array),)

    return Rule(description, apply)


SAME = single_array_rule("", lambda array: array)


def alternatives(
    layer: Layer, parameter: Parameter, shape: tuple[int, ...], kind: str
) -> list[Rule]:
    """The rules that give an array of this shape, the most plausible first.

    Rules that move every entry to the same place appear once.

    Args:
        layer: The reference's layer.
        parameter: One of its parameters.
        shape: Shape of the candidate's array.
        kind: Kind of the Flax layer that holds that array, or an empty string if unknown.
    """
    numbers = np.arange(int(np.prod(parameter.shape))).reshape(parameter.shape)
    found: list[Rule] = []
    seen: list[np.ndarray] = []
    for rule in _possible_rules(layer, parameter, kind):
        moved = rule.apply(numbers)[0]
        description = rule.description
        if moved.shape != shape:
            if not _regrouped(moved.shape, shape, kind):
                continue
            moved = moved.reshape(shape)
            parts = (description, f"reshaped to {_shape_text(shape)}")
            description = "; ".join(part for part in parts if part)
            rule = single_array_rule(description, functools.partial(_reshaped, rule, shape))
        if not any(np.array_equal(moved, other) for other in seen):
            found.append(rule)
            seen.append(moved)
    return found


def _reshaped(rule: Rule, shape: tuple[int, ...], array: np.ndarray) -> np.ndarray:
    return rule.apply(array)[0].reshape(shape)


def _possible_rules(layer: Layer, parameter: Parameter, kind: str) -> Iterator[Rule]:
    rank = len(parameter.shape)
    if parameter.role == "kernel" and layer.kind in _KERNELS:
        yield from _KERNELS[layer.kind](layer, rank, kind)
        # Flax's own layers have one layout each; a function may have any layout.
        if kind:
            return
    if layer.framework == "torch" and layer.kind == "Norm" and rank > 1:
        yield single_array_rule(
            "channels last ← channels first", lambda array: np.moveaxis(array, 0, -1)
        )
    yield SAME
    if rank == 2 and parameter.role in ("kernel", "input", "hidden"):
        yield single_array_rule("transposed", np.transpose)


def _linear(layer: Layer, rank: int, kind: str) -> Iterator[Rule]:
    del rank, kind
    torch = layer.framework == "torch"
    description = "(in, out) ← (out, in)" if torch else ""

    def transpose(array: np.ndarray) -> np.ndarray:
        return array.T if torch else array

    if layer.channels_first and len(layer.flattened) > 1:
        shape = layer.flattened

        def reorder(array: np.ndarray) -> np.ndarray:
            kernel = transpose(array)
            rows = np.moveaxis(kernel.reshape(*shape, -1), 0, len(shape) - 1)
            return rows.reshape(kernel.shape)

        flatten = f"rows reordered: flatten of {_shape_text(shape)}, channels first"
        parts = (description, flatten)
        yield single_array_rule("; ".join(part for part in parts if part), reorder)
    yield single_array_rule(description, transpose)


def _conv(layer: Layer, rank: int, kind: str) -> Iterator[Rule]:
    del kind
    if layer.framework == "torch":
        space = _SPACE[rank - 2]
        order = (*range(2, rank), 1, 0)
        yield single_array_rule(f"{space}IO ← OI{space}", lambda array: array.transpose(order))
    else:
        yield SAME


def _depthwise(layer: Layer, rank: int, kind: str) -> Iterator[Rule]:
    del layer, kind
    space = _SPACE[rank - 2]

    def group(array: np.ndarray) -> np.ndarray:
        return array.reshape(*array.shape[:-2], 1, -1)

    yield single_array_rule(f"{space}1(C·M) ← {space}CM, a group for each channel", group)


def _conv_transpose(layer: Layer, rank: int, kind: str) -> Iterator[Rule]:
    space = _SPACE[rank - 2]
    axes = tuple(range(rank - 2))
    torch = layer.framework == "torch"
    source = f"IO{space}" if torch else f"{space}OI"

    def gradient_of_conv(array: np.ndarray) -> np.ndarray:
        return array.transpose(*range(2, rank), 1, 0) if torch else array

    def flipped(array: np.ndarray) -> np.ndarray:
        return np.flip(gradient_of_conv(array), axes).swapaxes(-1, -2)

    description = f"{space}OI ← {source}" if torch else ""
    as_gradient = single_array_rule(description, gradient_of_conv)
    as_conv = single_array_rule(f"{space}IO ← {source}, space flipped", flipped)
    if kind == "ConvTranspose, transpose_kernel":
        yield as_gradient
    elif kind:
        yield as_conv
    else:
        yield as_conv
        yield as_gradient


_KERNELS: dict[str, Callable[[Layer, int, str], Iterator[Rule]]] = {
    "Linear": _linear,
    "Conv": _conv,
    "Depthwise": _depthwise,
    "ConvTranspose": _conv_transpose,
}


def _regrouped(moved: tuple[int, ...], shape: tuple[int, ...], kind: str) -> bool:
    """Whether a reshape is allowed: only axes of size 1 differ, or the layer is general linear."""
    if np.prod(moved) != np.prod(shape):
        return False
    squeezed = [tuple(n for n in axes if n != 1) for axes in (moved, shape)]
    return squeezed[0] == squeezed[1] or kind == "General"


def _shape_text(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) or "a scalar"
