"""The bounds of the rungs, and where they come from."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from parity.check import RUNGS


@dataclasses.dataclass(frozen=True)
class Bound:
    """A largest error that passes, and its reason."""

    value: float
    because: str


_FLOAT64 = (
    "relative to the largest entry; rounding in float64 was measured at 1e-15 to 1e-12, and a "
    "constant rounded to float32, the smallest fault there is, is 1e-8"
)
_FLOAT32 = "relative to the largest entry; rounding in float32 was measured at 1e-7 to 1e-5"
_BOUNDS = {
    ("structure", ""): Bound(0.0, "a parameter has a place or it has none"),
    ("weights", ""): Bound(0.0, "weights are copied, never computed with"),
    ("forward", "float64"): Bound(1e-10, _FLOAT64),
    ("forward", "float32"): Bound(1e-4, _FLOAT32),
    ("gradients", "float64"): Bound(1e-10, _FLOAT64),
    ("gradients", "float32"): Bound(1e-3, _FLOAT32),
    ("trajectory", "float64"): Bound(1e-9, _FLOAT64.replace("the largest entry", "the way gone")),
    ("trajectory", "float32"): Bound(1e-2, _FLOAT32.replace("the largest entry", "the way gone")),
}
NUMBERS = {name: number for number, name in RUNGS.items()}
#: The rungs that there are for any port. The others compare what is not in a model.
APPLY = ("structure", "weights", "forward", "gradients", "trajectory")


def bound_of(rung: str, dtype: str, given: Mapping[Any, float] | None) -> Bound:
    """The rung's bound, or the user's.

    Args:
        rung: Its name.
        dtype: "float64", "float32", or "" where nothing is computed.
        given: By the rung's name or number, or by (name, dtype).
    """
    for key in ((rung, dtype), rung, NUMBERS[rung]):
        if given is not None and key in given:
            return Bound(float(given[key]), "given to compare")
    return _BOUNDS[rung, dtype]


def check_bounds(given: Mapping[Any, float] | None) -> None:
    """Refuse a bound that nothing would read, and one that everything would pass.

    Raises:
        ValueError: For a key that is no rung's, and for a value that is not finite.
    """
    known = {*APPLY, *(NUMBERS[name] for name in APPLY), *_BOUNDS}
    for key, value in (given or {}).items():
        if key not in known:
            raise ValueError(f"bounds has {key!r}: use one of {', '.join(APPLY)}")
        if not 0 <= float(value) < math.inf:
            raise ValueError(f"bounds has {value} for {key!r}: a bound is finite, and not negative")


def rung_names(given: Any) -> tuple[str, ...]:
    """The names of the rungs that were asked for, all if None.

    Raises:
        ValueError: For a rung that there is not.
    """
    if given is None:
        return APPLY
    given = [given] if isinstance(given, (str, int)) else given
    names = [RUNGS.get(rung, str(rung)) if isinstance(rung, int) else str(rung) for rung in given]
    for name in names:
        if name not in APPLY:
            known = ", ".join(f"{NUMBERS[n]} {n}" for n in APPLY)
            raise ValueError(f"there is no rung {name!r} for a port: use {known}")
    return tuple(name for name in APPLY if name in names)
