"""The dense fit of a sine."""

from __future__ import annotations

import numpy as np

from chifoumi_jax import systems
from parity.originals.recorded_system import KERAS, RecordedSystem, Training
from parity.system_case import SystemCase, SystemOriginal
from reference.legacy import systems_golden, systems_inputs


def _weights() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    shapes = {"dense_1": (1, 5), "dense_2": (5, 5), "dense_3": (5, 1)}
    return {
        f"{name}/{kind}": rng.normal(0, 0.5, shape if kind == "kernel" else shape[1:])
        for name, shape in shapes.items()
        for kind in ("kernel", "bias")
    }


_CASE = SystemCase(
    port=systems.get("sine-dense"),
    weights=_weights(),
    batch={"x": np.linspace(0, 6.2, 9)[:, None], "y": np.sin(np.linspace(0, 6.2, 9))[:, None]},
    epochs=100,
    trajectory_bound=(1e-9, "6,300 updates; rounding is 1e-16 and grows in sharp curves"),
)


CASES = (_CASE,)


def _recorded(case: SystemCase) -> RecordedSystem:
    recording = systems_golden.load("sine-dense")
    x, y = systems_inputs.sine_points()
    return RecordedSystem(
        name=KERAS,
        case=case,
        recording=recording,
        weights=systems_inputs.weights("sine-dense"),
        batch={"x": x, "y": y},
        outputs={"output": "output"},
        training=Training(
            orders=recording["order"],
            losses="fit/loss",
            weights="fit/weights/",
            bound=(1e-12, "126 updates; rounding is 1e-16; measured 4e-16"),
        ),
    )


def originals(case: SystemCase) -> list[SystemOriginal | RecordedSystem]:
    """Today's Keras, which imports TensorFlow, and that of 2018."""
    from parity.originals.sine_dense import SineDenseOriginal

    return [SineDenseOriginal(case), _recorded(case)]
