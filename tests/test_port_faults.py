"""Cases that no comparison may pass: unmatched parameters, wrong shapes, NaN, broken ports."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import linen, nnx

import parity
from parity.port import Report

BATCH = np.random.default_rng(0).standard_normal((3, 4)).astype("float32")


def _linear(params: Any, x: jax.Array) -> jax.Array:
    return x @ params["w"] + params["b"]


LINEAR = _linear, {"w": jnp.zeros((4, 5)), "b": jnp.zeros(5)}


def _reference() -> torch.nn.Sequential:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.Tanh(), torch.nn.Linear(5, 2))


class Port(nnx.Module):
    def __init__(self, hidden: int = 5, **extra: Any) -> None:
        rngs = nnx.Rngs(0)
        self.first = nnx.Linear(4, hidden, rngs=rngs)
        self.second = nnx.Linear(hidden, 2, rngs=rngs)
        for name, value in extra.items():
            setattr(self, name, value)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.second(jnp.tanh(self.first(x)))


def _statuses(report: Report) -> set[str]:
    return {v.status for v in report.verdicts if v.check.rung > 1}


def test_an_unmatched_parameter_of_the_port_fails() -> None:
    report = parity.compare(Port(gain=nnx.Param(jnp.ones(3))), _reference(), BATCH)
    assert not report.passed
    assert report.first_fault.startswith("rung 1, structure: gain: no parameter of the reference")
    assert report.mapping.unused == ("gain",)


def test_an_unmatched_layer_of_the_reference_fails() -> None:
    reference = _reference().append(torch.nn.Linear(2, 2))
    report = parity.compare(Port(), reference, BATCH)
    assert report.first_fault.startswith("rung 1, structure: 3.weight: ")
    # The other rungs cannot be compared; they must report this instead of passing.
    assert _statuses(report) == {"ABSENT"}
    assert "no place in the candidate for 3.weight, 3.bias" in str(report)
    with pytest.raises(ValueError, match=r"3\.weight has no place in the candidate"):
        _ = report.ported


def test_a_wrong_shape_is_reported_with_both_shapes() -> None:
    report = parity.compare(Port(hidden=6), _reference(), BATCH, rungs=[1])
    assert "0.weight: shape (5, 4)" in report.first_fault
    assert "first.kernel, has shape (4, 6)" in report.first_fault


def test_nan_on_both_sides_fails() -> None:
    reference = _reference()
    with torch.no_grad():
        next(reference.parameters())[1, 2] = torch.nan
    report = parity.compare(Port(), reference, BATCH)
    assert not report.passed
    assert _statuses(report) == {"FAIL"}
    assert "rung 4, weights: 0.weight: candidate has nan at [1, 2]" in report.first_fault


def test_a_port_that_does_not_run_fails_with_its_error_message() -> None:
    def broken(params: Any, x: jax.Array) -> jax.Array:
        return x @ params["second"]["kernel"]

    params = {
        "first": {"kernel": jnp.zeros((4, 5)), "bias": jnp.zeros(5)},
        "second": {"kernel": jnp.zeros((5, 2)), "bias": jnp.zeros(2)},
    }
    report = parity.compare((broken, params), _reference(), BATCH)
    assert _statuses(report) == {"FAIL", "PASS"}
    assert "TypeError: dot_general" in report.first_fault


def test_another_output_structure_fails_with_the_remedy() -> None:
    def two(params: Any, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        y = x @ params["w"] + params["b"]
        return y, y

    port = two, {"w": jnp.zeros((4, 5)), "b": jnp.zeros(5)}
    report = parity.compare(port, torch.nn.Linear(4, 5), BATCH, rungs=[5, 7])
    assert "the candidate returns output[0], output[1], the reference output" in report.first_fault
    report = parity.compare(
        port, torch.nn.Linear(4, 5), BATCH, rungs=[5, 7], to_reference=lambda both: both[0]
    )
    assert report.passed, str(report)


def test_a_float32_constant_is_reported_as_a_float32_rounding() -> None:
    third = np.float32(1 / 3)

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = torch.nn.Linear(4, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y: torch.Tensor = self.linear(x) / 3
            return y

    class Scaled(nnx.Module):
        def __init__(self) -> None:
            self.linear = nnx.Linear(4, 5, rngs=nnx.Rngs(0))

        def __call__(self, x: jax.Array) -> jax.Array:
            return self.linear(x) * third

    report = parity.compare(Scaled(), Model(), BATCH, rungs=[5])
    assert "output[" in report.first_fault
    assert "as small as a rounding to float32" in report.first_fault
    assert {v.status for v in report.verdicts if "float32" in v.check.case} == {"PASS"}


def test_a_float32_port_is_compared_in_float32_and_the_report_says_so() -> None:
    def single(params: Any, x: jax.Array) -> jax.Array:
        return (x @ params["w"] + params["b"]).astype(jnp.float32)

    port = single, {"w": jnp.zeros((5, 4)).T, "b": jnp.zeros(5)}
    report = parity.compare(port, torch.nn.Linear(4, 5), BATCH)
    assert not report.passed
    assert "a fault of 1e-4 would pass" in report.first_fault
    assert "compared in float32: given float64, the candidate returns float32" in str(report)
    accepted = {"forward": 1e-5, "gradients": 1e-4, "trajectory": 1e-3}
    assert parity.compare(port, torch.nn.Linear(4, 5), BATCH, bounds=accepted).passed


def test_training_mode_is_compared_without_running_statistics_too() -> None:
    class Original(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = torch.nn.Linear(4, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.linear(x)
            return torch.relu(x) if self.training else x

    def with_mode(params: Any, x: jax.Array, train: bool) -> jax.Array:
        x = _linear(params, x)
        return jax.nn.relu(x) if train else x

    assert "training" in parity.compare(LINEAR, Original(), BATCH).first_fault
    report = parity.compare((with_mode, LINEAR[1]), Original(), BATCH)
    assert report.passed, str(report)
    same = parity.compare(LINEAR, torch.nn.Linear(4, 5), BATCH)
    assert same.passed, str(same)
    other = parity.compare((with_mode, LINEAR[1]), torch.nn.Linear(4, 5), BATCH)
    assert "training" in other.first_fault


def test_comparing_nothing_does_not_pass() -> None:
    linear = torch.nn.Linear(4, 5)
    with pytest.raises(ValueError, match="without entries"):
        parity.compare(LINEAR, linear, BATCH[:0])
    constant = (lambda out: out.sum() * 0, lambda out: out.sum() * 0)
    report = parity.compare(LINEAR, linear, BATCH, loss=constant)
    failed = [v.check.rung for v in report.verdicts if v.status == "FAIL"]
    assert failed == [7, 9]


def test_integer_outputs_have_no_gradients_to_compare() -> None:
    class Labels(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = torch.nn.Linear(4, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.linear(x).argmax(1)

    def port(params: Any, x: jax.Array) -> jax.Array:
        return _linear(params, x).argmax(1)

    report = parity.compare((port, LINEAR[1]), Labels(), BATCH)
    assert report.passed, str(report)
    assert {v.check.rung for v in report.verdicts if v.status == "ABSENT"} == {7, 9}


@pytest.mark.parametrize("bounds", [{"foward": 1.0}, {"forward": float("inf")}, {8: 1.0}])
def test_unknown_or_infinite_bounds_are_refused(bounds: dict[Any, float]) -> None:
    with pytest.raises(ValueError, match="bounds has"):
        parity.compare(Port(), _reference(), BATCH, bounds=bounds)


def test_selected_rungs_and_given_bounds_are_used() -> None:
    report = parity.compare(
        Port(), _reference(), BATCH, rungs=["forward"], bounds={5: 0.0}, train=False
    )
    assert {v.check.rung for v in report.verdicts} == {5}
    assert {v.check.bound for v in report.verdicts} == {0.0}
    assert not report.passed
    loose = {("forward", "float32"): 1e-3, "forward": 1e-9}
    report = parity.compare(Port(), _reference(), BATCH, rungs=["forward"], bounds=loose)
    assert {v.check.bound for v in report.verdicts} == {1e-3, 1e-9}


def test_without_training_no_gradients_are_compared() -> None:
    report = parity.compare(Port(), _reference(), BATCH, train=False)
    assert report.passed
    absent = {v.check.rung: v.message for v in report.verdicts if v.status == "ABSENT"}
    assert absent == dict.fromkeys((5, 7, 9), "train=False was given")


def test_a_given_loss_is_differentiated() -> None:
    losses = (lambda y: jnp.mean(y**2), lambda y: (y**2).mean())
    assert parity.compare(Port(), _reference(), BATCH, rungs=[7, 9], loss=losses).passed
    wrong = (lambda y: jnp.sum(y**2), losses[1])
    report = parity.compare(Port(), _reference(), BATCH, rungs=[7], loss=wrong)
    assert "rung 7, gradients, training, float64: objective" in report.first_fault


def test_maximum_instead_of_relu_fails_only_the_gradients() -> None:
    def port(params: Any, x: jax.Array) -> jax.Array:
        return jnp.maximum(x @ params["w"], 0)

    reference = torch.nn.Sequential(torch.nn.Linear(4, 5, bias=False), torch.nn.ReLU())
    tied = BATCH * np.array([[1], [0], [1]], "float32")
    report = parity.compare((port, {"w": jnp.zeros((4, 5))}), reference, tied)
    assert {v.check.rung for v in report.verdicts if v.status == "FAIL"} == {7}
    assert "rung 7, gradients, evaluation, float64: input[1, " in report.first_fault


class Activated(nnx.Module):
    """A linear layer with its activation, in one module of the user's own."""

    def __init__(self, inputs: int, outputs: int, power: int = 1) -> None:
        self.kernel = nnx.Param(jnp.zeros((inputs, outputs)))
        self.bias = nnx.Param(jnp.zeros(outputs))
        self.power = power

    def __call__(self, x: jax.Array) -> jax.Array:
        return jnp.tanh(x @ self.kernel[...] + self.bias[...]) ** self.power


