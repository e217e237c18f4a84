"""Closes the thumb over curled fingers until it touches them, as a fist does."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from jaxtyping import Float64

from chifoumi_jax.hands import skeleton
from chifoumi_jax.hands.people import Person
from chifoumi_jax.hands.pose import LIMITS, Pose

_JOINTS = ("thumb_away", "thumb_out", "thumb_roll", "thumb_knuckle", "thumb_end")
# Flesh gives way: surfaces that touch overlap by this share of their radii.
_SOFT = 0.08
_ROUNDS = 9
_NUDGE = 0.05
_ALONG_THUMB = np.array([0.5, 1.0])


def closed(pose: Pose, person: Person) -> Pose:
    """Returns the pose with its thumb on the finger that it grips, within `LIMITS`."""
    if pose.grip is None:
        return pose
    bones = skeleton.hand_bones(pose, person, None)
    radii = skeleton.thumb_radii(person)
    target = _target(bones, pose.grip, (1 - _SOFT) * radii[3])
    fingers = [bone for finger in skeleton.FINGERS for bone in finger]
    start, along = bones.start[fingers].astype(float), bones.along[fingers].astype(float)
    thick = bones.radius[fingers][:, 0] + 0.5 * bones.radius[fingers][:, 1]
    reach = (1 - _SOFT) * (thick + np.repeat(0.5 * (radii[1:3] + radii[2:]), 2)[:, None])
    scale = 1 / np.sum(along**2, axis=1)

    def residuals(angles: Float64[np.ndarray, "5"]) -> Float64[np.ndarray, " residuals"]:
        joints, _ = skeleton.thumb_chain(angles, person)
        points = (
            joints[1:3, None] + _ALONG_THUMB[:, None] * (joints[2:] - joints[1:3])[:, None]
        ).reshape(-1, 1, 3)
        offset = points - start
        share = np.clip(np.sum(offset * along, axis=2) * scale, 0, 1)
        apart = np.sqrt(np.sum((offset - share[..., None] * along) ** 2, axis=2))
        overlap = np.maximum(reach - apart, 0)
        habit = 0.012 * (angles - pose.thumb)
        return np.concatenate([joints[3] - target, 1.5 * overlap.max(axis=1), habit])

    return replace(pose, thumb=_settled(residuals, pose.thumb))


def _settled(
    residuals: Callable[[Float64[np.ndarray, "5"]], Float64[np.ndarray, " residuals"]],
    angles: Float64[np.ndarray, "5"],
) -> Float64[np.ndarray, "5"]:
    """Minimises the residuals' squares within `LIMITS` (Levenberg and Marquardt's steps)."""
    low, high = np.transpose([LIMITS[joint] for joint in _JOINTS])
    now, damping = residuals(angles), 1e-3
    for _ in range(_ROUNDS):
        slopes = np.stack(
            [(residuals(angles + _NUDGE * unit) - now) / _NUDGE for unit in np.eye(5)], axis=1
        )
        step = np.linalg.solve(slopes.T @ slopes + damping * np.eye(5), -slopes.T @ now)
        tried = np.clip(angles + step, low, high)
        then = residuals(tried)
        if then @ then < now @ now:
            angles, now, damping = tried, then, damping / 4
        else:
            damping *= 8
    return angles


def _target(bones: skeleton.Bones, grip: float, gap: float) -> Float64[np.ndarray, "3"]:
    """Returns where the thumb's tip comes to lie: on the backs of the fingers' middle bones."""
    left = min(int(grip), 2)
    places = []
    for finger in skeleton.FINGERS[left : left + 2]:
        bone = finger[1]
        middle = bones.start[bone] + 0.62 * bones.along[bone]
        radius = bones.radius[bone] @ np.array([1, 0.62, 0.62**2])
        places.append(middle + bones.dorsal[bone] * (radius + gap))
    share = grip - left
    return ((1 - share) * places[0] + share * places[1]).astype(float)
