"""Bends the thumb over curled fingers until it touches them, as in a fist."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from jaxtyping import Float64

from chifoumi_jax.hands import skeleton
from chifoumi_jax.hands.people import Person
from chifoumi_jax.hands.pose import LIMITS, Pose

_JOINTS = ("thumb_away", "thumb_out", "thumb_roll", "thumb_knuckle", "thumb_end")
# Flesh is soft, so surfaces that touch overlap by this share of their radii.
_OVERLAP = 0.08
_ITERATIONS = 9
_DIFFERENCE_STEP = 0.05
_ALONG_THUMB = np.array([0.5, 1.0])


def close_thumb(pose: Pose, person: Person) -> Pose:
    """Returns the pose with its thumb on the finger that it grips, within `LIMITS`."""
    if pose.grip is None:
        return pose
    bones = skeleton.hand_bones(pose, person, None)
    radii = skeleton.thumb_radii(person)
    target = _target(bones, pose.grip, (1 - _OVERLAP) * radii[3])
    fingers = [bone for finger in skeleton.FINGERS for bone in finger]
    start, along = bones.start[fingers].astype(float), bones.along[fingers].astype(float)
    bone_radius = bones.radius[fingers][:, 0] + 0.5 * bones.radius[fingers][:, 1]
    reach = (1 - _OVERLAP) * (bone_radius + np.repeat(0.5 * (radii[1:3] + radii[2:]), 2)[:, None])
    scale = 1 / np.sum(along**2, axis=1)

    def residuals(angles: Float64[np.ndarray, "5"]) -> Float64[np.ndarray, " residuals"]:
        joints, _ = skeleton.thumb_chain(angles, person)
        points = (
            joints[1:3, None] + _ALONG_THUMB[:, None] * (joints[2:] - joints[1:3])[:, None]
        ).reshape(-1, 1, 3)
        offset = points - start
        share = np.clip(np.sum(offset * along, axis=2) * scale, 0, 1)
        distances = np.sqrt(np.sum((offset - share[..., None] * along) ** 2, axis=2))
        overlap = np.maximum(reach - distances, 0)
        prior = 0.012 * (angles - pose.thumb)
        return np.concatenate([joints[3] - target, 1.5 * overlap.max(axis=1), prior])

    return replace(pose, thumb=_levenberg_marquardt(residuals, pose.thumb))


def _levenberg_marquardt(
    residuals: Callable[[Float64[np.ndarray, "5"]], Float64[np.ndarray, " residuals"]],
    angles: Float64[np.ndarray, "5"],
) -> Float64[np.ndarray, "5"]:
    """Minimises the sum of squared residuals within `LIMITS` by Levenberg-Marquardt steps."""
    low, high = np.transpose([LIMITS[joint] for joint in _JOINTS])
    current, damping = residuals(angles), 1e-3
    for _ in range(_ITERATIONS):
        jacobian = np.stack(
            [
                (residuals(angles + _DIFFERENCE_STEP * unit) - current) / _DIFFERENCE_STEP
                for unit in np.eye(5)
            ],
            axis=1,
        )
        step = np.linalg.solve(jacobian.T @ jacobian + damping * np.eye(5), -jacobian.T @ current)
        tried = np.clip(angles + step, low, high)
        proposed = residuals(tried)
        if proposed @ proposed < current @ current:
            angles, current, damping = tried, proposed, damping / 4
        else:
            damping *= 8
    return angles


def _target(bones: skeleton.Bones, grip: float, gap: float) -> Float64[np.ndarray, "3"]:
    """Returns the target of the thumb's tip, on the backs of the fingers' middle bones."""
    first = min(int(grip), 2)
    places = []
    for finger in skeleton.FINGERS[first : first + 2]:
        bone = finger[1]
        middle = bones.start[bone] + 0.62 * bones.along[bone]
        radius = bones.radius[bone] @ np.array([1, 0.62, 0.62**2])
        places.append(middle + bones.dorsal[bone] * (radius + gap))
    share = grip - first
    return ((1 - share) * places[0] + share * places[1]).astype(float)
