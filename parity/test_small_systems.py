"""The ladder of the study's small systems; in its own file, so that it can run beside the other."""

import pytest

from parity.check import Check, run_check
from parity.faults.planted import Fault, detect
from parity.parametrised import LADDER, checks, faults
from parity.systems.registry import PORTS
from parity.verdicts import explain


@pytest.mark.parametrize("check", checks(small_systems=True))
def test_rung(check: Check) -> None:
    verdict = run_check(check, PORTS[check.candidate])
    assert verdict.status == "PASS", explain(verdict)


@pytest.mark.parametrize("fault", faults(small_systems=True))
def test_planted_fault_is_found_by_its_rung(fault: Fault) -> None:
    detection = detect(fault, LADDER)
    assert detection.as_expected, detection.sentence()
