"""Rung 5: every layer's output, the model's, and in training the running statistics."""

from parity.comparison import Comparison, compare
from parity.port.case import Case, different_outputs
from parity.port.layer import Arrays
from parity.port.layerwise import FLOOR, compare_layers
from parity.port.scales import scales


def compare_forward(case: Case, weights: Arrays, dtype: str, train: bool) -> Comparison:
    """Layers in the order in which the reference runs them, then outputs, then statistics.

    Raises:
        ValueError: If the two sides return different structures, or the reference returns nothing.
    """
    pair = case.pair
    theirs = pair.reference.run(weights, pair.batch, dtype, train)
    ours = pair.run(case.mapped(weights), dtype, train)
    layers, unseen = compare_layers(pair.reference.layers, case.mapping, theirs, ours)
    if not theirs.outputs:
        raise ValueError("the reference returns no array: there is nothing to compare")
    if set(ours.outputs) != set(theirs.outputs):
        raise ValueError(different_outputs(list(ours.outputs), list(theirs.outputs)))
    outputs = compare(ours.outputs, theirs.outputs, scale=scales(theirs.outputs, FLOOR))
    found = Comparison(tuple(layers)) + outputs
    if train:
        statistics = case.mapping.invert({**case.mapped(weights), **ours.statistics})
        kept = {name: a for name, a in theirs.statistics.items() if name in statistics}
        mine = {name: statistics[name] for name in kept}
        found += compare(mine, kept, scale=scales(kept, FLOOR), prefix="updated ")
    note = f"not seen layer by layer: {', '.join(unseen)}" if unseen else ""
    return Comparison(found.differences, note)
