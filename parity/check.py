"""A check of the ladder, and its verdict."""

import dataclasses
import time
from collections.abc import Callable
from typing import Any, Literal

from parity.comparison import Comparison, Difference

RUNGS = {
    1: "structure",
    2: "initialisation",
    3: "pixels",
    4: "weights",
    5: "forward",
    6: "loss",
    7: "gradients",
    8: "optimiser",
    9: "trajectory",
    10: "accuracy",
}

Status = Literal["PASS", "FAIL", "ABSENT"]


class AbsentError(Exception):
    """What a check needs was not given; the message says what and how to give it."""


@dataclasses.dataclass(frozen=True)
class Check:
    """One comparison of a port with an original.

    Attributes:
        rung: Its number in `RUNGS`.
        candidate: Name of the port.
        original: Name of the original.
        case: What it is done on, such as "float64, 64 px, dropout".
        bound: The largest error that passes.
        because: Where the bound comes from.
        run: Compares a port with the original.
        quick: Whether planted faults are looked for with it.
    """

    rung: int
    candidate: str
    original: str
    case: str
    bound: float
    because: str
    run: Callable[[Any], Comparison]
    quick: bool = False

    @property
    def title(self) -> str:
        """Rung, port, original and case in a line."""
        return f"{RUNGS[self.rung]}: {self.candidate}, {self.original}, {self.case}"


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What a check found.

    Attributes:
        check: The check.
        status: PASS, FAIL, or ABSENT where something optional was not given.
        worst: The quantity with the largest error.
        first: The first quantity beyond the bound, if any.
        comparison: All that was compared.
        message: Why there is no comparison, or a note.
        seconds: How long it took.
    """

    check: Check
    status: Status
    worst: Difference
    first: Difference | None
    comparison: Comparison
    message: str
    seconds: float

    @property
    def compared(self) -> bool:
        """Whether anything was compared."""
        return bool(self.comparison.differences)


def judge(check: Check, candidate: Any) -> Verdict:
    """Run a check. Whatever keeps it from comparing, other than `AbsentError`, is a failure."""
    start = time.monotonic()

    def verdict(status: Status, comparison: Comparison, message: str) -> Verdict:
        first = comparison.first_beyond(check.bound)
        seconds = time.monotonic() - start
        return Verdict(check, status, comparison.worst, first, comparison, message, seconds)

    try:
        comparison = check.run(candidate)
    except AbsentError as absent:
        return verdict("ABSENT", Comparison(()), str(absent))
    except Exception as error:  # noqa: BLE001 - a rung that cannot run has failed, whatever it is
        return verdict("FAIL", Comparison(()), f"{type(error).__name__}: {error}")
    status: Status = "FAIL" if comparison.first_beyond(check.bound) else "PASS"
    return verdict(status, comparison, comparison.note)
