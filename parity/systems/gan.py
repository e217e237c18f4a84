"""The generative adversarial network."""

from __future__ import annotations

from typing import Any

import numpy as np

from chifoumi_jax import systems
from chifoumi_jax.systems.gan import Noise
from parity.originals.recorded_system import KERAS, RecordedSystem
from parity.system_case import SystemCase, SystemOriginal
from parity.systems.digits import images
from reference.legacy import systems_golden, systems_inputs

_IMAGES = 16
_UNITS = (1024, 512, 256)


def weights() -> dict[str, np.ndarray]:
    """Those of the recordings, in float64, with a unit of each network that is exactly 0.

    At 0 the gradients of LeakyReLU differ between frameworks.
    """
    found = {}
    for network in ("generator", "discriminator"):
        for name, value in systems_inputs.weights(f"gan/{network}").items():
            found[f"{network}/{name}"] = value.astype(np.float64)
        found[f"{network}/dense_2/kernel"][:, 7] = 0
        found[f"{network}/dense_2/bias"][7] = 0
    return found


def _saturated() -> dict[str, np.ndarray]:
    """Weights with which most probabilities leave the clip in float32, and the others are far off.

    Close to 1 a probability has too few bits for a comparison of its logit. The first pixel is
    1 or -1; two units hand it and its negative to a large last kernel, unless dropout cuts
    them off. The logits are then about 47, where a probability is 1, or about -21, where it is not
    0, so that the sigmoid would pass the gradient which the clip must stop.
    """
    found = {name: value.copy() for name, value in weights().items()}
    for place in (1, 2, 3):
        kernel = found[f"discriminator/dense_{place}/kernel"]
        kernel[:, :2] = 0
        kernel[:2, :2] = np.eye(2) if place > 1 else [[1, -1], [0, 0]]
        found[f"discriminator/dense_{place}/bias"][:2] = 0
    found["discriminator/dense_4/kernel"][:2, 0] = 16, -7
    found["generator/dense_4/kernel"][:, 0] = 0
    found["generator/dense_4/bias"][0] = -30
    return found


def _batch() -> dict[str, np.ndarray]:
    pixels = 2 * images(_IMAGES).astype(np.float64) - 1
    pixels[::2, 0, 0] = 1
    return {"images": pixels, "codes": _normal("codes of outputs")}


def _normal(name: str) -> Any:
    return systems_inputs.normals(f"gan {name}", (_IMAGES, 100)).astype(np.float64)


def _masks(name: str, count: int) -> Any:
    rng = systems_inputs.random(f"gan masks {name}")
    return tuple(rng.uniform(size=(count, units)) >= 0.3 for units in _UNITS)


_NOISE = Noise(
    _normal("D"),
    _masks("D", 2 * _IMAGES),
    _normal("G"),
    _masks("G", _IMAGES),
)

_CASE = SystemCase(
    port=systems.get("gan"),
    weights=weights(),
    batch=_batch(),
    noise=_NOISE,
    saturated=_saturated(),
    examples={"images": 2 * images(40) - 1},
    batch_size=16,
    epochs=7,
    trajectory_bound=(1e-9, "112 updates, 56 of each network"),
    long=(2,),
)

CASES = (_CASE,)


def _recorded_masks(recording: systems_golden.Recording, part: str, count: int) -> tuple[Any, ...]:
    packed = (recording[f"float64/dropout/{part}/masks/{place}"] for place in range(3))
    return tuple(np.unpackbits(one, axis=1)[:count] == 1 for one in packed)


def _recorded(case: SystemCase) -> RecordedSystem:
    recording, count = systems_golden.load("gan"), systems_inputs.BATCHES["gan"][0]
    codes, generator_codes = (
        systems_inputs.normals(f"gan {name} 0", (count, 100)) for name in "DG"
    )
    # Keras' generator was trained by a function of the whole, which it called GAN.
    functions = {"discriminator": "discriminator", "generator": "gan"}
    return RecordedSystem(
        name=KERAS,
        case=case,
        recording=recording,
        weights={
            f"{network}/{name}": value
            for network in ("generator", "discriminator")
            for name, value in systems_inputs.weights(f"gan/{network}").items()
        },
        batch={"images": systems_inputs.signed(systems_inputs.pictures("gan 0", count))},
        noise=Noise(
            codes,
            _recorded_masks(recording, "discriminator", 2 * count),
            generator_codes,
            _recorded_masks(recording, "gan", count),
        ),
        losses={name: f"dropout/{part}/loss" for name, part in functions.items()},
        gradients={f"{name}/": f"dropout/{part}/gradient/" for name, part in functions.items()},
        # The masks of float32 are others.
        gradient_dtypes=("float64",),
    )


def originals(case: SystemCase) -> list[SystemOriginal | RecordedSystem]:
    """Today's Keras with the formulas of 2018, and Keras of 2018; imports the former."""
    from parity.originals.gan import GANOriginal

    return [GANOriginal(case), _recorded(case)]
