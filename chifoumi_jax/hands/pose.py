"""Samples joint angles of the three gestures within the range of motion of hands."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64

from chifoumi_jax.hands.variety import VARIETY, Variety

FINGERS = ("index", "middle", "ring", "little")

# Active range of motion in degrees, after the American Academy of Orthopaedic Surgeons' and
# Norkin & White's tables. Negative angles extend past straight. The angles of the thumb's base are
# the direction of its metacarpal: away from the fingers and out of the palm.
LIMITS: Mapping[str, tuple[float, float]] = {
    "knuckle": (-25.0, 95.0),
    "middle_joint": (0.0, 112.0),
    "end_joint": (-8.0, 80.0),
    "spread": (-25.0, 25.0),
    "thumb_away": (0.0, 62.0),
    "thumb_out": (-5.0, 55.0),
    "thumb_roll": (0.0, 90.0),
    "thumb_knuckle": (-10.0, 62.0),
    "thumb_end": (-20.0, 85.0),
    "wrist_flexion": (-60.0, 60.0),
    "wrist_deviation": (-20.0, 30.0),
}


@dataclass(frozen=True)
class Pose:
    """Joint angles of a hand, in degrees.

    Attributes:
        flexion: Knuckle, middle and end joint of index, middle, ring and little finger.
        spread: Sideways angle of those fingers, towards the thumb.
        thumb: Away from the fingers, out of the palm, roll, knuckle, end joint.
        wrist: Flexion, deviation towards the little finger.
        grip: The curled finger that the thumb lies on, 0 (index) to 3 (little); a fraction lies
            between two fingers. None for a free thumb.
    """

    flexion: Float64[np.ndarray, "4 3"]
    spread: Float64[np.ndarray, "4"]
    thumb: Float64[np.ndarray, "5"]
    wrist: Float64[np.ndarray, "2"]
    grip: float | None = None


def sample_pose(gesture: str, rng: np.random.Generator, variety: Variety = VARIETY) -> Pose:
    """Returns a pose of `gesture`, every angle within `LIMITS`."""
    return _clipped(_GESTURES[gesture](rng, variety))


def _clipped(pose: Pose) -> Pose:
    joints = [LIMITS[name] for name in ("knuckle", "middle_joint", "end_joint")]
    thumb = [LIMITS[f"thumb_{name}"] for name in ("away", "out", "roll", "knuckle", "end")]
    wrist = [LIMITS[f"wrist_{name}"] for name in ("flexion", "deviation")]
    return replace(
        pose,
        flexion=np.clip(pose.flexion, *np.transpose(joints)),
        spread=np.clip(pose.spread, *LIMITS["spread"]),
        thumb=np.clip(pose.thumb, *np.transpose(thumb)),
        wrist=np.clip(pose.wrist, *np.transpose(wrist)),
    )


def _wrist(rng: np.random.Generator, variety: Variety) -> Float64[np.ndarray, "2"]:
    return variety.wrist * np.array([rng.uniform(-14, 14), rng.uniform(-8, 12)])


def _straight(rng: np.random.Generator, count: int) -> Float64[np.ndarray, "count 3"]:
    bend = np.array([rng.uniform(-6, 10), rng.uniform(0, 12), rng.uniform(-2, 8)])
    return np.maximum(bend + rng.normal(0, 3, (count, 3)), [-12.0, 0.0, -4.0])


def _curled(rng: np.random.Generator, count: int) -> Float64[np.ndarray, "count 3"]:
    bend = np.array([rng.uniform(82, 90), rng.uniform(98, 106), rng.uniform(60, 74)])
    return bend + rng.normal(0, 2, (count, 3))


def _maybe_free_thumb(pose: Pose, rng: np.random.Generator, variety: Variety) -> Pose:
    """Returns the pose, or at random the same pose with the thumb beside the fingers."""
    if not variety.free_thumb or rng.uniform() >= variety.free_thumb:
        return pose
    low, high = (0, 0, 20, 0, 0), (22, 14, 60, 25, 40)
    return replace(pose, thumb=rng.uniform(low, high), grip=None)


def _paper(rng: np.random.Generator, variety: Variety) -> Pose:
    openness = rng.uniform(*variety.openness)
    fan = np.array([9.0, 1.0, -8.0, -17.0]) * openness + np.array([1.0, 0.0, -1.0, -2.5])
    return Pose(
        flexion=_straight(rng, 4),
        spread=fan + rng.normal(0, 1.2, 4),
        thumb=np.array(
            [
                22 + 28 * openness + rng.normal(0, 5),
                rng.uniform(4, 22),
                rng.uniform(15, 45),
                rng.uniform(-2, 14),
                rng.uniform(-8, 12),
            ]
        ),
        wrist=_wrist(rng, variety),
    )


def _rock(rng: np.random.Generator, variety: Variety) -> Pose:
    pose = Pose(
        flexion=_curled(rng, 4),
        spread=np.array([6.0, 2.0, -3.0, -8.0]) + rng.normal(0, 1.0, 4),
        thumb=np.array([21.0, 29.0, 28.0, 37.0, 60.0]) + rng.normal(0, 2.5, 5),
        wrist=_wrist(rng, variety),
        grip=rng.uniform(0.4, 1.3),
    )
    return _maybe_free_thumb(pose, rng, variety)


def _scissors(rng: np.random.Generator, variety: Variety) -> Pose:
    opening = rng.uniform(*variety.opening)
    spread = np.array([13.0 * opening, -13.0 * opening, -3.0, -7.0])
    pose = Pose(
        flexion=np.concatenate([_straight(rng, 2), _curled(rng, 2)]),
        spread=spread + rng.normal(0, 1.0, 4),
        thumb=np.array([10.0, 38.0, 45.0, 40.0, 45.0]) + rng.normal(0, 2.5, 5),
        wrist=_wrist(rng, variety),
        grip=rng.uniform(2.0, 2.35),
    )
    return _maybe_free_thumb(pose, rng, variety)


_GESTURES: Mapping[str, Callable[[np.random.Generator, Variety], Pose]] = {
    "paper": _paper,
    "rock": _rock,
    "scissors": _scissors,
}
GESTURES = tuple(_GESTURES)
# An optional class: pictures without a hand.
NOTHING = "nothing"
