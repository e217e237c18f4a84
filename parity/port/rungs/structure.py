"""Rung 1: every parameter of the reference has exactly one place in the candidate."""

import math

import numpy as np

from parity.comparison import Comparison, Difference
from parity.port.candidates.base import Leaf
from parity.port.layer import Layer
from parity.port.mapping.mapping import WeightMapping


def compare_structure(
    layers: list[Layer], leaves: list[Leaf], mapping: WeightMapping
) -> Comparison:
    """One difference for each parameter of either side, and one for the total number of entries."""
    parameters = [p for layer in layers for p in layer.parameters]
    constants = set(mapping.constants)
    counts = _source_counts(leaves, mapping)
    found = [
        _compare_parameter(p.name, mapping, counts) for p in parameters if p.name not in constants
    ]
    found += [
        Difference(leaf.path, math.inf, reason=reason)
        for leaf in leaves
        if (reason := _unfilled(leaf, counts[leaf.path]))
    ]
    ours = sum(int(np.prod(leaf.shape)) for leaf in leaves)
    theirs = sum(int(np.prod(p.shape)) for p in parameters if p.name not in constants)
    reason = "" if ours == theirs else f"{ours:,}, the reference has {theirs:,}"
    total = Difference("entries in total", math.inf if reason else 0.0, reason=reason)
    note = "; ".join(f"{name} is taken as a constant of the port" for name in mapping.constants)
    return Comparison((*found, total), note)


def _source_counts(leaves: list[Leaf], mapping: WeightMapping) -> dict[str, np.ndarray]:
    """For each entry of the candidate, the number of entries of the reference that fill it."""
    found = {leaf.path: np.zeros(leaf.shape, int) for leaf in leaves}
    for entry in mapping.entries:
        if entry.places is None:
            for path in entry.candidate:
                found[path] += 1
            continue
        for path, places in zip(entry.candidate, entry.places, strict=True):
            found[path] += places >= 0
    return found


def _compare_parameter(
    name: str, mapping: WeightMapping, counts: dict[str, np.ndarray]
) -> Difference:
    if name in mapping.missing:
        return Difference(name, math.inf, reason=mapping.missing[name])
    entries = [entry for entry in mapping.entries if entry.reference == name]
    placed = [places for entry in entries for places in entry.places or ()]
    size = int(np.prod(entries[0].shape))
    lost = size - len({int(p) for places in placed for p in places.ravel() if p >= 0})
    if placed and lost:
        return Difference(
            name, math.inf, reason=f"{lost} of its {size} entries have no place in the candidate"
        )
    for entry in entries:
        for path in entry.candidate:
            if np.any(counts[path] > 1):
                others = {e.reference for e in mapping.entries if path in e.candidate} - {name}
                reason = (
                    f"it and {', '.join(sorted(others))} are one in the candidate, {path}, which "
                    "holds their sum: outputs may agree, but training differs; give the port both"
                )
                return Difference(name, math.inf, reason=reason)
    return Difference(name, 0.0)


def _unfilled(leaf: Leaf, counts: np.ndarray) -> str:
    empty = int(np.sum(counts == 0))
    if empty == counts.size:
        return f"no parameter of the reference is left for it, of shape {leaf.shape}"
    return f"{empty} of its {counts.size} entries get nothing from the reference" if empty else ""
