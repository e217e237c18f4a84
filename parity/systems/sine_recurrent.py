"""The recurrent cell written by hand."""

from __future__ import annotations

import numpy as np

from chifoumi_jax import systems
from parity.originals.recorded_system import PYTORCH, RecordedSystem, Training
from parity.system_case import SystemCase, SystemOriginal
from reference.legacy import systems_golden


def _weights() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(2)
    return {"w1": rng.normal(0, 0.4, (7, 6)), "w2": rng.normal(0, 0.3, (6, 1))}


_CASE = SystemCase(
    port=systems.get("sine-recurrent"),
    weights=_weights(),
    batch={"x": np.sin(np.arange(1.0, 2.0, 0.1)), "y": np.cos(np.arange(1.0, 2.0, 0.1))},
    carry=np.random.default_rng(3).uniform(-1, 1, 6),
    # The recording has the whole training of 200 epochs.
    epochs=20,
    trajectory_bound=(1e-9, "4,000 updates that do not amplify rounding, which is 1e-16"),
)


CASES = (_CASE,)


def _recorded(case: SystemCase) -> RecordedSystem:
    recording = systems_golden.load("sine-recurrent")
    return RecordedSystem(
        name=PYTORCH,
        case=case,
        recording=recording,
        # Those that seed 1 draws, with which the study printed 20 of the sums.
        weights=recording.under("initial/"),
        batch={"x": recording["x"], "y": recording["y"]},
        gradient_dtypes=(),
        training=Training(
            orders=np.tile(np.arange(200), (200, 1)),
            losses="sums",
            weights="trained/",
            rows=False,
            bound=(1e-9, "40,000 updates that do not amplify rounding; measured 5e-15"),
        ),
    )


def originals(case: SystemCase) -> list[SystemOriginal | RecordedSystem]:
    """Today's PyTorch and that of 2018; imports the former."""
    from parity.originals.sine_recurrent import SineRecurrentOriginal

    return [SineRecurrentOriginal(case), _recorded(case)]
