"""Comparison of arrays by name: how far they differ, where first; no mismatch passes silently."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Sampled:
    """Some entries of a larger array.

    Attributes:
        values: The entries.
        places: Their indices in the flattened array.
        shape: The shape of the larger array.
    """

    values: np.ndarray
    places: np.ndarray
    shape: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Difference:
    """How far one quantity of the candidate is from the reference's.

    Attributes:
        quantity: Its name, such as `conv2d_1/kernel`.
        error: The error as the comparison defines it; infinite if the two cannot be compared.
        max_abs: The largest absolute difference.
        max_rel: The largest difference of an entry, relative to the reference's entry.
        index: Index of the largest absolute difference.
        candidate: The candidate's entry at `index`.
        reference: The reference's entry at `index`.
        reason: Why the two cannot be compared, or an empty string.
    """

    quantity: str
    error: float
    max_abs: float = 0.0
    max_rel: float = 0.0
    index: tuple[int, ...] = ()
    candidate: float = math.nan
    reference: float = math.nan
    reason: str = ""

    def sentence(self) -> str:
        """The quantity, the index, both entries and the largest differences, on one line."""
        if self.reason:
            return f"{self.quantity}: {self.reason}"
        place = f"[{', '.join(map(str, self.index))}]" if self.index else ""
        return (
            f"{self.quantity}{place}: {self.candidate!r} against {self.reference!r} "
            f"(max abs {self.max_abs:.3g}, max rel {self.max_rel:.3g})"
        )


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Differences in the order in which the quantities are computed.

    Attributes:
        differences: One for each quantity; an empty comparison is a failure.
        note: Further information for the reader, such as a test's power.
    """

    differences: tuple[Difference, ...]
    note: str = ""

    @property
    def worst(self) -> Difference:
        """The difference with the largest error."""
        if not self.differences:
            return Difference("nothing", math.inf, reason="nothing was compared")
        return max(self.differences, key=lambda difference: difference.error)

    def first_beyond(self, bound: float) -> Difference | None:
        """The first difference whose error exceeds the bound, or None.

        An empty comparison returns a difference that says that nothing was compared.
        """
        if not self.differences:
            return self.worst
        # Not `error > bound`, because NaN must not pass.
        return next((d for d in self.differences if not d.error <= bound), None)

    def __add__(self, other: "Comparison") -> "Comparison":
        """The differences and notes of both, one after the other."""
        note = "; ".join(note for note in (self.note, other.note) if note)
        return Comparison(self.differences + other.differences, note)


Arrays = Mapping[str, Any]


def compare(
    candidate: Arrays,
    reference: Arrays,
    *,
    scale: Mapping[str, float] | float | None = None,
    prefix: str = "",
) -> Comparison:
    """Compare every named array of the reference with the candidate's.

    The error of a quantity is its largest absolute difference over the largest absolute entry of
    the reference's array, or over `scale` where given. The error is infinite if only one side has
    the name, if the shapes differ, if the arrays are empty, or if an entry on either side is not
    finite.
    """
    differences = [
        difference_of(
            prefix + name,
            candidate.get(name),
            value,
            scale.get(name) if isinstance(scale, Mapping) else scale,
        )
        for name, value in reference.items()
    ]
    for name in candidate:
        if name not in reference:
            reason = "the reference has no such quantity"
            differences.append(Difference(prefix + name, math.inf, reason=reason))
    return Comparison(tuple(differences))


def compare_exactly(candidate: Arrays, reference: Arrays, *, prefix: str = "") -> Comparison:
    """Like `compare`, but the error is the share of entries that are not equal bit for bit."""
    found = compare(candidate, reference, prefix=prefix).differences
    names = [*reference, *(name for name in candidate if name not in reference)]
    return Comparison(
        tuple(
            dataclasses.replace(d, error=_unequal_share(candidate[name], reference[name]))
            if not d.reason
            else d
            for d, name in zip(found, names, strict=True)
        )
    )


def difference_of(quantity: str, candidate: Any, reference: Any, scale: float | None) -> Difference:
    """One quantity's difference; see `compare`."""

    def incomparable(reason: str) -> Difference:
        return Difference(quantity, math.inf, reason=reason)

    if candidate is None:
        return incomparable("the candidate has no such quantity")
    candidate = np.asarray(candidate)
    shape = reference.shape if isinstance(reference, Sampled) else np.shape(reference)
    if candidate.shape != tuple(shape):
        return incomparable(f"shape {candidate.shape}, the reference has {tuple(shape)}")
    if np.iscomplexobj(candidate) or np.iscomplexobj(values_of(reference)):
        return incomparable("complex entries: give the real and the imaginary part instead")
    ours, theirs, places = _pair(candidate, reference)
    if not theirs.size:
        return incomparable("there is no entry to compare")
    for side, values in (("candidate", ours), ("reference", theirs)):
        not_finite = np.flatnonzero(~np.isfinite(values))
        if not_finite.size:
            index = _index(places, int(not_finite[0]), shape)
            return incomparable(f"{side} has {values[not_finite[0]]} at {list(index)}")
    differences = np.abs(ours - theirs)
    place = int(np.argmax(differences))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        relative = np.where(differences == 0, 0.0, differences / np.abs(theirs))
    largest = float(np.max(np.abs(theirs))) if scale is None else scale
    worst = float(differences[place])
    return Difference(
        quantity,
        error=0.0 if worst == 0 else worst / largest if largest else math.inf,
        max_abs=worst,
        max_rel=float(np.max(relative)),
        index=_index(places, place, shape),
        candidate=float(ours[place]),
        reference=float(theirs[place]),
    )


def entries(array: Any, like: Any) -> np.ndarray:
    """An array's flat entries; if `like` is a sample, only those at its places."""
    flat = np.asarray(array).reshape(-1)
    return flat[like.places] if isinstance(like, Sampled) else flat


def values_of(array: Any) -> np.ndarray:
    """The flat entries that an array or a sample holds."""
    return array.values if isinstance(array, Sampled) else np.asarray(array).reshape(-1)


def _pair(candidate: np.ndarray, reference: Any) -> tuple[np.ndarray, np.ndarray, Any]:
    places = reference.places if isinstance(reference, Sampled) else None
    ours, theirs = entries(candidate, reference), values_of(reference)
    # In float64, so that the subtraction itself does not round.
    return ours.astype(np.float64), theirs.astype(np.float64), places


def _index(places: Any, place: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    flat = place if places is None else int(places[place])
    return tuple(int(i) for i in np.unravel_index(flat, shape)) if shape else ()


def _unequal_share(candidate: Any, reference: Any) -> float:
    ours, theirs = entries(candidate, reference), values_of(reference)
    if ours.dtype != theirs.dtype:
        return math.inf
    # Compared as bytes, so that -0.0 differs from 0.0.
    size = ours.dtype.itemsize
    pairs = [np.ascontiguousarray(side).view(np.uint8).reshape(-1, size) for side in (ours, theirs)]
    return float(np.mean(np.any(pairs[0] != pairs[1], axis=1)))
