"""Recurrent layers of PyTorch and Keras, ported to the user's own cells and to Flax's."""

from typing import Any

import jax
import keras
import numpy as np
import pytest
import torch
from flax import linen, nnx

import parity
from parity.port import Report
from tests import port_gru, port_lstm

SEQUENCES = np.random.default_rng(0).standard_normal((2, 6, 4)).astype("float32")


def _rules(report: Report) -> dict[str, str]:
    return {path: rule for _, path, rule in report.mapping.rows()}


def test_torch_gru_passes_every_rung() -> None:
    report = parity.compare(port_gru.Tagger(nnx.Rngs(0)), port_gru.reference(), port_gru.batch())
    assert report.passed, str(report)
    assert {v.status for v in report.verdicts} == {"PASS"}


def test_a_reset_gate_before_the_product_is_found_in_the_gru() -> None:
    port = port_gru.Tagger(nnx.Rngs(0), reset_first=True)
    report = parity.compare(port, port_gru.reference(), port_gru.batch())
    assert "evaluation, float64: output of gru[" in report.first_fault
    assert "its input agrees" in report.first_fault
    failed = {v.check.rung for v in report.verdicts if v.status == "FAIL"}
    assert failed == {5, 7, 9}


def test_keras_lstm_passes_every_rung_in_linen() -> None:
    report = parity.compare(port_lstm.linen_port(), port_lstm.reference(), port_lstm.batch())
    assert report.passed, str(report)
    module, variables = report.ported
    np.testing.assert_allclose(
        module.apply(variables, port_lstm.batch()),
        port_lstm.reference()(port_lstm.batch()),
        # Float32 on values below 1; measured 2e-7.
        atol=1e-5,
    )


def test_a_forget_gate_offset_is_found_in_the_lstm() -> None:
    report = parity.compare(
        port_lstm.linen_port(forget=1.0), port_lstm.reference(), port_lstm.batch(), rungs=[1, 5]
    )
    assert "evaluation, float64: output of lstm[" in report.first_fault


def test_keras_lstm_passes_every_rung_as_a_function() -> None:
    port = port_lstm.function, port_lstm.params()
    report = parity.compare(port, port_lstm.reference(), port_lstm.batch())
    assert report.passed, str(report)
    assert "not seen layer by layer: lstm, dense" in str(report)


def test_swapped_gates_are_found_in_the_outputs() -> None:
    port = port_lstm.function_with_gates_swapped, port_lstm.params()
    report = parity.compare(port, port_lstm.reference(), port_lstm.batch(), rungs=["forward"])
    assert "evaluation, float64: output[" in report.first_fault


class Sequences(nnx.Module):
    def __init__(self, cell: Any) -> None:
        self.rnn = nnx.RNN(cell)

    def __call__(self, x: jax.Array) -> jax.Array:
        states: jax.Array = self.rnn(x)
        return states


def test_the_gates_of_a_keras_gru_are_reordered() -> None:
    model = keras.Sequential([keras.Input((6, 4)), keras.layers.GRU(5, return_sequences=True)])
    report = parity.compare(
        Sequences(port_gru.Cell(4, 5, nnx.Rngs(0))), model, SEQUENCES, rungs=[1, 4, 5, 7]
    )
    assert report.passed, str(report)
    assert _rules(report)["rnn.cell.dense_h.bias"] == "row 1; gates rzn ← zrn"


def test_keras_gru_with_reset_before_the_product_differs_from_flaxs() -> None:
    layer = keras.layers.GRU(5, return_sequences=True, reset_after=False, name="gru")
    model = keras.Sequential([keras.Input((6, 4)), layer])
    port = Sequences(nnx.GRUCell(4, 5, rngs=nnx.Rngs(0)))
    report = parity.compare(port, model, SEQUENCES, rungs=[1, 5])
    assert "output of gru[" in report.first_fault


@pytest.mark.parametrize("cell", [nnx.LSTMCell, nnx.OptimizedLSTMCell])
def test_two_biases_merged_into_one_fail_although_the_outputs_agree(cell: Any) -> None:
    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = torch.nn.LSTM(4, 5, batch_first=True)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            states: torch.Tensor = self.lstm(x)[0]
            return states

    report = parity.compare(
        Sequences(cell(4, 5, rngs=nnx.Rngs(0))), Model(), SEQUENCES, rungs=[1, 5]
    )
    statuses = {v.check.rung: v.status for v in report.verdicts if v.status != "ABSENT"}
    assert statuses == {1: "FAIL", 5: "PASS"}
    assert "lstm.bias_ih_l0: it and lstm.bias_hh_l0 are one in the candidate" in report.first_fault


def test_linen_gru_cell_with_one_array_per_gate() -> None:
    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gru = torch.nn.GRU(4, 5, batch_first=True)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            states: torch.Tensor = self.gru(x)[0]
            return states

    module = linen.RNN(linen.GRUCell(5))
    port = module, module.init(jax.random.key(0), SEQUENCES)
    report = parity.compare(port, Model(), SEQUENCES, rungs=[5])
    assert report.passed, str(report)


def test_stacked_bidirectional_layers() -> None:
    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = torch.nn.LSTM(4, 5, 2, batch_first=True, bidirectional=True)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            states: torch.Tensor = self.lstm(x)[0]
            return states

    class Port(nnx.Module):
        def __init__(self, rngs: nnx.Rngs) -> None:
            def direction(inputs: int) -> nnx.RNN:
                return nnx.RNN(nnx.OptimizedLSTMCell(inputs, 5, rngs=rngs))

            self.levels = nnx.List([nnx.Bidirectional(direction(n), direction(n)) for n in (4, 10)])

        def __call__(self, x: Any) -> Any:
            for level in self.levels:
                x = level(x)
            return x

    report = parity.compare(Port(nnx.Rngs(0)), Model(), SEQUENCES, rungs=[5])
    assert report.passed, str(report)
