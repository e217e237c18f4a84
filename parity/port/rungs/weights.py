"""Rung 4: the reference's weights, put into the candidate and read back, bit for bit."""

from parity.comparison import Comparison, compare_exactly
from parity.port.candidates.base import Candidate
from parity.port.layer import Arrays
from parity.port.mapping.mapping import WeightMapping


def compare_weights(
    arrays: Arrays, mapping: WeightMapping, candidate: Candidate, ported: Candidate
) -> Comparison:
    """Compare what the ported candidate holds, brought back, with what the reference holds.

    Args:
        arrays: The reference's, in its own precision.
        mapping: Between the two.
        candidate: The port as it was given.
        ported: The port with the reference's weights.
    """
    held = ported.arrays()
    back = mapping.invert(held)
    there = {name: arrays[name] for name in back}
    note = ""
    if [leaf.path for leaf in candidate.leaves()] != list(held):
        note = "the ported candidate's parameters are not those that it was given with"
    found = {name: array.astype(there[name].dtype) for name, array in back.items()}
    return Comparison(compare_exactly(found, there).differences, note)
