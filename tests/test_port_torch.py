"""A PyTorch network with batch normalization, shortcuts and a flatten, ported to NNX."""

import json

import numpy as np
import torch
from flax import nnx

import parity
from parity.port import Report
from tests import port_resnet as models

RESNET = models.trained_reference()


def _compare(port: nnx.Module, **options: object) -> Report:
    return parity.compare(port, RESNET, models.batch(), **options)  # type: ignore[arg-type]


def _statuses(report: Report) -> dict[str, str]:
    return {f"{v.check.rung} {v.check.case}": v.status for v in report.verdicts}


def test_a_correct_port_passes_every_rung_and_receives_the_weights() -> None:
    port = models.ResNet(nnx.Rngs(0))
    report = _compare(port)
    assert report.passed, str(report)
    assert _statuses(report) == {
        "1 ": "PASS",
        "4 ": "PASS",
        "5 evaluation, float64": "PASS",
        "5 evaluation, float32": "PASS",
        "5 training, float64": "PASS",
        "7 training, float64": "PASS",
        "9 training, float64": "PASS",
    }
    rules = {name: (path, words) for name, path, words in report.mapping.rows()}
    path, words = rules["fc.weight"]
    assert path == "head.kernel"
    assert words.endswith("rows reordered: flatten of 8×4×3, channels first")
    # The port runs its shortcut first, so order alone would confuse two normalizations.
    assert rules["layer1.1.bn2.weight"][0] == "blocks.1.bn2.scale"
    assert rules["layer1.1.downsample.1.weight"][0] == "blocks.1.shortcut.layers.1.scale"
    ported = report.ported
    ported.eval()
    logits = ported(np.moveaxis(models.batch(), 1, -1))
    with torch.no_grad():
        expected = RESNET.eval()(torch.from_numpy(models.batch()))
    # Float32 on values around 1; measured 3e-7.
    np.testing.assert_allclose(logits, expected, atol=1e-5)
    assert json.loads(report.to_json())["passed"] is True
    assert "PASSED" in str(report)


def test_a_wrong_epsilon_is_found_in_the_first_normalization() -> None:
    report = _compare(models.ResNet(nnx.Rngs(0), epsilon=1e-3), rungs=["forward"])
    assert not report.passed
    assert report.first_fault.startswith("rung 5, forward, evaluation, float64: output of bn1["), (
        report.first_fault
    )
    assert "max abs" in report.first_fault
    assert "max rel" in report.first_fault
    assert "its input agrees" in report.first_fault
    assert json.loads(report.to_json())["passed"] is False


def test_a_wrong_momentum_is_found_only_in_the_running_statistics() -> None:
    report = _compare(models.ResNet(nnx.Rngs(0), momentum=0.99), rungs=[1, 5])
    statuses = _statuses(report)
    assert statuses.pop("5 training, float64") == "FAIL"
    assert set(statuses.values()) == {"PASS"}
    assert "updated bn1.running_mean[" in report.first_fault


def test_flaxs_own_normalization_averages_the_biased_variance() -> None:
    port = models.ResNet(nnx.Rngs(0))
    port.stem_norm = nnx.BatchNorm(  # type: ignore[assignment]
        6, momentum=0.9, epsilon=1e-5, rngs=nnx.Rngs(0)
    )
    report = _compare(port, rungs=["forward"])
    assert "training, float64: updated bn1.running_var[" in report.first_fault
