"""Samples the content of a picture from a seed: person, hand, view, light and backdrop."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64

from chifoumi_jax.hands import skeleton
from chifoumi_jax.hands.backdrop import Backdrop, sample_backdrop
from chifoumi_jax.hands.grip import close_thumb
from chifoumi_jax.hands.light import Rig, rigs
from chifoumi_jax.hands.people import SPLITS, Person, people
from chifoumi_jax.hands.pose import Pose, sample_pose
from chifoumi_jax.hands.skeleton import Bones
from chifoumi_jax.hands.variety import VARIETY, Variety

# Smallest distance between camera and hand, in cm: a hand's width.
_NEAREST = 8.0


@dataclass(frozen=True)
class Scene:
    """A picture before it is drawn, in camera space: right, up, towards the viewer, in cm.

    Attributes:
        person: Whose hand it is.
        side: "left" or "right".
        face: Side of the hand that faces the camera, "palm" or "back".
        pose: Joint angles.
        bones: The hand in camera space.
        focal: Focal length as a share of the picture's height.
        rig: The lights.
        backdrop: The background.
        plane: A point of the backdrop, and its normal.
        cloth: CIE L*a*b* of the sleeve, None for a bare arm.
        folds: Folds of the sleeve; see `surface.Solid`.
        exposure: Factor on the light.
        variety: The ranges that it was sampled from.
    """

    person: Person
    side: str
    face: str
    pose: Pose
    bones: Bones
    focal: float
    rig: Rig
    backdrop: Backdrop
    plane: Float32[np.ndarray, "2 3"]
    cloth: tuple[float, float, float] | None
    folds: Float32[np.ndarray, "4"]
    exposure: float
    variety: Variety


def sample_scene(
    gesture: str,
    split: str,
    aspect: float,
    rng: np.random.Generator,
    variety: Variety = VARIETY,
) -> Scene:
    """Samples a scene of `gesture` with a split's people, lights and backdrops.

    Gestures sampled from generators with the same state differ in the pose alone, as if one person
    photographed all three. Nothing else in the picture reveals the gesture.

    Args:
        gesture: One of `GESTURES`.
        split: "train" or "test".
        aspect: Width of the picture divided by its height.
        rng: Source of all the scene's randomness.
        variety: The ranges to sample from.
    """
    person = people(split)[rng.integers(len(people(split)))]
    rig = rigs(split)[rng.integers(len(rigs(split)))]
    side, face = str(rng.choice(["left", "right"])), str(rng.choice(["palm", "back"]))
    pose = close_thumb(sample_pose(gesture, rng.spawn(1)[0], variety), person)
    bare = rng.uniform() < variety.bare_share
    sleeve = None if bare else float(rng.uniform(2.5, 9.0))
    bones = skeleton.hand_bones(pose, person, sleeve)
    hand = _rotated(bones, _hand_rotation(side, face, rng, variety), side)
    focal = 0.5 / float(np.tan(np.radians(rng.uniform(*variety.field_of_view)) / 2))
    hand = _placed_in_frame(hand, gesture, focal, aspect, rng, variety)
    # An arm that points at the camera cannot always be moved into the frame.
    while not _is_in_frame(hand, focal, aspect):
        hand = _rotated(bones, _hand_rotation(side, face, rng, variety), side)
        hand = _placed_in_frame(hand, gesture, focal, aspect, rng, variety)
    skin = person.palm_lab if face == "palm" else person.lab
    backdrop = sample_backdrop(split, skin[0], rng, variety)
    return Scene(
        person=person,
        side=side,
        face=face,
        pose=pose,
        bones=hand,
        focal=focal,
        rig=rig,
        backdrop=backdrop,
        plane=_background_plane(hand, rng, variety),
        cloth=None if bare else _sleeve_colour(split, backdrop, rng),
        folds=rng.uniform((0.05, 1.2, 0.0, 0.0), (0.3, 3.0, 2.0, 6.0)).astype(np.float32),
        exposure=_exposure(skin[0], backdrop.lab[0], rng, variety),
        variety=variety,
    )


def _rotation(axis: int, degrees: float) -> Float64[np.ndarray, "3 3"]:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    matrix = np.eye(3)
    i, j = (axis + 1) % 3, (axis + 2) % 3
    matrix[[i, j], [i, j]] = c
    matrix[i, j], matrix[j, i] = -s, s
    return matrix


def _hand_rotation(
    side: str, face: str, rng: np.random.Generator, variety: Variety
) -> Float64[np.ndarray, "3 3"]:
    """Returns the rotation from the hand's frame to the camera's."""
    largest = np.array([variety.pitch, variety.yaw])
    pitch, yaw = rng.uniform(-largest, largest)
    roll = rng.uniform(-variety.arm_angle, variety.arm_angle)
    if rng.uniform() < variety.corner_share:
        roll = rng.choice([-1.0, 1.0]) * rng.uniform(*variety.corner_angle)
    turn = 180.0 if face == "back" else 0.0
    return _rotation(2, roll) @ _rotation(0, pitch) @ _rotation(1, yaw + turn)


def _rotated(bones: Bones, rotation: Float64[np.ndarray, "3 3"], side: str) -> Bones:
    mirror = np.diag([-1.0 if side == "left" else 1.0, 1.0, 1.0])
    matrix = (rotation @ mirror).astype(np.float32)
    return bones._replace(
        start=bones.start @ matrix.T,
        along=bones.along @ matrix.T,
        dorsal=bones.dorsal @ matrix.T,
        cuff=bones.cuff @ matrix.T,
        frame=bones.frame @ matrix.T,
    )


def _bounds(bones: Bones, focal: float) -> tuple[Float32[np.ndarray, "2"], ...]:
    """Returns the smallest and largest picture coordinates of the hand, in picture heights."""
    hand = list(skeleton.HAND)
    start, radius = bones.start[hand], bones.radius[hand]
    ends = np.concatenate([start, start + bones.along[hand]])
    radii = np.concatenate([radius[:, 0], radius.sum(axis=1)])
    scale = focal / -ends[:, 2:]
    middle, reach = ends[:, :2] * scale, radii[:, None] * scale
    return (middle - reach).min(axis=0), (middle + reach).max(axis=0)


def _placed_in_frame(
    bones: Bones,
    gesture: str,
    focal: float,
    aspect: float,
    rng: np.random.Generator,
    variety: Variety,
) -> Bones:
    """Moves the hand away from the camera until it has its size and place in the picture."""
    height, width = rng.uniform(*dict(variety.height)[gesture]), dict(variety.width)[gesture]
    place = rng.uniform(-variety.centre, variety.centre, 2) * np.array([aspect, 1.0])
    # A palm's length at that size is a good first guess; some iterations correct for perspective.
    shift = np.array([0.0, -7.0, -18.0 * focal / height])
    for _ in range(6):
        low, high = _bounds(_translated(bones, shift), focal)
        size = high - low
        grow = max(size[1] / height, size[0] / (width * aspect))
        middle = 0.5 * (low + high)
        # Horizontally, people centre the palm as much as the whole hand with its thumb.
        knuckle = bones.start[skeleton.FINGERS[1][0]] + shift
        middle[0] = 0.5 * middle[0] + 0.5 * knuckle[0] * focal / -knuckle[2]
        shift[:2] -= (middle - place) * -shift[2] / focal
        shift[2] *= grow
    return _translated(bones, shift)


def _is_in_frame(bones: Bones, focal: float, aspect: float) -> bool:
    low, high = _bounds(bones, focal)
    half = 0.5 * np.array([aspect, 1.0])
    nearest = bones.start[list(skeleton.HAND), 2].max()
    return bool(nearest < -_NEAREST and (low > -1.2 * half).all() and (high < 1.2 * half).all())


def _translated(bones: Bones, shift: Float64[np.ndarray, "3"]) -> Bones:
    shift = shift.astype(np.float32)
    cuff, frame = bones.cuff.copy(), bones.frame.copy()
    cuff[0] += shift
    frame[0] += shift
    return bones._replace(start=bones.start + shift, cuff=cuff, frame=frame)


def moved_out_of_view(bones: Bones) -> Bones:
    """Returns the hand so far away that it casts no shadow into the picture."""
    return _translated(bones, np.array([1e4, 0.0, 0.0]))


def _background_plane(
    bones: Bones, rng: np.random.Generator, variety: Variety
) -> Float32[np.ndarray, "2 3"]:
    """Returns a point and the normal of a plane behind the hand and the near part of the arm."""
    tilt = np.radians(rng.uniform(-16, 16, 2))
    normal = np.array([np.sin(tilt[0]), np.sin(tilt[1]), 1.0])
    normal /= np.linalg.norm(normal)
    hand = [*skeleton.HAND, *skeleton.FOREARM]
    ends = np.concatenate(
        [bones.start[hand], bones.start[hand] + bones.along[hand] * np.float32(0.6)]
    )
    lowest = float((ends @ normal).min()) - 3.5
    level = lowest - rng.uniform(*variety.distance)
    middle = np.array([0.0, 0.0, level / normal[2]])
    return np.stack([middle, normal]).astype(np.float32)


def _sleeve_colour(
    split: str, backdrop: Backdrop, rng: np.random.Generator
) -> tuple[float, float, float]:
    """Samples a sleeve's colour near the backdrop's, not the skin's; hues alternate by split."""
    offset = rng.choice([-1.0, 1.0]) * rng.uniform(5, 16)
    lightness = float(np.clip(backdrop.lab[0] + offset, 6, 94))
    hue = np.radians(30.0 * rng.integers(12) + 15.0 * SPLITS.index(split))
    chroma = rng.uniform(0, 26) * min(1.0, lightness / 30)
    return lightness, chroma * float(np.cos(hue)), chroma * float(np.sin(hue))


def _exposure(skin: float, backdrop: float, rng: np.random.Generator, variety: Variety) -> float:
    """Returns the exposure that a camera would choose for these lightnesses, with its error."""
    skin, backdrop = (((lightness + 16) / 116) ** 3 for lightness in (skin, backdrop))
    # A camera brightens dark scenes only partly, so dark skin stays dark in the picture.
    automatic = (0.26 / (0.6 * skin + 0.4 * backdrop)) ** 0.14
    return automatic * 2.0 ** float(rng.uniform(-variety.exposure, variety.exposure))
