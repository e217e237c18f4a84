"""Rung 5: the outputs of every layer and of the model, and in training the running statistics."""

from parity.comparison import Comparison, compare
from parity.port.case import Case, different_outputs
from parity.port.layer import Arrays
from parity.port.rungs.layerwise import FLOOR, compare_layers
from parity.value_and_grad import scales


def compare_forward(
    case: Case, weights: Arrays, dtype: str, train: bool, bound: float
) -> Comparison:
    """Compare layers in the order in which the reference runs, then outputs, then statistics.

    Args:
        case: Both sides.
        weights: Weights by the reference's names.
        dtype: "float64" or "float32".
        train: Whether to run in training mode.
        bound: Errors up to this count as agreement; see `Layerwise.without_other_forms`.

    Raises:
        ValueError: If the two sides return different structures, or the reference returns nothing.
    """
    pair = case.pair
    theirs = pair.reference.run(weights, pair.batch, dtype, train)
    ours = pair.run(case.mapped(weights), dtype, train)
    if not theirs.outputs:
        raise ValueError("the reference returns no array: there is nothing to compare")
    if set(ours.outputs) != set(theirs.outputs):
        raise ValueError(different_outputs(list(ours.outputs), list(theirs.outputs)))
    outputs = compare(ours.outputs, theirs.outputs, scale=scales(theirs.outputs, FLOOR))
    layerwise = compare_layers(pair.reference.layers, case.mapping, theirs, ours, pair.module_kinds)
    agree = outputs.first_beyond(bound) is None
    layers, other = layerwise.without_other_forms(bound, agree)
    found = Comparison(tuple(layers)) + outputs
    if train:
        statistics = case.mapping.invert({**case.mapped(weights), **ours.statistics})
        kept = {name: a for name, a in theirs.statistics.items() if name in statistics}
        mine = {name: statistics[name] for name in kept}
        found += compare(mine, kept, scale=scales(kept, FLOOR), prefix="updated ")
    notes = [("not seen layer by layer", layerwise.unseen), ("of another form in the port", other)]
    note = "; ".join(f"{text}: {', '.join(names)}" for text, names in notes if names)
    return Comparison(found.differences, note)
