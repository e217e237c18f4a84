import numpy as np
import pytest

from parity.check import RUNGS, Check, judge
from parity.faults.plain_cnn import PlainCNN
from parity.faults.planted import Fault, find, planted
from parity.rungs import ladder
from parity.rungs.trajectory import no_farther
from parity.systems.registry import CASES
from parity.verdicts import explain

LADDER = ladder.checks(ladder.originals())
FAULTS = list(planted())
QUICK = [check for check in LADDER if check.quick and check.candidate == "study-cnn"]


@pytest.mark.parametrize("check", LADDER, ids=lambda check: check.title)
def test_rung(check: Check) -> None:
    verdict = judge(check, CASES[check.candidate].port)
    if verdict.status == "ABSENT":
        assert check.case == "photos"
        pytest.skip(verdict.message)
    assert verdict.status == "PASS", explain(verdict)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_planted_fault_is_found_by_its_rung(fault: Fault) -> None:
    caught = find(fault, LADDER)
    assert caught.as_expected, caught.sentence()


@pytest.mark.parametrize("check", QUICK, ids=lambda check: check.title)
def test_faults_are_planted_in_a_faultless_network(check: Check) -> None:
    verdict = judge(check, PlainCNN().candidate())
    assert verdict.status == "PASS", explain(verdict)


def test_every_rung_is_there_for_every_original() -> None:
    today = {"study-cnn", "study-mlp", "study-mlp-v21"}
    of_2018 = {"Keras 2.2.4 on TensorFlow 1.12.0", "PyTorch 1.0.0"}
    for rung in RUNGS:
        found = {c.candidate for c in LADDER if c.rung == rung and c.original not in of_2018}
        assert found == today
    for rung in (1, 2, 3, 5, 6, 7, 8, 9):
        found = {c.candidate for c in LADDER if c.rung == rung and c.original in of_2018}
        assert found == today


def test_a_fault_is_planted_for_every_rung_but_the_last() -> None:
    assert {fault.rung for fault in FAULTS} == set(RUNGS) - {10}
    assert len(FAULTS) >= 15


@pytest.mark.parametrize(("ours", "ratio"), [(8.0, 1.0), (80.0, 10.0)])
def test_the_farther_of_original_and_plain_port_is_the_measure(ours: float, ratio: float) -> None:
    def trained(distance: float) -> dict[str, np.ndarray]:
        return {"1/params/kernel": np.full(4, distance)}

    runs = [(["kernel"], trained(ours), trained(1.0), trained(0.0))]
    assert no_farther(runs, (1,)).worst.error == ours
    assert no_farther(runs, (1,), [trained(8.0)]).worst.error == ratio
    assert no_farther(runs, (1,), [trained(0.5)]).worst.error == ours
