"""People whose hands are drawn: skin and proportions, which differ between train and test."""

from dataclasses import dataclass
from functools import cache

import numpy as np

from chifoumi_jax.hands.variety import VARIETY

SPLITS = ("train", "test")

_DARKEST, _LIGHTEST = -69.0, 64.0
# Typical b* and a* over the individual typology angle, after Chardon et al. (1991) and
# Del Bino & Bernerd (2013), from very dark to very light.
_ANGLE = (-69.0, -45.0, -15.0, 15.0, 35.0, 50.0, 64.0)
_YELLOW = (8.5, 13.0, 18.5, 19.5, 17.5, 15.5, 12.5)
_RED = (7.5, 9.5, 12.0, 11.5, 10.0, 9.0, 8.0)


@dataclass(frozen=True)
class Person:
    """One person's skin and hand.

    Attributes:
        tone: Individual typology angle in degrees, about -69 (very dark) to 64 (very light).
        lab: CIE L*a*b* of the back of the hand.
        palm_lab: CIE L*a*b* of the palm.
        finger_length: Factor on the length of the fingers.
        finger_width: Factor on the thickness of the fingers.
        palm_width: Factor on the distance between the knuckles.
        taper: How much thinner than usual the finger tips are, as a share.
        knuckle: How much the finger joints stand out, in cm.
        arm_width: Factor on the thickness of the forearm.
        nail: Length of the nails past the finger's flesh, as a share of the last bone.
        ruddy: How much redder knuckles and finger tips are, in [0, 1].
    """

    tone: float
    lab: tuple[float, float, float]
    palm_lab: tuple[float, float, float]
    finger_length: float
    finger_width: float
    palm_width: float
    taper: float
    knuckle: float
    arm_width: float
    nail: float
    ruddy: float


@cache
def people(split: str) -> tuple[Person, ...]:
    """Returns the people of one split, from the darkest skin to the lightest.

    Train and test take alternate steps of one scale of tones, so both span the scale and share
    no tone.
    """
    steps = 2 * VARIETY.people
    rng = np.random.default_rng([20, SPLITS.index(split)])
    return tuple(
        _person(rng, step / (steps - 1), 1 / (steps - 1))
        for step in range(SPLITS.index(split), steps, 2)
    )


def _person(rng: np.random.Generator, position: float, step: float) -> Person:
    position = float(np.clip(position + rng.uniform(-0.4, 0.4) * step, 0.0, 1.0))
    tone = _DARKEST + position * (_LIGHTEST - _DARKEST)
    yellow = float(np.interp(tone, _ANGLE, _YELLOW) * rng.uniform(0.88, 1.14))
    red = float(np.interp(tone, _ANGLE, _RED) * rng.uniform(0.85, 1.2))
    lightness = 50.0 + yellow * float(np.tan(np.radians(tone)))
    # Palms hardly tan: the darker the back of the hand, the larger the difference.
    palm = lightness + 0.42 * max(64.0 - lightness, 0.0) + 2.0
    width = rng.uniform(0.88, 1.14)
    return Person(
        tone=tone,
        lab=(lightness, red, yellow),
        palm_lab=(palm, red + 2.0, yellow - 0.5),
        finger_length=rng.uniform(0.92, 1.09),
        finger_width=width,
        palm_width=0.45 * width + 0.55 * rng.uniform(0.95, 1.07),
        taper=rng.uniform(0.0, 0.14),
        knuckle=rng.uniform(0.0, 0.04),
        arm_width=width * rng.uniform(0.95, 1.1),
        nail=rng.uniform(-0.04, 0.14),
        ruddy=rng.uniform(0.3, 1.0),
    )
