"""Rung 4: the reference's weights, written to the candidate and read back, equal bit for bit."""

from parity.comparison import Comparison, compare_exactly
from parity.port.candidates.base import Candidate
from parity.port.layer import Arrays
from parity.port.mapping.mapping import WeightMapping


def compare_weights(
    arrays: Arrays, mapping: WeightMapping, candidate: Candidate, ported: Candidate
) -> Comparison:
    """Compare the ported candidate's weights, mapped back, with the reference's weights.

    Args:
        arrays: The reference's weights, in its own precision.
        mapping: The mapping between the weights.
        candidate: The port that the user gave.
        ported: The port with the reference's weights.
    """
    held = ported.arrays()
    back = mapping.invert(held)
    expected = {name: arrays[name] for name in back}
    note = ""
    if [leaf.path for leaf in candidate.leaves()] != list(held):
        note = "the ported candidate's parameters differ from those of the given candidate"
    found = {name: array.astype(expected[name].dtype) for name, array in back.items()}
    return Comparison(compare_exactly(found, expected).differences, note)
