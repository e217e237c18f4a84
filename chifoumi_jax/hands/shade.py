"""Colours of hand and sleeve: their materials, and how these reflect light."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float32

from chifoumi_jax.hands import skeleton
from chifoumi_jax.hands.march import Axis, Index, Scalar, Vectors, optimised
from chifoumi_jax.hands.surface import Distance, Points, Solid, share_along, sleeve_distance

_LAST = tuple(bones[-1] for bones in (*skeleton.FINGERS, skeleton.THUMB))
_SEGMENTS = tuple(bone for bones in (*skeleton.FINGERS, skeleton.THUMB) for bone in bones)
_BONES = (
    *_SEGMENTS,
    *skeleton.METACARPALS,
    skeleton.THENAR,
    skeleton.HYPOTHENAR,
    *skeleton.FOREARM,
)


class Look(NamedTuple):
    """Colours and lights, linear RGB."""

    skin: Float32[Array, "3"]
    palm: Float32[Array, "3"]
    cloth: Float32[Array, "3"]
    ruddy: Float32[Array, ""]
    nail: Float32[Array, ""]
    seed: Float32[Array, ""]
    light: Float32[Array, "3"]
    light_colour: Float32[Array, "3"]
    sky: Float32[Array, "3"]
    ground: Float32[Array, "3"]
    up: Float32[Array, "3"]


@optimised
def shade(
    solid: Solid,
    look: Look,
    directions: Vectors,
    points: Vectors,
    normal: Vectors,
    lit: Distance,
    open_sky: Distance,
) -> Float32[Array, "3 points"]:
    """Returns the linear RGB of points on the surface.

    Args:
        solid: The bones, in camera space.
        look: Colours and lights.
        directions: Unit directions from the camera.
        points: Points on the surface, in cm.
        normal: Unit normals at the points.
        lit: Share of the main light that reaches the points.
        open_sky: Share of the ambient light that reaches the points.
    """
    p, n = (points[0], points[1], points[2]), (normal[0], normal[1], normal[2])
    albedo, gloss, is_skin = _material(solid, look, p, n)
    return _reflected_light(look, directions, n, albedo, gloss, is_skin, lit, open_sky)


def _smoothstep(low: float, high: float, x: Distance) -> Distance:
    s = jnp.clip((x - low) / (high - low), 0.0, 1.0)
    return s * s * (3.0 - 2.0 * s)


def _dot(a: Points, b: Points | Axis) -> Distance:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


class _PointFeatures(NamedTuple):
    """Properties of a point, averaged over the bones near it.

    Attributes:
        inward: How far it faces to the palm's side, in [-1, 1].
        crease: Depth of the skin's crease at the point, in [0, 1].
        joint: How near a finger's joint it is, in [0, 1].
        finger: How much it belongs to a finger, in [0, 1].
        nail: How much it belongs to a nail, in [0, 1].
    """

    inward: Distance
    crease: Distance
    joint: Distance
    finger: Distance
    nail: Distance


def _point_features(solid: Solid, look: Look, p: Points, normal: Points) -> _PointFeatures:
    def measure(bone: Index) -> tuple[Distance, Distance, Distance]:
        h, distance = share_along(solid, bone, p)
        r0, r1, r2 = solid.radius[bone]
        near = jnp.exp(-8.0 * jnp.maximum(distance - (r0 + h * (r1 + h * r2)), 0.0))
        x, y, z = solid.dorsal[bone]
        return near, h * jnp.sqrt(jnp.sum(solid.along[bone] ** 2)), _dot(normal, (x, y, z))

    near, along, back = jax.lax.map(measure, jnp.array(_BONES))
    near = near / (near.sum(axis=0) + 1e-6)
    nails = [
        near[_BONES.index(bone)] * _nail(solid, look, bone, p, back[_BONES.index(bone)])
        for bone in _LAST
    ]
    inward = -(near * back).sum(axis=0)
    near, along, back = (rows[: len(_SEGMENTS)] for rows in (near, along, back))
    fold = jnp.exp(-(((along - 0.06) / 0.07) ** 2))
    wrinkle = 0.55 * fold + 0.33 * jnp.exp(-(((along - 0.3) / 0.06) ** 2))
    return _PointFeatures(
        inward=inward,
        crease=(near * jnp.where(back < 0.0, fold, wrinkle) * jnp.abs(back)).sum(axis=0),
        joint=(near * jnp.exp(-((along / 0.7) ** 2))).sum(axis=0),
        finger=near.sum(axis=0),
        nail=sum(nails[1:], nails[0]),
    )


def _material(
    solid: Solid, look: Look, p: Points, normal: Points
) -> tuple[Points, Distance, Distance]:
    """Returns the albedo, the gloss and the share of skin of points on the surface."""
    is_skin = _smoothstep(0.04, 0.09, sleeve_distance(solid, p))
    features = _point_features(solid, look, p, normal)
    palmar = _smoothstep(-0.25, 0.55, features.inward)
    local = _in_hand(solid, p)
    mottle = _mottle(local, look.seed)
    crease = features.crease + palmar * _palm_lines(local) * (1.0 - features.finger)
    # The palm's own colour ends at the wrist.
    palmar = palmar * _smoothstep(-0.9, 0.7, local[1])
    ruddy = look.ruddy * (features.joint * (0.35 + 0.3 * (1.0 - palmar)) + 0.12 * mottle)
    shade = (1.0 - 0.3 * crease) * (1.0 + 0.06 * mottle)
    nail = features.nail * is_skin
    # The skin around a nail is raised and shades it.
    nail_fold = 4.0 * nail * (1.0 - nail)
    albedo = []
    for k, (red, nail_tint) in enumerate(
        zip((0.04, -0.28, -0.22), (0.12, 0.05, 0.06), strict=True)
    ):
        tone = look.skin[k] + (look.palm[k] - look.skin[k]) * palmar
        tone = tone * (1.0 + ruddy * red) * shade
        tone = tone + nail * (0.6 * (look.palm[k] + nail_tint) + 0.35 * look.skin[k] - tone)
        tone = tone * (1.0 - 0.3 * nail_fold)
        cloth = look.cloth[k] * (1.0 + 0.1 * mottle)
        albedo.append(cloth + is_skin * (tone - cloth))
    gloss = is_skin * (0.25 + 0.6 * nail)
    return (albedo[0], albedo[1], albedo[2]), gloss, is_skin


def _nail(solid: Solid, look: Look, bone: int, p: Points, back: Distance) -> Distance:
    """Returns how much points belong to the nail of a finger's last bone, in [0, 1]."""
    start, along, dorsal = solid.start[bone], solid.along[bone], solid.dorsal[bone]
    side = jnp.cross(along, dorsal)
    side = side / jnp.sqrt(jnp.sum(side**2))
    length = jnp.sqrt(jnp.sum(along**2))
    local = (p[0] - start[0], p[1] - start[1], p[2] - start[2])
    radius = jnp.sum(solid.radius[bone])
    x = _dot(local, (side[0], side[1], side[2])) / (0.78 * radius)
    axis = along / length
    y = _dot(local, (axis[0], axis[1], axis[2])) - length
    # The nail runs from the cuticle, 0.9 radii before the bone's end, nearly to the tip.
    y = (y + 0.15 * radius) / ((0.8 + look.nail) * radius)
    inside = 1.0 - (x * x * x * x + y * y * y * y)
    return _smoothstep(0.0, 0.25, inside) * _smoothstep(0.2, 0.45, back)


