"""The comparison of a port with its original, and the transfer of weights."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from parity.check import judge
from parity.comparison import Comparison
from parity.port.case import Case
from parity.port.prepare import Prepared, prepare
from parity.port.preserve_rng import undisturbed
from parity.port.report import Report
from parity.port.rungs.bounds import Bound, bound_of, check_bounds, rung_names
from parity.port.rungs.checks import absent, check, computed_checks
from parity.port.rungs.structure import compare_structure
from parity.port.rungs.weights import compare_weights
from parity.port.sides import candidate_of


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

    Neither object is changed: weights, modes and random numbers stay as they are.

    Args:
        candidate: A Flax NNX module, `(linen_module, variables)`, or `(function, params)` for a
            function that is called as `function(params, *inputs)`.
        reference: A `torch.nn.Module`, or a `keras.Model` on TensorFlow.
        batch: What the reference is called with, as numpy arrays in its own layout. A tuple or
            list is several arguments, a mapping named ones.
        rungs: Numbers or names of some of structure (1), weights (4), forward (5), gradients (7)
            and trajectory (9); all if None.
        mapping: Where the proposed one is wrong: from a reference's parameter to the candidate's
            path, or to `(path, function)`.
        bounds: Largest errors that pass, by a rung's number or name or by (name, dtype).
        train: Whether training mode, gradients and the trajectory are compared.
        seed: Of the random factors of the outputs that are differentiated.
        loss: What is differentiated instead: a function of the candidate's outputs, and one of
            the reference's, each to a scalar.
        to_reference: From the candidate's outputs to the reference's layout. By default images
            get PyTorch's channels first.
        to_candidate: From the batch to what the candidate is called with; traced by JAX. By
            default PyTorch's images get their channels last.

    Returns:
        What was found. A port that differs, or does not run, raises nothing.

    Raises:
        TypeError: If candidate or reference is nothing that can be compared.
        ValueError: If a rung or a name in `mapping` or `bounds` does not exist, or the batch is
            empty.
        Exception: Whatever the reference raises for a batch that it does not take.
    """
    names = rung_names(rungs)
    check_bounds(bounds)
    with undisturbed():
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
        if prepared.coarse and bounds is None and "forward" in names:
            bound = Bound(0.0, "float64 shows what float32 hides")
            every.append(check("forward", "precision", bound, _too_coarse(prepared.coarse)))
        every += computed_checks(names, _case(prepared, seed, loss), bounds, train, why)
        verdicts = tuple(judge(one, None) for one in every)
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
    """The candidate with the reference's weights, as a new object; see `compare`.

    Raises:
        ValueError: If a parameter of the reference has no place in the candidate.
    """
    with undisturbed():
        found = prepare(candidate, reference, batch, mapping, to_reference, to_candidate, seed)
        return found.ported()


def _too_coarse(reason: str) -> Callable[[], Comparison]:
    def run() -> Comparison:
        raise ValueError(
            f"{reason}: in that precision a fault of 1e-4 would pass. Let the port compute and "
            "return what it is given, or say with bounds= what is to pass"
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
