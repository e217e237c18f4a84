"""The user's corrections of the mapping."""

import dataclasses
import difflib
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from parity.port.candidates.base import Leaf
from parity.port.layer import Layer, Parameter
from parity.port.mapping.mapping import Entry, Pieces, Rule
from parity.port.mapping.pairing import PairedLayer
from parity.port.mapping.rules import alternatives

Overrides = Mapping[str, tuple[Entry, ...]]


def overrides_of(
    given: Mapping[str, Any] | None, layers: Sequence[Layer], leaves: Sequence[Leaf]
) -> dict[str, tuple[Entry, ...]]:
    """The possible entries for each parameter that the user names.

    Args:
        given: From a parameter of the reference to a path of the candidate, to `(path, function)`
            or to `(path, function, inverse)`; a path may be a tuple of paths, for a function that
            returns as many arrays.
        layers: The reference's layers.
        leaves: The candidate's parameters and statistics.

    Raises:
        ValueError: If a name does not exist, or if an array does not fit.
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
                    f"shape {chosen[0].shape}: give the mapping as (path, function)"
                )
            found[name] = tuple(entries)
    return found


def without_overrides(
    layers: Sequence[Layer], leaves: Sequence[Leaf], overrides: Overrides
) -> tuple[list[Layer], list[Leaf]]:
    """The layers and leaves that remain to be paired up."""
    paths = {path for entries in overrides.values() for path in entries[0].candidate}
    rest = [
        dataclasses.replace(
            layer, parameters=tuple(p for p in layer.parameters if p.name not in overrides)
        )
        for layer in layers
    ]
    return [layer for layer in rest if layer.parameters], [
        leaf for leaf in leaves if leaf.path not in paths
    ]


def with_overrides(
    layers: Sequence[Layer], pairs: Sequence[PairedLayer], overrides: Overrides
) -> list[PairedLayer]:
    """The pairs together with the overrides, in the reference's order."""
    options = {paired.layer.name: paired.options for paired in pairs}
    found = []
    for layer in layers:
        given = [overrides[p.name] for p in layer.parameters if p.name in overrides]
        own = options.get(layer.name, ((),) if given else ())
        every = tuple((*option, *more) for option in own for more in itertools.product(*given))
        if every:
            found.append(PairedLayer(layer, every, given=bool(given)))
    return found


def _entry(
    parameter: Parameter,
    leaves: Sequence[Leaf],
    function: Callable[[np.ndarray], Any],
    inverse: Callable[..., np.ndarray] | None = None,
) -> Entry:
    def apply(array: np.ndarray) -> Pieces:
        pieces = function(array)
        several = pieces if isinstance(pieces, tuple | list) else (pieces,)
        return tuple(np.asarray(piece) for piece in several)

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
