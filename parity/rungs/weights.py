"""Rung 4: weights from the original's files into JAX and back, bit for bit."""

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
    """Each kind of file, through JAX, and back into the original."""
    # The recordings of 2018 went through no file but the golden one.
    if not isinstance(original, LiveOriginal):
        return
    for form in original.file_forms:
        yield original.check(
            4,
            case=f"{form}, there and back",
            bound=0.0,
            because="weights are copied, never computed with",
            run=functools.partial(_there_and_back, original, form),
            quick=form == original.file_forms[0],
        )


def _there_and_back(original: LiveOriginal, form: str, candidate: Candidate) -> Comparison:
    case = original.case
    weights = case.weights(case.size, "float32")
    with tempfile.TemporaryDirectory() as folder:
        model, back = original.through_file(weights, form, Path(folder))
    to_arrays = architecture(case.recipe.model).to_arrays
    assert to_arrays is not None
    there = candidate.to_arrays(candidate.from_arrays(to_arrays(model), case.size, "float32"))
    return compare_exactly(there, weights, prefix="to JAX, ") + compare_exactly(
        back, weights, prefix="and back, "
    )