@pytest.mark.parametrize("power", [1, 2])
def test_a_module_that_computes_more_than_its_layer_fails_only_if_the_next_input_differs(
    power: int,
) -> None:
    class Network(nnx.Module):
        def __init__(self) -> None:
            self.first = Activated(4, 5, power)
            self.second = nnx.Linear(5, 2, rngs=nnx.Rngs(0))

        def __call__(self, x: jax.Array) -> jax.Array:
            return self.second(self.first(x))

    report = parity.compare(Network(), _reference(), BATCH, rungs=[1, 5])
    assert report.passed is (power == 1), str(report)
    if power == 1:
        assert "of another form in the port: 0" in str(report)
    else:
        assert "float64: output of 0[" in report.first_fault


def test_an_input_that_only_one_side_scales_differs_before_the_first_layer() -> None:
    class Scaling(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = torch.nn.Linear(4, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y: torch.Tensor = self.linear(x / 255)
            return y

    class Plain(nnx.Module):
        def __init__(self) -> None:
            self.linear = nnx.Linear(4, 5, rngs=nnx.Rngs(0))

        def __call__(self, x: jax.Array) -> jax.Array:
            return self.linear(x)

    report = parity.compare(Plain(), Scaling(), BATCH, rungs=[5])
    assert "input of linear[" in report.first_fault
    assert "no layer comes before" in report.first_fault


def test_unsupported_arguments_are_refused() -> None:
    with pytest.raises(TypeError, match=r"give \(module, variables\)"):
        parity.compare(linen.Dense(5), torch.nn.Linear(4, 5), BATCH)
    with pytest.raises(TypeError, match="candidate is a int"):
        parity.compare(3, torch.nn.Linear(4, 5), BATCH)
    with pytest.raises(TypeError, match="reference is a int"):
        parity.compare(Port(), 3, BATCH)
    with pytest.raises(ValueError, match="no rung 'pixels' for a port"):
        parity.compare(Port(), _reference(), BATCH, rungs=[3])
