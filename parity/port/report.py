"""The report of a comparison, as text and as JSON."""

import dataclasses
import functools
import json
import math
from collections.abc import Callable
from typing import Any

from parity.check import RUNGS, Verdict
from parity.comparison import Difference
from parity.port.mapping.mapping import WeightMapping
from parity.verdicts import explain, title

_FLOAT32_ROUNDING = 1e-6


@dataclasses.dataclass(frozen=True)
class Report:
    """The verdicts of all rungs.

    Attributes:
        verdicts: From the lowest rung to the highest.
        mapping: The mapping between the weights.
        notes: Further decisions, such as the precision.
        port: Makes the candidate with the reference's weights.
    """

    verdicts: tuple[Verdict, ...]
    mapping: WeightMapping
    notes: tuple[str, ...]
    port: Callable[[], Any]

    @property
    def passed(self) -> bool:
        """Whether at least one check passed and none failed."""
        found = {verdict.status for verdict in self.verdicts}
        return "PASS" in found and "FAIL" not in found

    @functools.cached_property
    def ported(self) -> Any:
        """The candidate with the reference's weights: a new object of the same kind.

        Raises:
            ValueError: If a parameter of the reference has no place in the candidate.
        """
        return self.port()

    @property
    def first_fault(self) -> str:
        """The first layer, parameter or step that differs; an empty string if none differs."""
        for verdict in self.verdicts:
            if verdict.status == "FAIL":
                return f"{title(verdict.check)}: {_fault(verdict)}"
        return ""

    def to_json(self) -> str:
        """The complete report as JSON."""
        return json.dumps(
            {
                "passed": self.passed,
                "first_fault": self.first_fault,
                "rungs": [_as_dict(verdict) for verdict in self.verdicts],
                "mapping": [
                    {"reference": name, "candidate": path, "rule": rule}
                    for name, path, rule in self.mapping.rows()
                ],
                "missing": self.mapping.missing,
                "unused": list(self.mapping.unused),
                "notes": [*self.notes, *([self.mapping.note] if self.mapping.note else [])],
            },
            indent=2,
        )

    def __str__(self) -> str:
        """A table of the rungs, then the first fault and the notes."""
        head = ("rung", "case", "worst quantity", "error", "bound", "verdict")
        rows = [head, *(_row(verdict) for verdict in self.verdicts)]
        widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]
        lines += [""]
        if self.first_fault:
            lines += [f"first fault: {self.first_fault}"]
        lines += _messages(self.verdicts)
        lines += [*self.notes, *([f"mapping: {self.mapping.note}"] if self.mapping.note else [])]
        return "\n".join([*lines, f"{'PASSED' if self.passed else 'FAILED'}"])


def _messages(verdicts: tuple[Verdict, ...]) -> list[str]:
    """The messages of the checks that did not fail, each message once."""
    titles_by_message: dict[str, list[str]] = {}
    for verdict in verdicts:
        if verdict.message and verdict.status != "FAIL":
            titles_by_message.setdefault(verdict.message, []).append(title(verdict.check))
    return [
        f"{titles[0] if len(titles) == 1 else f'{len(titles)} checks'}: {message}"
        for message, titles in titles_by_message.items()
    ]


def _fault(verdict: Verdict) -> str:
    first = verdict.first
    if first is None or not verdict.compared:
        return explain(verdict)
    found = verdict.comparison.differences
    before = found[: found.index(first)]
    text = f"{first.sentence()}, bound {verdict.check.bound:g}{_context(first, before)}"
    if "float64" in verdict.check.case and verdict.check.bound < first.error < _FLOAT32_ROUNDING:
        text += (
            "; as small as a rounding to float32: a constant is stored or a value is computed in "
            "float32 (as jax.nn.dot_product_attention's softmax is)"
        )
    return text


def _context(first: Difference, before: tuple[Difference, ...]) -> str:
    """Text that locates the first difference by the quantities before it, which agree."""
    names = [difference.quantity for difference in before]
    kind, _, layer = first.quantity.partition(" of ")
    if not layer:
        return ""
    if kind == "input":
        past = [name.partition(" of ")[2] for name in names if name.startswith("output of ")]
        after = f"; the output of {past[-1]} agrees, so the fault is between them" if past else ""
        return after or "; no layer comes before, so the fault is before the first layer"
    return "; its input agrees" if f"input of {layer}" in names else ""


def _row(verdict: Verdict) -> tuple[str, str, str, str, str, str]:
    rung = f"{verdict.check.rung} {RUNGS[verdict.check.rung]}"
    bound = f"{verdict.check.bound:g}"
    if verdict.status == "ABSENT":
        return (rung, verdict.check.case, "–", "–", bound, "does not apply")
    if not verdict.compared:
        return (rung, verdict.check.case, "–", "–", bound, verdict.status)
    worst = verdict.worst
    error = f"{worst.error:.2g}" if math.isfinite(worst.error) else "–"
    return (rung, verdict.check.case, worst.quantity, error, bound, verdict.status)


def _as_dict(verdict: Verdict) -> dict[str, Any]:
    worst = verdict.worst
    compared = verdict.compared
    return {
        "rung": verdict.check.rung,
        "name": RUNGS[verdict.check.rung],
        "case": verdict.check.case,
        "status": verdict.status,
        "bound": verdict.check.bound,
        "because": verdict.check.because,
        "worst": worst.quantity if compared else None,
        "error": worst.error if compared and math.isfinite(worst.error) else None,
        "first_fault": _fault(verdict) if verdict.status == "FAIL" else None,
        "message": verdict.message,
        "seconds": round(verdict.seconds, 3),
    }
