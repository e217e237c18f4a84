"""How each framework lays out the weights of one layer, and how Flax does."""

import functools
from collections.abc import Callable, Iterator

import numpy as np

from parity.port.layer import Layer, Parameter
from parity.port.mapping.mapping import Pieces, Rule

_SPACE = {1: "W", 2: "HW", 3: "DHW"}

Move = Callable[[np.ndarray], np.ndarray]


def one(words: str, move: Move) -> Rule:
    """A rule with one array on either side."""

    def apply(array: np.ndarray) -> Pieces:
        return (move(array),)

    return Rule(words, apply)


SAME = one("", lambda array: array)


def alternatives(
    layer: Layer, parameter: Parameter, shape: tuple[int, ...], kind: str
) -> list[Rule]:
    """The rules that give an array of this shape, the most plausible first.

    Two rules that move every entry to the same place are one.

    Args:
        layer: The reference's layer.
        parameter: One of its parameters.
        shape: Of the candidate's array.
        kind: What Flax layer holds that array, or an empty string if that is not known.
    """
    numbers = np.arange(int(np.prod(parameter.shape))).reshape(parameter.shape)
    found: list[Rule] = []
    seen: list[np.ndarray] = []
    for rule in _candidates(layer, parameter, kind):
        moved = rule.apply(numbers)[0]
        words = rule.words
        if moved.shape != shape:
            if not _regrouped(moved.shape, shape, kind):
                continue
            moved = moved.reshape(shape)
            words = "; ".join(w for w in (words, f"reshaped to {_times(shape)}") if w)
            rule = one(words, functools.partial(_reshaped, rule, shape))
        if not any(np.array_equal(moved, other) for other in seen):
            found.append(rule)
            seen.append(moved)
    return found


def _reshaped(rule: Rule, shape: tuple[int, ...], array: np.ndarray) -> np.ndarray:
    return rule.apply(array)[0].reshape(shape)


def _candidates(layer: Layer, parameter: Parameter, kind: str) -> Iterator[Rule]:
    rank = len(parameter.shape)
    if parameter.role == "kernel" and layer.kind in _KERNELS:
        yield from _KERNELS[layer.kind](layer, rank, kind)
        # A layer of Flax's own has but one layout; a function may keep any.
        if kind:
            return
    if layer.framework == "torch" and layer.kind == "Norm" and rank > 1:
        yield one("channels last ← channels first", lambda array: np.moveaxis(array, 0, -1))
    yield SAME
    if rank == 2 and parameter.role in ("kernel", "input", "hidden"):
        yield one("transposed", np.transpose)


def _linear(layer: Layer, rank: int, kind: str) -> Iterator[Rule]:
    del rank, kind
    torch = layer.framework == "torch"
    words = "(in, out) ← (out, in)" if torch else ""

    def transpose(array: np.ndarray) -> np.ndarray:
        return array.T if torch else array

    if layer.channels_first and len(layer.flattened) > 1:
        shape = layer.flattened

        def reorder(array: np.ndarray) -> np.ndarray:
            kernel = transpose(array)
            rows = np.moveaxis(kernel.reshape(*shape, -1), 0, len(shape) - 1)
            return rows.reshape(kernel.shape)

        flatten = f"rows reordered: flatten of {_times(shape)}, channels first"
        yield one("; ".join(w for w in (words, flatten) if w), reorder)
    yield one(words, transpose)


def _conv(layer: Layer, rank: int, kind: str) -> Iterator[Rule]:
    del kind
    if layer.framework == "torch":
        space = _SPACE[rank - 2]
        order = (*range(2, rank), 1, 0)
        yield one(f"{space}IO ← OI{space}", lambda array: array.transpose(order))
    else:
        yield SAME


def _depthwise(layer: Layer, rank: int, kind: str) -> Iterator[Rule]:
    del layer, kind
    space = _SPACE[rank - 2]

    def group(array: np.ndarray) -> np.ndarray:
        return array.reshape(*array.shape[:-2], 1, -1)

    yield one(f"{space}1(C·M) ← {space}CM, a group for each channel", group)


def _conv_transpose(layer: Layer, rank: int, kind: str) -> Iterator[Rule]:
    space = _SPACE[rank - 2]
    axes = tuple(range(rank - 2))
    torch = layer.framework == "torch"
    named = f"IO{space}" if torch else f"{space}OI"

    def gradient_of_conv(array: np.ndarray) -> np.ndarray:
        return array.transpose(*range(2, rank), 1, 0) if torch else array

    def flipped(array: np.ndarray) -> np.ndarray:
        return np.flip(gradient_of_conv(array), axes).swapaxes(-1, -2)

    words = f"{space}OI ← {named}" if torch else ""
    as_gradient = one(words, gradient_of_conv)
    as_conv = one(f"{space}IO ← {named}, space flipped", flipped)
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
    """Whether the array may be reshaped: axes of 1, or the heads of a general linear layer."""
    if np.prod(moved) != np.prod(shape):
        return False
    squeezed = [tuple(n for n in axes if n != 1) for axes in (moved, shape)]
    return squeezed[0] == squeezed[1] or kind == "General"


def _times(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) or "a scalar"
