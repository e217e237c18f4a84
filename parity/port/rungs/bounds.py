"""The bounds of the rungs, and the reasons for them."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from parity.check import RUNGS


@dataclasses.dataclass(frozen=True)
class Bound:
    """The largest error that passes, and the reason for it."""

    value: float
    because: str


_FLOAT64 = (
    "relative to the largest entry; rounding in float64 was measured at 1e-15 to 1e-12, and the "
    "smallest possible fault, a constant rounded to float32, gives 1e-8"
)
_FLOAT32 = "relative to the largest entry; rounding in float32 was measured at 1e-7 to 1e-5"
_BOUNDS = {
    ("structure", ""): Bound(0.0, "a parameter either has a place or has none"),
    ("weights", ""): Bound(0.0, "weights are copied, never computed with"),
    ("forward", "float64"): Bound(1e-10, _FLOAT64),
    ("forward", "float32"): Bound(1e-4, _FLOAT32),
    ("gradients", "float64"): Bound(1e-10, _FLOAT64),
    ("gradients", "float32"): Bound(1e-3, _FLOAT32),
    ("trajectory", "float64"): Bound(1e-9, _FLOAT64.replace("the largest entry", "the movement")),
    ("trajectory", "float32"): Bound(1e-2, _FLOAT32.replace("the largest entry", "the movement")),
}
RUNG_NUMBERS = {name: number for number, name in RUNGS.items()}
#: The rungs of `parity.compare`. The others compare parts of training that are not in a model.
PORT_RUNGS = ("structure", "weights", "forward", "gradients", "trajectory")


def bound_of(rung: str, dtype: str, given: Mapping[Any, float] | None) -> Bound:
    """The user's bound for a rung, or else the default.

    Args:
        rung: The rung's name.
        dtype: "float64", "float32", or "" for rungs that compute nothing.
        given: The user's bounds, by the rung's name or number, or by (name, dtype).
    """
    for key in ((rung, dtype), rung, RUNG_NUMBERS[rung]):
        if given is not None and key in given:
            return Bound(float(given[key]), "given by the user as bounds=")
    return _BOUNDS[rung, dtype]


def check_bounds(given: Mapping[Any, float] | None) -> None:
    """Check that every bound belongs to a rung and can fail.

    Raises:
        ValueError: If a key is not that of a rung, or if a value is negative or not finite.
    """
    known = {*PORT_RUNGS, *(RUNG_NUMBERS[name] for name in PORT_RUNGS), *_BOUNDS}
    for key, value in (given or {}).items():
        if key not in known:
            raise ValueError(f"bounds has {key!r}: use one of {', '.join(PORT_RUNGS)}")
        if not 0 <= float(value) < math.inf:
            raise ValueError(f"bounds has {value} for {key!r}: use a finite number from 0 on")


def rung_names(given: Any) -> tuple[str, ...]:
    """The names of the selected rungs, all if None.

    Raises:
        ValueError: If a rung does not exist.
    """
    if given is None:
        return PORT_RUNGS
    given = [given] if isinstance(given, (str, int)) else given
    names = [RUNGS.get(rung, str(rung)) if isinstance(rung, int) else str(rung) for rung in given]
    for name in names:
        if name not in PORT_RUNGS:
            known = ", ".join(f"{RUNG_NUMBERS[n]} {n}" for n in PORT_RUNGS)
            raise ValueError(f"there is no rung {name!r} for a port: use {known}")
    return tuple(name for name in PORT_RUNGS if name in names)
