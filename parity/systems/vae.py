"""The dense variational autoencoder."""

from __future__ import annotations

import numpy as np

from chifoumi_jax import systems
from parity.originals.recorded_system import PYTORCH, RecordedSystem, Training
from parity.system_case import Step, SystemCase, SystemOriginal
from parity.systems.digits import images, linear_weights, saturating
from reference.legacy import systems_golden, systems_inputs

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


def _recorded_step(name: str, count: int) -> Step:
    images = systems_inputs.unit(systems_inputs.pictures(f"vae {name}", count))
    return Step({"images": images}, systems_inputs.normals(f"vae epsilon {name}", (count, 20)))


def _recorded(case: SystemCase) -> RecordedSystem:
    batch, noise = _recorded_step("few", systems_inputs.FEW)
    sizes = enumerate(systems_inputs.BATCHES["vae"])
    return RecordedSystem(
        name=PYTORCH,
        case=case,
        recording=systems_golden.load("vae"),
        weights=systems_inputs.weights("vae"),
        batch=batch,
        noise=noise,
        # In evaluation mode the code is the mean; the recorded output is of a noisy code.
        outputs={"mean": "mu", "log_variance": "logvar"},
        training=Training(
            steps=[_recorded_step(str(number), size) for number, size in sizes],
            bound=(
                1e-9,
                "5 updates; rounding grows where Adam divides by almost 0; measured 7e-15",
            ),
        ),
    )


def originals(case: SystemCase) -> list[SystemOriginal | RecordedSystem]:
    """Today's PyTorch with the formulas of 2018, and PyTorch of 2018; imports the former."""
    from parity.originals.vae import VAEOriginal

    return [VAEOriginal(case), _recorded(case)]
