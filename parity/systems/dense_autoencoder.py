"""The dense autoencoders, one case for each architecture."""

from __future__ import annotations

import itertools

import numpy as np

from chifoumi_jax import systems
from parity.originals.recorded_system import PYTORCH, RecordedSystem, Training
from parity.system_case import Step, SystemCase, SystemOriginal
from parity.systems.digits import images, linear_weights, saturating
from reference.legacy import systems_golden, systems_inputs

# Inputs and outputs of the layers, spelt out, so that they do not come from the port.
_SIZES = {
    "2": (784, 400, 128, 64, 32, 64, 128, 400, 784),
    "1": (784, 400, 20, 400, 784),
    "3": (784, 400, 256, 128, 64, 32, 64, 128, 256, 400, 784),
}


def _case(variant: str) -> SystemCase:
    layers = enumerate(itertools.pairwise(_SIZES[variant]), 1)
    weights = linear_weights({f"fc{number}": sizes for number, sizes in layers})
    last = f"fc{len(_SIZES[variant]) - 1}.bias"
    return SystemCase(
        port=systems.get("dense-autoencoder").of(variant),
        weights=weights,
        batch={"images": images(96)},
        saturated={**weights, last: saturating(784)},
        examples={"images": images(20)},
        batch_size=8,
        epochs=35,
        trajectory_bound=(
            1e-9,
            "105 updates; rounding is 1e-16, and Adam amplifies it; measured 3e-13",
        ),
    )


CASES = tuple(_case(variant) for variant in _SIZES)


def _recorded_images(name: str, count: int) -> dict[str, np.ndarray]:
    pictures = systems_inputs.pictures(f"dense-autoencoder {name}", count)
    return {"images": systems_inputs.unit(pictures)}


def _recorded(case: SystemCase) -> RecordedSystem:
    variant = case.port.variant
    sizes = enumerate(systems_inputs.BATCHES["dense-autoencoder"])
    return RecordedSystem(
        name=PYTORCH,
        case=case,
        recording=systems_golden.load("dense-autoencoder").of(variant),
        weights=systems_inputs.weights(f"dense-autoencoder/{variant}"),
        batch=_recorded_images("few", systems_inputs.FEW),
        outputs={"output": "output"},
        training=Training(
            steps=[Step(_recorded_images(str(number), size), ()) for number, size in sizes],
            bound=(
                1e-9,
                "5 updates; rounding grows where Adam divides by almost 0; measured 2e-14",
            ),
        ),
    )


def originals(case: SystemCase) -> list[SystemOriginal | RecordedSystem]:
    """Today's PyTorch with the formulas of 2018, and PyTorch of 2018; imports the former."""
    from parity.originals.dense_autoencoder import DenseAutoencoderOriginal

    return [DenseAutoencoderOriginal(case), _recorded(case)]
