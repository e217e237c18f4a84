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
    """An optional input of a check was not given; the message names it and how to give it."""


@dataclasses.dataclass(frozen=True)
class Check:
    """One comparison of a port with an original.

    Attributes:
        rung: Its number in `RUNGS`.
        candidate: Name of the port.
        original: Name of the original.
        case: The conditions, such as "float64, 64 px, dropout".
        bound: The largest error that passes.
        because: Where the bound comes from.
        run: Compares a port with the original.
        quick: Whether the check is also run on ports with planted faults.
        long: Whether the check takes so long that `make test` leaves it out. `python -m parity` and
            `pytest parity` make it.
    """

    rung: int
    candidate: str
    original: str
    case: str
    bound: float
    because: str
    run: Callable[[Any], Comparison]
    quick: bool = False
    long: bool = False

    @property
    def title(self) -> str:
        """Rung, port, original and case on one line."""
        return f"{RUNGS[self.rung]}: {self.candidate}, {self.original}, {self.case}"


class HasChecks:
    """What both kinds of originals have: a name, a case, and checks that carry them."""

    name: str
    case: Any

    def check(
        self,
        rung: int,
        case: str,
        *,
        bound: float,
        because: str,
        run: Callable[[Any], Comparison],
        quick: bool = False,
        long: bool = False,
    ) -> Check:
        """A check of this original's port; see `Check`."""
        return Check(rung, self.case.name, self.name, case, bound, because, run, quick, long)


@dataclasses.dataclass(frozen=True)
class Verdict:
    """The result of a check.

    Attributes:
        check: The check.
        status: PASS, FAIL, or ABSENT if an optional input was not given.
        worst: The quantity with the largest error.
        first: The first quantity beyond the bound, if any.
        comparison: All quantities that were compared.
        message: Why nothing was compared, or a note.
        seconds: Duration in seconds.
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


def run_check(check: Check, candidate: Any) -> Verdict:
    """Run a check. Any exception other than `AbsentError` counts as a failure."""
    start = time.monotonic()

    def verdict(status: Status, comparison: Comparison, message: str) -> Verdict:
        first = comparison.first_beyond(check.bound)
        seconds = time.monotonic() - start
        return Verdict(check, status, comparison.worst, first, comparison, message, seconds)

    try:
        comparison = check.run(candidate)
    except AbsentError as absent:
        return verdict("ABSENT", Comparison(()), str(absent))
    except Exception as error:  # noqa: BLE001 - a check that cannot run has failed, whatever raised
        return verdict("FAIL", Comparison(()), f"{type(error).__name__}: {error}")
    status: Status = "FAIL" if comparison.first_beyond(check.bound) else "PASS"
    return verdict(status, comparison, comparison.note)
