"""Maps the weights of PyTorch's multi-head attention to the arrays of Flax's."""

import re
from collections.abc import Mapping

import numpy as np

from parity.port.layer import Layer
from parity.port.mapping.mapping import Entry, Pieces, Rule

Shapes = Mapping[str, tuple[int, ...]]

_PROJECTION = re.compile(r"(?:^|\.)(q|k|v|o)[a-z_]*\.(kernel|bias)$")


def mapping_options(layer: Layer, shapes: Shapes, kind: str) -> list[tuple[Entry, ...]]:
    """The one possible mapping, or an empty list if the arrays do not fit.

    The candidate has one layer for each of q, k, v and o, whose name begins with that letter, such
    as `query` or `q_proj`; its heads may have an axis of their own.
    """
    del kind
    paths: dict[tuple[str, str], str] = {}
    for path in shapes:
        found = _PROJECTION.search(path)
        if found is None:
            return []
        paths[found.group(1), found.group(2)] = path
    entries = []
    for parameter in layer.parameters:
        # PyTorch's own names: in_proj_weight, in_proj_bias, out_proj.weight, out_proj.bias.
        letters = "qkv" if parameter.role.startswith("in_proj") else "o"
        role = "bias" if parameter.role.endswith("bias") else "kernel"
        targets = [paths.get((letter, role)) for letter in letters]
        known = [path for path in targets if path is not None]
        size = sum(int(np.prod(shapes[path])) for path in known)
        if len(known) != len(letters) or size != int(np.prod(parameter.shape)):
            return []
        entries.append(_entry(parameter.name, parameter.shape, known, shapes))
    return [tuple(entries)]


def _entry(name: str, shape: tuple[int, ...], paths: list[str], shapes: Shapes) -> Entry:
    def apply(array: np.ndarray) -> Pieces:
        parts = np.split(array, len(paths), axis=0)
        return tuple(part.T.reshape(shapes[path]) for part, path in zip(parts, paths, strict=True))

    description = "(in, out) ← (out, in)" if len(shape) == 2 else ""
    if len(paths) > 1:
        parts = ("query, key and value apart", description)
        description = "; ".join(part for part in parts if part)
    return Entry(name, shape, tuple(paths), Rule(description, apply))
