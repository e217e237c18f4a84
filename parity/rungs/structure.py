"""Rung 1: the same layers in the same order, with equal shapes and parameter counts."""

import math
from collections.abc import Iterator

from parity.candidate import Candidate
from parity.check import Check
from parity.comparison import Comparison, Difference
from parity.original import Original


def checks(original: Original) -> Iterator[Check]:
    """The rows of the table of layers, and the total number of parameters."""

    def run(candidate: Candidate) -> Comparison:
        ours = [(row.name, row.kind, row.output_shape, row.params) for row in candidate.structure()]
        theirs = original.structure()
        total = sum(row[3] for row in ours)
        if not original.lists_functions:
            ours = [row for row in ours if row[3]]
        found = [
            _difference(f"layer {place + 1}", mine, yours)
            for place, (mine, yours) in enumerate(zip(ours, theirs, strict=False))
        ]
        found.append(_difference("number of layers", len(ours), len(theirs)))
        found.append(_difference("total parameters", total, original.case.total_params))
        return Comparison(tuple(found), f"{total:,} parameters")

    yield original.check(
        1,
        case="the study's size",
        bound=0.0,
        because="names, kinds, shapes and counts are equal or not",
        run=run,
        quick=True,
    )


def _difference(quantity: str, ours: object, theirs: object) -> Difference:
    if ours == theirs:
        return Difference(quantity, 0.0)
    return Difference(quantity, math.inf, reason=f"{ours}, the original has {theirs}")
