"""The dense variational autoencoder."""

from __future__ import annotations

import numpy as np

from chifoumi_jax import systems
from parity.system_case import SystemCase, SystemOriginal
from parity.systems.digits import images, linear_weights, saturating

_WEIGHTS = linear_weights(
    {
        "fc1": (784, 400),
        "fc21": (400, 20),
        "fc22": (400, 20),
        "fc3": (20, 400),
        "fc4": (400, 784),
    }
)

_CASE = SystemCase(
    port=systems.get("vae"),
    weights=_WEIGHTS,
    batch={"images": images(96)},
    noise=np.random.default_rng(4).standard_normal((96, 20)),
    saturated={**_WEIGHTS, "fc4.bias": saturating(784)},
    examples={"images": images(72)},
    batch_size=32,
    epochs=35,
    trajectory_bound=(1e-9, "105 updates; rounding is 1e-16, and Adam amplifies it where v is 0"),
)


CASES = (_CASE,)


def originals(case: SystemCase) -> list[SystemOriginal]:
    """Today's PyTorch with the formulas of 2018; imports it."""
    from parity.originals.vae import VAEOriginal

    return [VAEOriginal(case)]
