"""The resize from pictures of any size to the network's input, as nodes of an ONNX graph."""

import numpy as np

from chifoumi_jax.export.onnx.graph import Graph
from chifoumi_jax.recipes import Recipe

# Weights of red, green and blue in Pillow 5.3's gray; see `data.pixels`.
_GRAY_WEIGHTS = (19595, 38470, 7471)
_GRAY_DIVISOR = 2**16


def pixels(graph: Graph, recipe: Recipe, pictures: str) -> str:
    """The recipe's pixels, in NCHW, of uint8 RGB pictures [batch, height, width, 3].

    Nearest-neighbour pixels equal Pillow's, because the same sums in the same order select them.
    With antialiasing about one value in a hundred differs by 1, because Pillow's integers and the
    runtime's round differently.
    """
    planes = graph.node("Transpose", [pictures], "planes", perm=[0, 3, 1, 2])
    if recipe.layout == "keras":
        wide = _nearest(graph, planes, 3, recipe.image_size, "columns")
        return _nearest(graph, wide, 2, recipe.image_size, "rows")
    # Horizontally first, with 8 bits between the two steps, as in `data.pixels`.
    wide = _antialiased(graph, planes, 3, recipe.image_size, "columns")
    small = _antialiased(graph, wide, 2, recipe.image_size, "rows")
    return _gray(graph, small) if recipe.layout == "torch" else small


def scaled(graph: Graph, recipe: Recipe, values: str) -> str:
    """Pixels as floats in [0, 1]."""
    floats = graph.node("Cast", [values], "pixels_float", to=1)
    if recipe.layout == "torch":
        return graph.node("Div", [floats, graph.number(255.0)], "scaled")
    factor = graph.weight("one_255th", np.array(np.float32(1 / 255)))
    return graph.node("Mul", [floats, factor], "scaled")


def _nearest(graph: Graph, planes: str, axis: int, size: int, name: str) -> str:
    length = graph.node("Cast", [_length(graph, planes, axis, name)], f"{name}_length64", to=11)
    divisor = graph.weight("size64", np.array([size], np.float64))
    step = graph.node("Div", [length, divisor], f"{name}_step")
    # Half a step, then whole steps, summed one by one, to get the same rounding as Pillow.
    multiples = np.ones(size)
    multiples[0] = 0.5
    steps = graph.node("Mul", [step, graph.weight("shares", multiples)], f"{name}_steps")
    sums = graph.node("CumSum", [steps, graph.weight("first_axis", np.array(0))], f"{name}_ends")
    indices = graph.node("Cast", [sums], f"{name}_places", to=7)
    return graph.node("Gather", [planes, indices], name, axis=axis)


def _antialiased(graph: Graph, planes: str, axis: int, size: int, name: str) -> str:
    shape = graph.node("Shape", [planes], f"{name}_shape")
    before = graph.node(
        "Slice", [shape, graph.integers(0), graph.integers(axis)], f"{name}_shape_before"
    )
    after = graph.node(
        "Slice", [shape, graph.integers(axis + 1), graph.integers(4)], f"{name}_shape_after"
    )
    target = graph.node("Concat", [before, graph.integers(size), after], f"{name}_target", axis=0)
    return graph.node(
        "Resize",
        [planes, "", "", target],
        name,
        mode="linear",
        coordinate_transformation_mode="half_pixel",
        antialias=1,
        exclude_outside=1,
    )


def _gray(graph: Graph, planes: str) -> str:
    wide = graph.node("Cast", [planes], "rgb_int", to=6)
    weights = graph.weight("gray_shares", np.array(_GRAY_WEIGHTS, np.int32).reshape(1, 3, 1, 1))
    weighted = graph.node("Mul", [wide, weights], "gray_parts")
    total = graph.node("ReduceSum", [weighted, graph.integers(1)], "gray_sum")
    divisor = graph.weight("gray_divisor", np.array(_GRAY_DIVISOR, np.int32))
    gray = graph.node("Div", [total, divisor], "gray_int")
    return graph.node("Cast", [gray], "gray", to=2)


def _length(graph: Graph, planes: str, axis: int, name: str) -> str:
    shape = graph.node("Shape", [planes], f"{name}_shape")
    return graph.node("Gather", [shape, graph.integers(axis)], f"{name}_length")
