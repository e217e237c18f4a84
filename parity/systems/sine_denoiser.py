"""The recurrent denoisers of a sine."""

from __future__ import annotations

import numpy as np

from chifoumi_jax import systems
from chifoumi_jax.systems.sine_denoiser import curves
from parity.originals.recorded_system import PYTORCH, RecordedSystem, Training
from parity.system_case import Step, SystemCase, SystemOriginal
from reference.legacy import systems_golden, systems_inputs

_PORT = systems.get("sine-denoiser")


def _weights(variant: str) -> dict[str, np.ndarray]:
    """Twice as spread as PyTorch draws them, so that tanh and the gates are not close to linear."""
    rng, bound = np.random.default_rng(12), 2 / np.sqrt(30)
    rows = 90 if variant == "bigru" else 30
    shapes = {"weight_ih": (rows, 1), "weight_hh": (rows, 30), "bias_ih": (rows,)}
    ends = ("_l0",) if variant == "rnn" else ("_l0", "_l0_reverse")
    found = {
        f"rnn.{name}{end}": rng.uniform(-bound, bound, shape)
        for end in ends
        for name, shape in {**shapes, "bias_hh": (rows,)}.items()
    }
    inputs = 30 * len(ends)
    bound = 2 / np.sqrt(inputs)
    found["fc.weight"] = rng.uniform(-bound, bound, (1, inputs))
    found["fc.bias"] = rng.uniform(-bound, bound, 1)
    return found


def _case(variant: str) -> SystemCase:
    noisy, clean = (values[:12] for values in curves(12))
    return SystemCase(
        port=_PORT.of(variant),
        weights=_weights(variant),
        batch={"noisy": noisy[:4], "clean": clean[:4]},
        examples={"noisy": noisy, "clean": clean},
        batch_size=12,
        epochs=100,
        trajectory_bound=(
            1e-6,
            "100 updates through 100 time steps each; rounding is 1e-16, and the signs of the "
            "absolute error amplify it",
        ),
    )


CASES = tuple(_case(variant) for variant in _PORT.variants)


def _recorded(case: SystemCase) -> RecordedSystem:
    variant = case.port.variant
    noisy, clean = (values[..., 0] for values in systems_inputs.denoiser_batch())
    batch = {"noisy": noisy, "clean": clean}
    return RecordedSystem(
        name=PYTORCH,
        case=case,
        recording=systems_golden.load("sine-denoiser").of(variant),
        weights=systems_inputs.weights(f"sine-denoiser/{variant}"),
        batch=batch,
        outputs={"output": "output"},
        training=Training(
            steps=[Step(batch, ())] * 5,
            bound=(1e-9, "5 updates through 100 time steps each; measured 5e-15"),
        ),
    )


def originals(case: SystemCase) -> list[SystemOriginal | RecordedSystem]:
    """Today's PyTorch with Adam of 2018, and PyTorch of 2018; imports the former."""
    from parity.originals.sine_denoiser import SineDenoiserOriginal

    return [SineDenoiserOriginal(case), _recorded(case)]
