"""The convolutional autoencoder, as a denoiser and plain."""

from __future__ import annotations

import numpy as np

from chifoumi_jax import systems
from parity.originals.recorded_system import KERAS, RecordedSystem
from parity.system_case import SystemCase, SystemOriginal
from parity.systems.digits import images
from reference.legacy import systems_golden, systems_inputs

# Of the training that is compared step by step, in pixels.
SIZE = 16
# TensorFlow's own gradients in float32 are 7.5 % off those in float64, and JAX's 33 %: rounding
# decides which of two almost equal values of a pooling window is the larger, and whether a value
# close to 0 passes ReLU.
GRADIENT_DTYPES = ("float64",)


def weights() -> dict[str, np.ndarray]:
    """Those of the recordings, in float64."""
    found = systems_inputs.weights("conv-autoencoder")
    return {name: value.astype(np.float64) for name, value in found.items()}


def _examples(count: int, size: int, noisy: bool) -> dict[str, np.ndarray]:
    """The middle of drawn digits, `size` pixels wide, and the same with the study's noise."""
    edge = (28 - size) // 2
    clean = images(count)[:, edge : edge + size, edge : edge + size].astype(np.float64)
    return {"images": systems_inputs.noisy("ladder", clean) if noisy else clean, "targets": clean}


def _case(variant: str) -> SystemCase:
    noisy = variant == "denoiser"
    return SystemCase(
        port=systems.get("conv-autoencoder").of(variant),
        weights=weights(),
        batch=_examples(3, 28, noisy),
        examples=_examples(30, SIZE, noisy),
        # The last batch of an epoch has fewer images, as in the study's validation.
        batch_size=4,
        epochs=13,
        trajectory_bound=(1e-6, "104 updates, measured 6.5e-9 for the denoiser"),
        gradient_dtypes=GRADIENT_DTYPES,
        long=(2, 8, 9),
    )


CASES = (_case("denoiser"), _case("plain"))


def _recorded_batch() -> dict[str, np.ndarray]:
    name, count = "conv-autoencoder 0", systems_inputs.BATCHES["conv-autoencoder"][0]
    clean = systems_inputs.unit(systems_inputs.pictures(name, count))
    noisy = systems_inputs.noisy(name, clean[..., None])[..., 0]
    return {"images": noisy, "targets": clean}


def _recorded(case: SystemCase) -> RecordedSystem:
    return RecordedSystem(
        name=KERAS,
        case=case,
        recording=systems_golden.load("conv-autoencoder"),
        weights=systems_inputs.weights("conv-autoencoder"),
        batch=_recorded_batch(),
        outputs={"output": "output"},
        gradient_dtypes=GRADIENT_DTYPES,
    )


def originals(case: SystemCase) -> list[SystemOriginal | RecordedSystem]:
    """Today's Keras with the layers of 2018, and Keras of 2018; imports the former."""
    from parity.originals.conv_autoencoder import ConvAutoencoderOriginal

    recorded = [_recorded(case)] if case.port.variant == "denoiser" else []
    return [ConvAutoencoderOriginal(case), *recorded]
