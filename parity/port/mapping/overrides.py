"""What the user says about the mapping."""

import dataclasses
import difflib
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from parity.port.candidates.base import Leaf
from parity.port.layer import Layer, Parameter
from parity.port.mapping.mapping import Entry, Pieces, Rule
from parity.port.mapping.pairing import Paired
from parity.port.mapping.rules import alternatives

Overrides = Mapping[str, tuple[Entry, ...]]


def overrides_of(
    given: Mapping[str, Any] | None, layers: Sequence[Layer], leaves: Sequence[Leaf]
) -> dict[str, tuple[Entry, ...]]:
    """For each parameter that the user names, the entries that there are for it.

    Args:
        given: From a reference's parameter to a candidate's path, to `(path, function)` or to
            `(path, function, inverse)`; a path may be a tuple of paths, for a function that
            returns as many arrays.
        layers: The reference's.
        leaves: The candidate's.

    Raises:
        ValueError: For a name that there is not, or an array that does not fit.
    """
    parameters = {p.name: (layer, p) for layer in layers for p in layer.parameters}
    by_path = {leaf.path: leaf for leaf in leaves}
    found: dict[str, tuple[Entry, ...]] = {}
    for name, target in (given or {}).items():
        layer, parameter = parameters[_known(name, parameters, "the reference has no parameter")]
        path, *functions = target if isinstance(target, tuple | list) else (target,)
        paths = (path,) if isinstance(path, str) else tuple(path)
        chosen = [by_path[_known(p, by_path, "the candidate has no parameter")] for p in paths]
        if functions:
            found[name] = (_entry(parameter, chosen, *functions),)
        else:
            rules = alternatives(layer, parameter, chosen[0].shape, "")
            entries = [Entry(name, parameter.shape, (chosen[0].path,), rule) for rule in rules]
            if not entries:
                raise ValueError(
                    f"no layout takes {name} of shape {parameter.shape} to {chosen[0].path} of "
                    f"shape {chosen[0].shape}: give the mapping (path, function)"
                )
            found[name] = tuple(entries)
    return found


def without(
    layers: Sequence[Layer], leaves: Sequence[Leaf], overrides: Overrides
) -> tuple[list[Layer], list[Leaf]]:
    """What is left to be paired up."""
    paths = {path for some in overrides.values() for path in some[0].candidate}
    rest = [
        dataclasses.replace(
            layer, parameters=tuple(p for p in layer.parameters if p.name not in overrides)
        )
        for layer in layers
    ]
    return [layer for layer in rest if layer.parameters], [
        leaf for leaf in leaves if leaf.path not in paths
    ]


def joined(layers: Sequence[Layer], pairs: Sequence[Paired], overrides: Overrides) -> list[Paired]:
    """The pairs with what the user said, in the reference's order."""
    ways = {paired.layer.name: paired.ways for paired in pairs}
    found = []
    for layer in layers:
        said = [overrides[p.name] for p in layer.parameters if p.name in overrides]
        own = ways.get(layer.name, ((),) if said else ())
        every = tuple((*way, *more) for way in own for more in itertools.product(*said))
        if every:
            found.append(Paired(layer, every, given=bool(said)))
    return found


def _entry(
    parameter: Parameter,
    leaves: Sequence[Leaf],
    function: Callable[[np.ndarray], Any],
    inverse: Callable[..., np.ndarray] | None = None,
) -> Entry:
    def apply(array: np.ndarray) -> Pieces:
        pieces = function(array)
        some = pieces if isinstance(pieces, tuple | list) else (pieces,)
        return tuple(np.asarray(piece) for piece in some)

    shapes = [piece.shape for piece in apply(np.zeros(parameter.shape))]
    if shapes != [leaf.shape for leaf in leaves]:
        raise ValueError(
            f"the function given for {parameter.name} makes shapes {shapes}, the candidate has "
            f"{[leaf.shape for leaf in leaves]}"
        )
    paths = tuple(leaf.path for leaf in leaves)
    return Entry(parameter.name, parameter.shape, paths, Rule("as given", apply, inverse))


def _known(name: str, names: Mapping[str, Any], complaint: str) -> str:
    if name in names:
        return name
    nearest = difflib.get_close_matches(name, names, n=1, cutoff=0)
    raise ValueError(f"mapping: {complaint} {name!r}; the nearest name is {nearest[0]!r}")
