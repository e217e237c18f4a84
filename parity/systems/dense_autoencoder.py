"""The dense autoencoders, one case for each architecture."""

from __future__ import annotations

import itertools

from chifoumi_jax import systems
from parity.system_case import SystemCase, SystemOriginal
from parity.systems.digits import images, linear_weights, saturating

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


def originals(case: SystemCase) -> list[SystemOriginal]:
    """Today's PyTorch with the formulas of 2018; imports it."""
    from parity.originals.dense_autoencoder import DenseAutoencoderOriginal

    return [DenseAutoencoderOriginal(case)]
