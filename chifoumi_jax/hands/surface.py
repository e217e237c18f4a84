"""The surface of hand and sleeve as a signed distance, a smooth union of tapered capsules."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float32

from chifoumi_jax.hands import skeleton

Points = tuple[Float32[Array, " points"], Float32[Array, " points"], Float32[Array, " points"]]
Distance = Float32[Array, " points"]


class Solid(NamedTuple):
    """Bones (see `skeleton.Bones`) in camera space, and the sleeve's folds."""

    start: Float32[Array, "bones 3"]
    along: Float32[Array, "bones 3"]
    radius: Float32[Array, "bones 3"]
    dorsal: Float32[Array, "bones 3"]
    cuff: Float32[Array, "2 3"]
    frame: Float32[Array, "4 3"]
    fold: Float32[Array, "4"]  # the sleeve's folds: amplitude, waves per cm, twist, phase


def share_along(solid: Solid, bone: int | Array, p: Points) -> tuple[Distance, Distance]:
    """Returns how far along a bone the nearest point is, in [0, 1], and the distance to it."""
    ax, ay, az = solid.start[bone]
    bx, by, bz = solid.along[bone]
    x, y, z = p[0] - ax, p[1] - ay, p[2] - az
    inverse = 1.0 / (bx * bx + by * by + bz * bz)
    h = jnp.clip((x * bx + y * by + z * bz) * inverse, 0.0, 1.0)
    x, y, z = x - h * bx, y - h * by, z - h * bz
    return h, jnp.sqrt(x * x + y * y + z * z)


def bone_distance(solid: Solid, bone: int, p: Points) -> Distance:
    """Returns the distance to one tapered capsule, in cm (only a bound where it tapers)."""
    h, distance = share_along(solid, bone, p)
    r0, r1, r2 = solid.radius[bone]
    return distance - (r0 + h * (r1 + h * r2))


def blend(a: Distance, b: Distance, width: float) -> Distance:
    """Returns the smooth minimum of two distances (Quilez' quadratic one)."""
    h = jnp.maximum(width - jnp.abs(a - b), 0.0)
    return jnp.minimum(a, b) - h * h * (0.25 / width)


def skin_distance(solid: Solid, p: Points) -> Distance:
    """Returns the signed distance to the skin, in cm.

    Fingers blend with the palm but hardly with each other, and their outer two bones hardly with
    anything, so that closed fingers keep the folds between them.
    """

    def bone(k: int) -> Distance:
        return bone_distance(solid, k, p)

    palm = bone(skeleton.METACARPALS[0])
    for k in skeleton.METACARPALS[1:]:
        palm = blend(palm, bone(k), 0.7)
    for k in (skeleton.THENAR, skeleton.HYPOTHENAR):
        palm = blend(palm, bone(k), 0.9)
    arm = blend(bone(skeleton.FOREARM[0]), bone(skeleton.FOREARM[1]), 1.6)
    palm = blend(palm, arm, 1.6)
    for k in (*skeleton.WEBS, skeleton.THUMB_WEB):
        palm = blend(palm, bone(k), 0.5)
    hand = palm
    for first, middle, last in skeleton.FINGERS:
        finger = blend(bone(middle), bone(last), 0.12)
        root = blend(palm, bone(first), 0.4)
        hand = blend(hand, blend(root, finger, 0.12), 0.05)
    thumb = blend(bone(skeleton.THUMB[0]), bone(skeleton.THUMB[1]), 0.15)
    root = blend(bone(skeleton.THENAR), bone(skeleton.THUMB[0]), 0.3)
    return blend(hand, blend(root, thumb, 0.05), 0.08)


def sleeve_distance(solid: Solid, p: Points) -> Distance:
    """Returns the signed distance to the sleeve, in cm; large if there is no sleeve."""
    (ax, ay, az), (bx, by, bz) = solid.cuff
    up_arm = (p[0] - ax) * bx + (p[1] - ay) * by + (p[2] - az) * bz
    amplitude, waves, twist, phase = solid.fold
    folds = jnp.sin(up_arm * waves + phase + twist * jnp.sin(p[0] * 0.7 + p[1] * 0.3))
    loose = jnp.clip(up_arm - 1.8, 0.0, 1.0)
    width = 0.55 + 0.03 * up_arm + loose * (amplitude * folds - 0.12)
    first, second = (bone_distance(solid, k, p) for k in skeleton.FOREARM)
    # The cloth is 3 mm thick and open at the cuff.
    cloth = jnp.abs(blend(first, second, 1.6) - width) - 0.15
    return jnp.maximum(cloth, -up_arm) * 0.9


def surface_distance(solid: Solid, p: Points) -> Distance:
    """Returns the signed distance to the nearer of skin and sleeve, in cm."""
    return jnp.minimum(skin_distance(solid, p), sleeve_distance(solid, p))
