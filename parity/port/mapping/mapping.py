"""The mapping from the reference's parameters to the candidate's, entry by entry."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from parity.port.layer import Arrays

Pieces = tuple[np.ndarray, ...]


@dataclasses.dataclass(frozen=True)
class Rule:
    """How an array of the reference is converted to arrays of the candidate.

    Attributes:
        description: Text such as "HWIO ← OIHW"; an empty string if nothing changes.
        apply: Moves entries without computing with them. Entries without a source become 0.
        inverse: The inverse, where it cannot be derived from `apply`.
    """

    description: str
    apply: Callable[[np.ndarray], Pieces]
    inverse: Callable[..., np.ndarray] | None = None


@dataclasses.dataclass(frozen=True)
class Entry:
    """Where one parameter of the reference goes in the candidate.

    Attributes:
        reference: The parameter's name in the reference.
        shape: Its shape in the reference.
        candidate: The candidate's paths, one for each array that the rule makes.
        rule: The conversion.
    """

    reference: str
    shape: tuple[int, ...]
    candidate: tuple[str, ...]
    rule: Rule

    @functools.cached_property
    def places(self) -> Pieces | None:
        """For every entry of the candidate's arrays, its flat index in the reference; -1 for none.

        None if the rule does more than move entries.
        """
        size = int(np.prod(self.shape))
        # Numbered from 1, because 0 marks an entry without a source.
        numbers = np.arange(1, size + 1, dtype=np.float64).reshape(self.shape)
        moved = [np.asarray(piece) for piece in self.rule.apply(numbers)]
        for piece in moved:
            if not np.array_equal(piece, np.clip(np.round(piece), 0, size)):
                return None
        # An array again, because the difference of arrays without axes is a number.
        return tuple(np.asarray(piece.astype(np.int64) - 1) for piece in moved)

    def back(self, arrays: Sequence[np.ndarray]) -> np.ndarray:
        """The reference's array, with NaN for entries that are not in the candidate."""
        if self.rule.inverse is not None:
            return np.asarray(self.rule.inverse(*arrays))
        if self.places is None:
            raise ValueError(
                f"{self.reference}: its function does more than move entries, so it cannot be "
                "inverted; give the mapping as (path, function, inverse)"
            )
        flat = np.full(int(np.prod(self.shape)), np.nan, np.result_type(*arrays))
        for places, array in zip(self.places, arrays, strict=True):
            has_source = places >= 0
            flat[places[has_source]] = array[has_source]
        return flat.reshape(self.shape)


class WeightMapping:
    """The mapping from the reference's parameters to the candidate's, and back.

    Attributes:
        entries: One or more per parameter, in the order in which the reference runs.
        missing: Parameters of the reference without a place in the candidate, each with a hint.
        unused: Paths of the candidate that the mapping does not fill.
        constants: Buffers of the reference that the port holds as constants.
        note: How the choice between layouts was made.
    """

    def __init__(
        self,
        entries: Sequence[Entry],
        missing: Mapping[str, str] | None = None,
        unused: Sequence[str] = (),
        constants: Sequence[str] = (),
        note: str = "",
    ) -> None:
        self.entries = tuple(entries)
        self.missing = dict(missing or {})
        self.unused = tuple(unused)
        self.constants = tuple(constants)
        self.note = note

    def apply(self, arrays: Arrays) -> dict[str, np.ndarray]:
        """The candidate's arrays, by path, from the reference's.

        If two parameters of the reference go to the same place, it holds their sum.
        """
        found: dict[str, np.ndarray] = {}
        for entry in self.entries:
            pieces = entry.rule.apply(np.asarray(arrays[entry.reference]))
            for path, piece in zip(entry.candidate, pieces, strict=True):
                found[path] = found[path] + piece if path in found else np.array(piece)
        return found

    def invert(self, arrays: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """The reference's arrays, by name, from the candidate's."""
        found: dict[str, np.ndarray] = {}
        for entry in self.entries:
            back = entry.back([np.asarray(arrays[path]) for path in entry.candidate])
            if entry.reference in found:
                # Two entries of one parameter: each fills the NaNs of the other.
                before = found[entry.reference]
                back = np.where(np.isnan(before), back, before)
            found[entry.reference] = back
        return found

    def rows(self) -> list[tuple[str, str, str]]:
        """Reference name, candidate paths and rule as text, for each entry."""
        return [
            (entry.reference, ", ".join(entry.candidate), entry.rule.description or "as it is")
            for entry in self.entries
        ]

    def __str__(self) -> str:
        """A table of the entries, then the parameters without a counterpart."""
        rows = [("reference", "candidate", "rule"), *self.rows()]
        widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
        lines = [
            f"{name:<{widths[0]}}  {path:<{widths[1]}}  {rule}".rstrip()
            for name, path, rule in rows
        ]
        lines += [f"{name}: {hint}" for name, hint in self.missing.items()]
        lines += [f"{path}: gets nothing from the reference" for path in self.unused]
        lines += [f"{name}: taken as a constant of the port" for name in self.constants]
        return "\n".join([*lines, self.note] if self.note else lines)
