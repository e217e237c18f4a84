"""Light rigs: a main light, the sky around it and the light that the room reflects."""

from dataclasses import dataclass
from functools import cache

import numpy as np

from chifoumi_jax.hands.people import SPLITS

_RIGS = 16


@dataclass(frozen=True)
class Rig:
    """One arrangement of lights, as seen from the camera.

    Attributes:
        direction: Unit vector to the main light: right, up, towards the camera.
        colour: Linear RGB of the main light.
        sky: Linear RGB of the light from above.
        ground: Linear RGB of the light from below.
        sharpness: How hard the shadows are: 4 (overcast) to 16 (a lamp).
    """

    direction: tuple[float, float, float]
    colour: tuple[float, float, float]
    sky: tuple[float, float, float]
    ground: tuple[float, float, float]
    sharpness: float


@cache
def rigs(split: str) -> tuple[Rig, ...]:
    """Returns the light rigs of one split; directions of main lights alternate between splits."""
    rng = np.random.default_rng([21, SPLITS.index(split)])
    positions = range(SPLITS.index(split), 2 * _RIGS, 2)
    return tuple(_rig(rng, position / (2 * _RIGS - 1)) for position in positions)


def _warm_colour(warm: float, level: float) -> tuple[float, float, float]:
    return (level * (1 + 0.18 * warm), level, level * (1 - 0.22 * warm))


def _rig(rng: np.random.Generator, position: float) -> Rig:
    azimuth = np.radians(-70 + 140 * position)
    height = np.radians(rng.uniform(20, 62))
    direction = (
        float(np.sin(azimuth) * np.cos(height)),
        float(np.sin(height)),
        float(np.cos(azimuth) * np.cos(height)),
    )
    fill = rng.uniform(0.28, 0.55)
    return Rig(
        direction=direction,
        colour=_warm_colour(rng.uniform(-0.3, 0.8), 1.25 - fill),
        sky=_warm_colour(rng.uniform(-0.7, 0.3), fill),
        ground=_warm_colour(rng.uniform(-0.1, 0.6), 0.55 * fill),
        sharpness=rng.uniform(4.0, 16.0),
    )
