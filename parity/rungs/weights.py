"""Rung 4: weights from the original's files to JAX and back, bit for bit."""

import functools
import tempfile
from collections.abc import Iterator
from pathlib import Path

from chifoumi_jax.backbones import architecture
from parity.candidate import Candidate
from parity.check import Check
from parity.comparison import Comparison, compare_exactly
from parity.original import LiveOriginal, Original


def checks(original: Original) -> Iterator[Check]:
    """For each kind of file: to JAX, and back into the original."""
    # The recordings of 2018 have no weight files.
    if not isinstance(original, LiveOriginal):
        return
    for form in original.file_forms:
        yield original.check(
            4,
            case=f"{form}, to JAX and back",
            bound=0.0,
            because="weights are copied, never computed with",
            run=functools.partial(_round_trip, original, form),
            quick=form == original.file_forms[0],
        )


def _round_trip(original: LiveOriginal, form: str, candidate: Candidate) -> Comparison:
    case = original.case
    weights = case.weights(case.size, "float32")
    with tempfile.TemporaryDirectory() as folder:
        model, back = original.through_file(weights, form, Path(folder))
    to_arrays = architecture(case.recipe.model).to_arrays
    assert to_arrays is not None
    converted = candidate.to_arrays(candidate.from_arrays(to_arrays(model), case.size, "float32"))
    return compare_exactly(converted, weights, prefix="to JAX, ") + compare_exactly(
        back, weights, prefix="and back, "
    )
