"""The ladder's checks and its planted faults as parameters of tests.

Those that take long, or repeat what another proves, have the marker `long`.
"""

from typing import Any

import pytest

from chifoumi_jax.systems.system import System
from parity.check import Check
from parity.faults.planted import Fault, planted_faults
from parity.rungs import ladder
from parity.systems.registry import PORTS, SMALL_SYSTEMS

LADDER = ladder.checks(ladder.originals())
FAULTS = list(planted_faults())
_LONG = {case.name: case.long for case, _ in SMALL_SYSTEMS}


def is_small_system(candidate: str) -> bool:
    """Whether a port is one of a small system."""
    return isinstance(PORTS[candidate], System)


def _kind(candidate: str) -> str:
    """A photo classifier's name, or the framework of a small system's original."""
    port = PORTS[candidate]
    return port.framework if isinstance(port, System) else candidate


def _cost(fault: Fault) -> tuple[int, int]:
    """How long a fault of a small system takes, compared with others."""
    port = PORTS[fault.candidate]
    return (len(_LONG[fault.candidate]), port.params) if isinstance(port, System) else (0, 0)


def _is_further(check: Check) -> bool:
    """Whether it is about a small system's further variant, which shares its code with the first.

    Its size is compared in any case.
    """
    port = PORTS[check.candidate]
    return isinstance(port, System) and port.variant != port.variants[0] and check.rung > 1


# One fault of each rung and photo classifier, and of each rung and small system's framework, there
# in the smallest system; together the others take long.
_CHOSEN: dict[tuple[int, str], Fault] = {}
for _fault in sorted(FAULTS, key=_cost):
    _CHOSEN.setdefault((_fault.rung, _kind(_fault.candidate)), _fault)


def parameter(check: Check, long: bool) -> Any:
    """A check, named by its title."""
    return pytest.param(check, id=check.title, marks=pytest.mark.long if long else ())


def checks(*, small_systems: bool) -> list[Any]:
    """All checks of the small systems, or all of the photo classifiers."""
    return [
        parameter(check, check.long or _is_further(check))
        for check in LADDER
        if is_small_system(check.candidate) == small_systems
    ]


def faults(*, small_systems: bool) -> list[Any]:
    """All faults that are planted in the small systems, or in the photo classifiers."""
    return [
        pytest.param(
            fault, id=fault.name, marks=() if fault in _CHOSEN.values() else pytest.mark.long
        )
        for fault in FAULTS
        if is_small_system(fault.candidate) == small_systems
    ]
