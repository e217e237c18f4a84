"""The dense fit of a sine."""

from __future__ import annotations

import numpy as np

from chifoumi_jax import systems
from parity.system_case import SystemCase, SystemOriginal


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


def originals(case: SystemCase) -> list[SystemOriginal]:
    """Today's Keras; imports TensorFlow."""
    from parity.originals.sine_dense import SineDenseOriginal

    return [SineDenseOriginal(case)]
