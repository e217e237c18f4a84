"""Both sides and the mapping between them, from what the user gives."""

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
from parity.port.mapping.overrides import joined, overrides_of, without
from parity.port.mapping.pairing import mapping_of, pair_up
from parity.port.mapping.uses import first_uses
from parity.port.perturbed import shaken
from parity.port.references.base import Reference
from parity.port.refine import refine
from parity.port.sides import candidate_of, reference_of
from parity.port.trees import is_float
from parity.precision import pinned


@dataclasses.dataclass(frozen=True)
class Prepared:
    """Everything that comes before the rungs.

    Attributes:
        pair: Both sides.
        leaves: The candidate's, in the order of their first use.
        mapping: Between their weights.
        notes: What was decided.
        coarse: Why nothing can be compared in float64, where that is the candidate's doing.
    """

    pair: Pair
    leaves: list[Leaf]
    mapping: WeightMapping
    notes: tuple[str, ...]
    coarse: str

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
    """See `parity.compare`."""
    if not all(np.size(array) for array in jax.tree.leaves(batch)):
        raise ValueError("batch has an array without entries: give a few examples")
    port = candidate_of(candidate)
    original = reference_of(reference, batch)
    pair, notes, coarse = _pair(port, original, batch, to_reference, to_candidate)
    with pinned(pair.dtype):
        leaves, kinds = _used(pair)
        overrides = overrides_of(mapping, original.layers, leaves)
        rest = without(original.layers, leaves, overrides)
        pairs = joined(original.layers, pair_up(*rest, kinds), overrides)
        plain = mapping_of(pairs, [0] * len(pairs), original.layers, leaves)
        if plain.missing:
            return Prepared(pair, leaves, plain, notes, coarse)
        weights = shaken(original.layers, original.arrays(), plain.constants, seed)
        filled = {path for paired in pairs for path in paired.paths}
        extra = {k: v for k, v in port.arrays().items() if k not in filled}
        try:
            found = refine(pair, pairs, leaves, weights, extra)
        except Exception as error:  # noqa: BLE001 - the port does not run; its forward rung says so
            note = f"by shapes and names only: {type(error).__name__} in the candidate"
            found = mapping_of(pairs, [0] * len(pairs), original.layers, leaves, note)
    return Prepared(pair, leaves, found, notes, coarse)


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
    coarse = _why_not_float64(pair) if dtype == "float64" else ""
    if coarse:
        pair = dataclasses.replace(pair, dtype="float32")
        notes.append(f"compared in float32: {coarse}")
    return pair, tuple(notes), coarse


def _why_not_float64(pair: Pair) -> str:
    """Whether the candidate's outputs are of less, though it is given float64."""
    with pinned("float64"):
        try:
            args, kwargs = pair.candidate_call("float64")
            weights = {k: jnp.asarray(v, "float64") for k, v in pair.candidate.arrays().items()}
            shapes = jax.eval_shape(
                lambda w: pair.at("float64").apply(w, args, kwargs, False)[0], weights
            )
        except Exception:  # noqa: BLE001 - the forward rung runs it again, and reports it
            return ""
    less = {str(s.dtype) for s in jax.tree.leaves(shapes) if is_float(s)} - {"float64"}
    return f"given float64, the candidate returns {', '.join(sorted(less))}" if less else ""


def _used(pair: Pair) -> tuple[list[Leaf], dict[str, str]]:
    """The candidate's leaves in the order of their first use, and its Flax layers."""
    port = pair.at(pair.dtype)
    leaves = {leaf.path: leaf for leaf in port.leaves()}
    args, kwargs = pair.candidate_call(pair.dtype)
    arrays = {path: jnp.asarray(a, pair.dtype) for path, a in port.arrays().items()}
    try:
        order = first_uses(lambda w: port.apply(w, args, kwargs, False), arrays)
        kinds = pair.module_kinds
    except Exception:  # noqa: BLE001 - the forward rung runs it again, and reports it
        return list(leaves.values()), {}
    return [leaves[path] for path in order], kinds
