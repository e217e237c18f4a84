"""Converts joint angles to bones: tapered capsules in the hand's own frame.

The frame, in cm: the wrist is the origin, +y runs along the hand to the fingers, +x to the
thumb of a right hand, and +z out of the palm.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Float64

from chifoumi_jax.hands.people import Person
from chifoumi_jax.hands.pose import Pose

# Order of the bones; `surface` blends them by these groups.
METACARPALS = (0, 1, 2, 3)
THENAR, HYPOTHENAR = 4, 5
FOREARM = (6, 7)
WEBS = (8, 9, 10)
THUMB_WEB = 11
FINGERS = ((12, 13, 14), (15, 16, 17), (18, 19, 20), (21, 22, 23))
THUMB = (24, 25)
COUNT = 26
HAND = (*METACARPALS, THENAR, HYPOTHENAR, *range(12, 26))

_KNUCKLES = np.array([[2.8, 8.9, 0.0], [0.8, 9.2, -0.2], [-1.15, 8.75, -0.05], [-2.95, 7.95, 0.35]])
_CARPALS = np.array([[1.45, 0.9, 0.0], [0.5, 0.8, -0.1], [-0.5, 0.8, -0.1], [-1.4, 0.9, 0.0]])
_PHALANGES = np.array([[4.4, 2.6, 2.0], [4.9, 3.0, 2.15], [4.5, 2.85, 2.15], [3.5, 2.05, 1.85]])
# Radius at the knuckle, middle joint, end joint and tip.
_RADII = np.array(
    [
        [1.04, 0.94, 0.82, 0.70],
        [1.06, 0.96, 0.83, 0.71],
        [1.01, 0.90, 0.78, 0.67],
        [0.90, 0.78, 0.68, 0.58],
    ]
)
_THUMB_BASE = np.array([2.0, 1.3, 0.7])
_THUMB_BONES = np.array([4.6, 3.4, 2.5])
_THUMB_RADII = np.array([1.4, 1.18, 1.02, 0.82])
_ARM_LENGTH = 32.0
_NO_SLEEVE_DISTANCE = 1e3


class Bones(NamedTuple):
    """Tapered capsules, in cm.

    Attributes:
        start: Start of each bone.
        along: Vector from its start to its end.
        radius: r0, r1, r2; the radius at the share h of the length is r0 + h·r1 + h²·r2.
        dorsal: Unit vectors to the back of the hand.
        cuff: Start of the sleeve, and the unit vector from there to the elbow.
        frame: The wrist, and the hand's own axes.
    """

    start: Float32[np.ndarray, "bones 3"]
    along: Float32[np.ndarray, "bones 3"]
    radius: Float32[np.ndarray, "bones 3"]
    dorsal: Float32[np.ndarray, "bones 3"]
    cuff: Float32[np.ndarray, "2 3"]
    frame: Float32[np.ndarray, "4 3"]


def hand_bones(pose: Pose, person: Person, sleeve: float | None) -> Bones:
    """Returns the bones of a right hand; a sleeve begins `sleeve` cm from the wrist, if any."""
    bones = _Builder()
    palm_scale = np.array([person.palm_width, 1.0, 1.0])
    width = person.finger_width
    knuckles = _KNUCKLES * palm_scale
    # A closing hand cups: the little finger's knuckle moves forward, and all draw together.
    closing = np.clip(pose.flexion[:, 0], 0, 90) / 90
    knuckles[:, 2] += np.array([0.0, 0.0, 0.15, 0.35]) * closing
    knuckles[:, 0] *= 1 - 0.1 * closing.mean()
    back = np.array([0.0, 0.0, -1.0])
    for k, (carpal, knuckle) in enumerate(zip(_CARPALS * palm_scale, knuckles, strict=True)):
        size = width * (1.02, 1.04, 1.0, 0.94)[k]
        bones.add(METACARPALS[k], carpal, knuckle, 1.2, size, -0.08, back)
    for k in range(4):
        _finger(bones, k, knuckles[k], pose, person)
    _thumb(bones, pose, person)
    heel, edge = np.array([-1.5, 1.3, 0.8]), np.array([-2.7, 5.9, 0.7])
    bones.add(HYPOTHENAR, heel * palm_scale, edge * palm_scale, 1.4, 1.05 * width, 0.2, back)
    arm = _forearm(bones, pose, person)
    return bones.finish(np.stack([arm * (_NO_SLEEVE_DISTANCE if sleeve is None else sleeve), arm]))


class _Builder:
    """Collects bones by index."""

    def __init__(self) -> None:
        self._start = np.zeros((COUNT, 3))
        self._end = np.zeros((COUNT, 3))
        self._radius = np.zeros((COUNT, 3))
        self._dorsal = np.zeros((COUNT, 3))

    def add(
        self,
        bone: int,
        start: Float64[np.ndarray, "3"],
        end: Float64[np.ndarray, "3"],
        first: float,
        last: float,
        bulge: float,
        dorsal: Float64[np.ndarray, "3"],
    ) -> None:
        """Sets a bone's two ends, its radii there, and how much its middle bulges."""
        self._start[bone], self._end[bone], self._dorsal[bone] = start, end, dorsal
        self._radius[bone] = first, last - first + 4 * bulge, -4 * bulge

    def point(self, bone: int, share: float) -> Float64[np.ndarray, "3"]:
        """Returns the point at a share of the length along a bone."""
        return self._start[bone] + share * (self._end[bone] - self._start[bone])

    def finish(self, cuff: Float64[np.ndarray, "2 3"]) -> Bones:
        """Returns the collected bones, with the start of the sleeve."""
        frame = np.concatenate([np.zeros((1, 3)), np.eye(3)])
        parts = (self._start, self._end - self._start, self._radius, self._dorsal, cuff, frame)
        return Bones(*(part.astype(np.float32) for part in parts))


