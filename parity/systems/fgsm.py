"""The attacked LeNet; the defended variants have no original."""

from __future__ import annotations

import math

import numpy as np

from chifoumi_jax import systems
from parity.originals.recorded_system import PYTORCH, RecordedSystem
from parity.system_case import SystemCase, SystemOriginal
from parity.systems.digits import images, linear_weights
from reference.legacy import systems_golden, systems_inputs


def _weights() -> dict[str, np.ndarray]:
    rng, found = np.random.default_rng(12), {}
    for name, (outputs, inputs) in {"conv1": (10, 1), "conv2": (20, 10)}.items():
        # Twice as spread as PyTorch draws them, as those of the linear layers.
        bound = 2 / math.sqrt(25 * inputs)
        found[f"{name}.weight"] = rng.uniform(-bound, bound, (outputs, inputs, 5, 5))
        # Negative ones too, so that windows of equal background are closed by the ReLU or not.
        found[f"{name}.bias"] = rng.uniform(-bound, bound, outputs)
    return found | linear_weights({"fc1": (320, 50), "fc2": (50, 10)})


def _masks(count: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(13)
    return {"channels": rng.random((count, 20)) < 0.5, "units": rng.random((count, 50)) < 0.5}


_LABELS = (3 * np.arange(24) % 10).astype(np.int32)

_CASE = SystemCase(
    port=systems.get("fgsm"),
    weights=_weights(),
    batch={"images": images(24), "labels": _LABELS},
    noise=_masks(24),
    examples={"images": images(20), "labels": (np.arange(20) % 10).astype(np.int32)},
    batch_size=8,
    epochs=20,
    trajectory_bound=(1e-9, "60 updates of SGD; rounding is 1e-16"),
)


CASES = (_CASE,)


def _recorded(case: SystemCase) -> RecordedSystem:
    pictures, labels = systems_inputs.attacked_pictures()
    return RecordedSystem(
        name=PYTORCH,
        case=case,
        recording=systems_golden.load("fgsm"),
        weights=systems_inputs.weights("fgsm"),
        batch={"images": pictures[:, 0], "labels": labels.astype(np.int32)},
        outputs={"output": "output"},
        # The study trained nothing, so that only the gradient by the images was recorded.
        losses={},
        gradients={},
        batch_gradients={"images": "gradient"},
    )


def originals(case: SystemCase) -> list[SystemOriginal | RecordedSystem]:
    """Today's PyTorch and that of 2018; imports the former."""
    from parity.originals.fgsm import FGSMOriginal

    return [FGSMOriginal(case), _recorded(case)]
