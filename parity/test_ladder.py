"""The ladder of the photo classifiers, and what holds for the whole ladder."""

import numpy as np
import pytest

from parity.check import RUNGS, Check, run_check
from parity.faults.plain_cnn import PlainCNN
from parity.faults.planted import Fault, detect
from parity.parametrised import FAULTS, LADDER, checks, faults, parameter
from parity.rungs.trajectory import distance_ratios
from parity.systems.registry import CASES, PORTS, SMALL_SYSTEMS
from parity.verdicts import explain

QUICK = [check for check in LADDER if check.quick and check.candidate == "study-cnn"]


@pytest.mark.parametrize("check", checks(small_systems=False))
def test_rung(check: Check) -> None:
    verdict = run_check(check, PORTS[check.candidate])
    if verdict.status == "ABSENT":
        assert check.case == "photos"
        pytest.skip(verdict.message)
    assert verdict.status == "PASS", explain(verdict)


@pytest.mark.parametrize("fault", faults(small_systems=False))
def test_planted_fault_is_found_by_its_rung(fault: Fault) -> None:
    detection = detect(fault, LADDER)
    assert detection.as_expected, detection.sentence()


# A training of this network is long, because XLA's own convolutions are slow in float64.
@pytest.mark.parametrize("check", [parameter(check, check.rung == 9) for check in QUICK])
def test_the_plain_network_without_a_fault_passes(check: Check) -> None:
    verdict = run_check(check, PlainCNN().candidate())
    assert verdict.status == "PASS", explain(verdict)


def test_every_original_has_every_rung_without_the_long_checks() -> None:
    left_out = {(case.name, rung) for case, _ in SMALL_SYSTEMS for rung in case.long}
    ladder = [
        check for check in LADDER if not check.long or (check.candidate, check.rung) in left_out
    ]
    recorded = {name for name, case in CASES.items() if case.recorded_sizes}
    assert {"study-cnn", "study-mlp", "study-mlp-v21"} <= recorded
    of_2018 = {"Keras 2.2.4 on TensorFlow 1.12.0", "PyTorch 1.0.0"}
    for rung in RUNGS:
        found = {c.candidate for c in ladder if c.rung == rung and c.original not in of_2018}
        # The small systems have no photos to load, and no accuracy.
        assert found == set(CASES if rung in (3, 10) else PORTS)
    for rung in (1, 2, 3, 5, 6, 7, 8, 9):
        found = {c.candidate for c in ladder if c.rung == rung and c.original in of_2018}
        assert found & set(CASES) == recorded


def test_every_rung_except_the_last_has_a_planted_fault() -> None:
    assert {fault.rung for fault in FAULTS} == set(RUNGS) - {10}
    assert len(FAULTS) >= 15


@pytest.mark.parametrize(("ours", "ratio"), [(8.0, 1.0), (80.0, 10.0)])
def test_distance_ratio_uses_the_larger_of_original_and_plain_port(
    ours: float, ratio: float
) -> None:
    def trained(distance: float) -> dict[str, np.ndarray]:
        return {"1/params/kernel": np.full(4, distance)}

    runs = [(["kernel"], trained(ours), trained(1.0), trained(0.0))]
    assert distance_ratios(runs, (1,)).worst.error == ours
    assert distance_ratios(runs, (1,), [trained(8.0)]).worst.error == ratio
    assert distance_ratios(runs, (1,), [trained(0.5)]).worst.error == ours