def _in_hand(solid: Solid, p: Points) -> Points:
    """Returns points in the hand's own frame; see `skeleton`."""
    offset = tuple(x - origin for x, origin in zip(p, solid.frame[0], strict=True))
    x, y, z = (
        axis[0] * offset[0] + axis[1] * offset[1] + axis[2] * offset[2] for axis in solid.frame[1:]
    )
    return x, y, z


def _palm_lines(local: Points) -> Distance:
    """Returns how near points are to the lines of the palm and the wrist, in [0, 1]."""
    x, y, _ = local
    wobble = 0.05 * jnp.sin(3.0 * x + 2.0 * jnp.sin(2.1 * y))
    heart = jnp.where(x < 1.7, y - 6.2 - 0.06 * (x + 3.6) ** 2, 9.0)
    head = jnp.where((x > -2.6) & (x < 3.4), 0.95 * (y - 5.0 - 0.36 * x - 0.02 * x * x), 9.0)
    life = jnp.where((y > 0.6) & (y < 6.7) & (x < 3.4), jnp.hypot(x - 4.6, y - 2.6) - 4.2, 9.0)
    wrist = y - 0.25
    lines = ((heart, 0.10), (head, 0.08), (life, 0.10), (wrist, 0.07), (wrist + 0.65, 0.06))
    depth = jnp.zeros_like(x)
    for line, width in lines:
        depth = depth + 0.4 * jnp.exp(-(((line + wobble) / width) ** 2))
    return depth


def _mottle(p: Points, seed: Scalar) -> Distance:
    """Returns a smooth irregular pattern, about in [-1, 1]."""
    x, y, z = p[0] + seed, p[1] - seed, p[2] + 0.5 * seed
    slow = jnp.sin(0.9 * x + 1.3 * jnp.sin(0.8 * y + z)) * jnp.sin(1.1 * y + jnp.sin(1.2 * x - z))
    fast = jnp.sin(4.1 * x + 2.0 * jnp.sin(3.7 * y + z)) * jnp.sin(4.7 * y + 2.0 * jnp.sin(3.1 * x))
    return 0.65 * slow + 0.35 * fast


def _reflected_light(
    look: Look,
    directions: Vectors,
    normal: Points,
    albedo: Points,
    gloss: Distance,
    is_skin: Distance,
    lit: Distance,
    open_sky: Distance,
) -> Float32[Array, "3 points"]:
    """Returns linear RGB: wrapped diffuse light, sky, and a faint reflection."""
    to_light = (look.light[0], look.light[1], look.light[2])
    facing = _dot(normal, to_light)
    above = 0.5 + 0.5 * _dot(normal, (look.up[0], look.up[1], look.up[2]))
    view = (-directions[0], -directions[1], -directions[2])
    half = view[0] + to_light[0], view[1] + to_light[1], view[2] + to_light[2]
    scale = jax.lax.rsqrt(_dot(half, half) + 1e-9)
    shine = jnp.maximum(_dot(normal, half) * scale, 0.0)
    rim = (1.0 - jnp.clip(_dot(normal, view), 0.0, 1.0)) ** 4
    reflection = gloss * (0.22 * shine**24 * lit + 0.1 * rim * open_sky)
    colours = []
    for k, wrap in enumerate((0.32, 0.16, 0.1)):
        # Light scattered under the skin reaches beyond the shadow's edge, red light furthest.
        scatter = wrap * is_skin
        diffuse = jnp.maximum((facing + scatter) / (1.0 + scatter), 0.0)
        soft = lit + (1.0 - lit) * 0.25 * scatter
        ambient = look.ground[k] + (look.sky[k] - look.ground[k]) * above
        bounce = open_sky + (1.0 - open_sky) * albedo[k] * 0.6
        light = look.light_colour[k] * diffuse * soft + ambient * bounce
        colours.append(albedo[k] * light + reflection * (look.light_colour[k] + look.sky[k]) * 0.5)
    return jnp.stack(colours)
