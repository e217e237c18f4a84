"""Compares a port with its original, and transfers the original's weights."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from parity.check import run_check
from parity.comparison import Comparison
from parity.port.case import Case
from parity.port.prepare import Prepared, prepare
from parity.port.preserve_rng import preserve_rng
from parity.port.recognise import candidate_of
from parity.port.report import Report
from parity.port.rungs.bounds import Bound, bound_of, check_bounds, rung_names
from parity.port.rungs.checks import absent, check, computed_checks
from parity.port.rungs.structure import compare_structure
from parity.port.rungs.weights import compare_weights


def compare(
    candidate: Any,
    reference: Any,
    batch: Any,
    *,
    rungs: Iterable[int | str] | None = None,
    mapping: Mapping[str, Any] | None = None,
    bounds: Mapping[Any, float] | None = None,
    train: bool = True,
    seed: int = 0,
    loss: tuple[Callable[[Any], Any], Callable[[Any], Any]] | None = None,
    to_reference: Callable[[Any], Any] | None = None,
    to_candidate: Callable[[Any], Any] | None = None,
) -> Report:
    """Compare a JAX model with its Keras or PyTorch original, with the original's weights in both.

    Neither object is changed: weights, modes and random number generators keep their state.

    Args:
        candidate: A Flax NNX module, `(linen_module, variables)`, or `(function, params)` for a
            function that is called as `function(params, *inputs)`.
        reference: A `torch.nn.Module`, or a `keras.Model` on TensorFlow.
        batch: The reference's inputs, as numpy arrays in its own layout. A tuple or list holds
            positional arguments, a mapping keyword arguments.
        rungs: Numbers or names of the rungs to compare, among structure (1), weights (4),
            forward (5), gradients (7) and trajectory (9); all if None.
        mapping: Corrections of the proposed weight mapping: from a parameter of the reference to a
            path of the candidate, or to `(path, function)`.
        bounds: The largest errors that pass, by a rung's number or name or by (name, dtype).
        train: Whether training mode, gradients and the trajectory are compared.
        seed: Seed of the random factors by which the outputs are summed to the default objective.
        loss: The objective to differentiate instead: a function of the candidate's outputs, and one
            of the reference's, each of which returns a scalar.
        to_reference: Converts the candidate's outputs to the reference's layout. By default, image
            outputs are converted to channels first for PyTorch.
        to_candidate: Converts the batch to the candidate's inputs; traced by JAX. By default,
            PyTorch's images are converted to channels last.

    Returns:
        The verdicts of all rungs. A port that differs or does not run raises no exception.

    Raises:
        TypeError: If the candidate or the reference has an unsupported type.
        ValueError: If a rung or a name in `mapping` or `bounds` does not exist, or if the batch is
            empty.
        Exception: Any exception that the reference raises on the batch.
    """
    names = rung_names(rungs)
    check_bounds(bounds)
    with preserve_rng():
        prepared = prepare(candidate, reference, batch, mapping, to_reference, to_candidate, seed)
        mapped = prepared.mapping
        why = ""
        if mapped.missing:
            why = f"no place in the candidate for {', '.join(mapped.missing)} of the reference"
        every = [
            check(
                rung,
                "",
                bound_of(rung, "", bounds),
                absent(why) if why and rung == "weights" else run,
            )
            for rung, run in (
                ("structure", lambda: _structure(prepared)),
                ("weights", lambda: _weights(prepared)),
            )
            if rung in names
        ]
        if prepared.why_not_float64 and bounds is None and "forward" in names:
            bound = Bound(0.0, "float64 shows faults that float32 hides")
            run = _low_precision(prepared.why_not_float64)
            every.append(check("forward", "precision", bound, run))
        every += computed_checks(names, _case(prepared, seed, loss), bounds, train, why)
        verdicts = tuple(run_check(one, None) for one in every)
    return Report(verdicts, mapped, prepared.notes, prepared.ported)


def transfer(
    candidate: Any,
    reference: Any,
    batch: Any,
    *,
    mapping: Mapping[str, Any] | None = None,
    seed: int = 0,
    to_reference: Callable[[Any], Any] | None = None,
    to_candidate: Callable[[Any], Any] | None = None,
) -> Any:
    """A new object: the candidate with the reference's weights. See `compare` for the arguments.

    Raises:
        ValueError: If a parameter of the reference has no place in the candidate.
    """
    with preserve_rng():
        found = prepare(candidate, reference, batch, mapping, to_reference, to_candidate, seed)
        return found.ported()


def _low_precision(reason: str) -> Callable[[], Comparison]:
    def run() -> Comparison:
        raise ValueError(
            f"{reason}: in that precision a fault of 1e-4 would pass; make the port compute in the "
            "precision of its inputs, or give the largest errors that pass as bounds="
        )

    return run


def _structure(prepared: Prepared) -> Comparison:
    layers = prepared.pair.reference.layers
    return compare_structure(layers, prepared.leaves, prepared.mapping)


def _weights(prepared: Prepared) -> Comparison:
    pair = prepared.pair
    arrays = pair.reference.arrays()
    ported = candidate_of(prepared.ported())
    return compare_weights(arrays, prepared.mapping, pair.candidate, ported)


def _case(
    prepared: Prepared,
    seed: int,
    loss: tuple[Callable[[Any], Any], Callable[[Any], Any]] | None,
) -> Case:
    pair, mapping = prepared.pair, prepared.mapping
    filled = {path for entry in mapping.entries for path in entry.candidate}
    own = pair.candidate.arrays()
    extra = {path: np.asarray(a, pair.dtype) for path, a in own.items() if path not in filled}
    weights = {name: a.astype(pair.dtype) for name, a in pair.reference.arrays().items()}
    return Case(pair, mapping, weights, extra, seed, loss)
