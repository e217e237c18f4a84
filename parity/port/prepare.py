"""Makes both sides and the mapping between them, from the user's arguments."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from parity.port.candidates.base import Candidate, Leaf
from parity.port.case import Pair
from parity.port.mapping import layouts
from parity.port.mapping.mapping import WeightMapping
from parity.port.mapping.overrides import overrides_of, with_overrides, without_overrides
from parity.port.mapping.pairing import mapping_of, pair_up
from parity.port.mapping.uses import first_uses
from parity.port.perturbed import perturbed
from parity.port.recognise import candidate_of, reference_of
from parity.port.references.base import Reference
from parity.port.refine import refine
from parity.port.trees import is_float
from parity.precision import pinned


@dataclasses.dataclass(frozen=True)
class Prepared:
    """The input of the rungs.

    Attributes:
        pair: Both sides.
        leaves: The candidate's parameters and statistics, in the order of their first use.
        mapping: The mapping between the weights of both sides.
        notes: Decisions to report, such as the precision.
        why_not_float64: Why the candidate cannot be compared in float64, or an empty string.
    """

    pair: Pair
    leaves: list[Leaf]
    mapping: WeightMapping
    notes: tuple[str, ...]
    why_not_float64: str

    def ported(self) -> Any:
        """The candidate with the reference's weights.

        Raises:
            ValueError: If a parameter of the reference has no place in the candidate.
        """
        if self.mapping.missing:
            name, hint = next(iter(self.mapping.missing.items()))
            raise ValueError(f"{name} has no place in the candidate: {hint}")
        arrays = self.mapping.apply(self.pair.reference.arrays())
        return self.pair.candidate.with_weights(arrays)


def prepare(
    candidate: Any,
    reference: Any,
    batch: Any,
    mapping: Mapping[str, Any] | None,
    to_reference: Callable[[Any], Any] | None,
    to_candidate: Callable[[Any], Any] | None,
    seed: int,
) -> Prepared:
    """Prepare a comparison; see `parity.compare` for the arguments."""
    if not all(np.size(array) for array in jax.tree.leaves(batch)):
        raise ValueError("batch has an array without entries: give at least one example")
    port = candidate_of(candidate)
    original = reference_of(reference, batch)
    pair, notes, why_not_float64 = _pair(port, original, batch, to_reference, to_candidate)
    with pinned(pair.dtype):
        leaves, kinds = _leaves_in_order(pair)
        overrides = overrides_of(mapping, original.layers, leaves)
        rest = without_overrides(original.layers, leaves, overrides)
        pairs = with_overrides(original.layers, pair_up(*rest, kinds), overrides)
        first = mapping_of(pairs, [0] * len(pairs), original.layers, leaves)
        if first.missing:
            return Prepared(pair, leaves, first, notes, why_not_float64)
        weights = perturbed(original.layers, original.arrays(), first.constants, seed)
        filled = {path for paired in pairs for path in paired.paths}
        extra = {k: v for k, v in port.arrays().items() if k not in filled}
        try:
            found = refine(pair, pairs, leaves, weights, extra)
        except Exception as error:  # noqa: BLE001 - the port does not run; the forward rung reports it
            note = f"by shapes and names only: {type(error).__name__} in the candidate"
            found = mapping_of(pairs, [0] * len(pairs), original.layers, leaves, note)
    return Prepared(pair, leaves, found, notes, why_not_float64)


def _pair(
    port: Candidate,
    original: Reference,
    batch: Any,
    to_reference: Callable[[Any], Any] | None,
    to_candidate: Callable[[Any], Any] | None,
) -> tuple[Pair, tuple[str, ...], str]:
    notes = []
    torch = original.framework == "torch"
    if to_candidate is None:
        to_candidate = layouts.unchanged
        if torch:
            to_candidate = layouts.channels_last(original.sequence_channels_first)
            if any(np.ndim(array) in (4, 5) for array in jax.tree.leaves(batch)):
                notes.append("the candidate is given the images with their channels last")
    dtype = "float64"
    if original.why_not_float64:
        dtype = "float32"
        notes.append(f"compared in float32: {original.why_not_float64}")
    if to_reference is None:
        to_reference = layouts.unchanged
        if torch:
            outputs = original.run(original.arrays(), batch, dtype, False).outputs
            to_reference = layouts.channels_first([a.shape for a in outputs.values()])
    pair = Pair(original, port, batch, to_candidate, to_reference, dtype)
    why_not_float64 = _why_not_float64(pair) if dtype == "float64" else ""
    if why_not_float64:
        pair = dataclasses.replace(pair, dtype="float32")
        notes.append(f"compared in float32: {why_not_float64}")
    return pair, tuple(notes), why_not_float64


def _why_not_float64(pair: Pair) -> str:
    """Why the candidate cannot be compared in float64: it returns lower precision. Else empty."""
    with pinned("float64"):
        try:
            args, kwargs = pair.candidate_call("float64")
            weights = {k: jnp.asarray(v, "float64") for k, v in pair.candidate.arrays().items()}
            shapes = jax.eval_shape(
                lambda w: pair.candidate_at("float64").apply(w, args, kwargs, False)[0], weights
            )
        except Exception:  # noqa: BLE001 - the forward rung runs it again, and reports it
            return ""
    lower = {str(s.dtype) for s in jax.tree.leaves(shapes) if is_float(s)} - {"float64"}
    return f"given float64, the candidate returns {', '.join(sorted(lower))}" if lower else ""


def _leaves_in_order(pair: Pair) -> tuple[list[Leaf], dict[str, str]]:
    """The candidate's leaves in the order of their first use, and the kinds of its Flax layers."""
    port = pair.candidate_at(pair.dtype)
    leaves = {leaf.path: leaf for leaf in port.leaves()}
    args, kwargs = pair.candidate_call(pair.dtype)
    arrays = {path: jnp.asarray(a, pair.dtype) for path, a in port.arrays().items()}
    try:
        order = first_uses(lambda w: port.apply(w, args, kwargs, False), arrays)
        kinds = pair.module_kinds
    except Exception:  # noqa: BLE001 - the forward rung runs it again, and reports it
        return list(leaves.values()), {}
    return [leaves[path] for path in order], kinds
