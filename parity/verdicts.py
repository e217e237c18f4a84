"""Verdicts as text, for the reports of the ladder and of `parity.compare`."""

import math

from parity.check import RUNGS, Check, Verdict


def title(check: Check) -> str:
    """The rung's number and name, and the case if there is one."""
    case = f", {check.case}" if check.case else ""
    return f"rung {check.rung}, {RUNGS[check.rung]}{case}"


def explain(verdict: Verdict) -> str:
    """The first quantity beyond the bound, or why nothing was compared."""
    if verdict.compared and verdict.first is not None:
        return verdict.first.sentence()
    return verdict.message or "nothing was compared"


def short_number(value: float) -> str:
    """A number with two or three digits, for a table."""
    if value == 0:
        return "0"
    return f"{value:.1e}" if not 1e-2 <= value < 1e4 else f"{value:.3g}"


def json_number(value: float) -> float | str:
    """A number for JSON; infinity becomes the string "inf", because JSON has no infinity."""
    return value if math.isfinite(value) else "inf"