def _bend(
    along: Float64[np.ndarray, "3"], inner: Float64[np.ndarray, "3"], degrees: float
) -> tuple[Float64[np.ndarray, "3"], Float64[np.ndarray, "3"]]:
    """Rotates a bone's direction towards its inner side; returns both, rotated."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return c * along + s * inner, c * inner - s * along


def _finger(
    bones: _Builder, k: int, knuckle: Float64[np.ndarray, "3"], pose: Pose, person: Person
) -> None:
    angle = np.radians(pose.spread[k])
    along = np.array([np.sin(angle), np.cos(angle), 0.0])
    inner = np.array([0.0, 0.0, 1.0])
    radii = _RADII[k] * person.finger_width * (1 - person.taper * np.array([0, 0.2, 0.6, 1.0]))
    radii = radii * (1 + 0.04 * np.clip(pose.flexion[k, 1], 0, 100) / 100)
    start = knuckle
    for joint, bone in enumerate(FINGERS[k]):
        along, inner = _bend(along, inner, pose.flexion[k, joint])
        end = start + along * _PHALANGES[k, joint] * person.finger_length
        # Joints of a straight finger are thicker than the parts between them; in a bent one the
        # flesh between them bulges.
        bent = pose.flexion[k, min(joint + 1, 2)] / 100
        bulge = 0.04 if joint == 2 else 0.1 * bent - person.knuckle * (1 - bent)
        bones.add(bone, start, end, radii[joint], radii[joint + 1], bulge, -inner)
        start = end
    if k > 0:
        left, right = bones.point(FINGERS[k - 1][0], 0.22), bones.point(FINGERS[k][0], 0.24)
        bones.add(WEBS[k - 1], left, right, 0.62, 0.58, -0.12, np.array([0.0, 0.0, -1.0]))


def thumb_chain(
    angles: Float64[np.ndarray, "5"], person: Person
) -> tuple[Float64[np.ndarray, "4 3"], Float64[np.ndarray, "3 3"]]:
    """Returns the thumb's joints from base to tip, and each bone's unit vector to its inner side.

    Args:
        angles: As in `Pose.thumb`, in degrees.
        person: The person whose thumb it is.
    """
    away, out, roll = np.radians(angles[:3])
    along = np.array([np.sin(away) * np.cos(out), np.cos(away) * np.cos(out), np.sin(out)])
    across = along * along[0] - np.array([1.0, 0.0, 0.0])
    across /= np.sqrt(across @ across)
    forward = np.array(
        [
            along[1] * across[2] - along[2] * across[1],
            along[2] * across[0] - along[0] * across[2],
            along[0] * across[1] - along[1] * across[0],
        ]
    )
    inner = np.cos(roll) * across + np.sin(roll) * forward
    joints, sides = [_THUMB_BASE * np.array([person.palm_width, 1.0, 1.0])], []
    for length, bend in zip(_THUMB_BONES, (0.0, angles[3], angles[4]), strict=True):
        along, inner = _bend(along, inner, bend)
        joints.append(joints[-1] + along * length * person.finger_length)
        sides.append(inner)
    return np.array(joints), np.array(sides)


def thumb_radii(person: Person) -> Float64[np.ndarray, "4"]:
    """Returns the thumb's radius at its joints, from base to tip, in cm."""
    return _THUMB_RADII * person.finger_width * (1 - person.taper * np.array([0, 0, 0.4, 1.0]))


def _thumb(bones: _Builder, pose: Pose, person: Person) -> None:
    joints, sides = thumb_chain(pose.thumb, person)
    radii = thumb_radii(person)
    bulges = (0.26, -0.5 * person.knuckle, 0.06)
    for k, bone in enumerate((THENAR, *THUMB)):
        bones.add(bone, joints[k], joints[k + 1], radii[k], radii[k + 1], bulges[k], -sides[k])
    thumb, palm = bones.point(THENAR, 0.8), bones.point(METACARPALS[0], 0.62)
    bones.add(THUMB_WEB, thumb, palm, 0.8, 0.8, -0.25, np.array([0.0, 0.0, -1.0]))


def _forearm(bones: _Builder, pose: Pose, person: Person) -> Float64[np.ndarray, "3"]:
    """Adds radius and ulna; returns the direction to the elbow."""
    flexion, deviation = np.radians(pose.wrist)
    along = np.array(
        [np.sin(deviation) * np.cos(flexion), -np.cos(deviation) * np.cos(flexion), np.sin(flexion)]
    )
    side = np.cross(along, [0.0, 0.0, 1.0])
    side /= np.linalg.norm(side)
    back = np.cross(along, side)
    size = person.arm_width
    for bone, sign in zip(FOREARM, (1.0, -1.0), strict=True):
        wrist = sign * side * 1.2 * size + np.array([0.0, 0.4, 0.0])
        elbow = along * _ARM_LENGTH + sign * side * 1.9 * size
        bones.add(bone, wrist, elbow, 1.68 * size, 3.1 * size, 0.12, back)
    return along
