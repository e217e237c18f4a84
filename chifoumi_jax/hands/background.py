"""Draws the surface behind the hand, with the hand's shadow on it."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float32
from PIL import Image

from chifoumi_jax.hands.backdrop import paint
from chifoumi_jax.hands.blur import blurred
from chifoumi_jax.hands.colour import linear_to_srgb
from chifoumi_jax.hands.march import light_reaching
from chifoumi_jax.hands.rays import COARSE, Plane, Size, directions, on_device
from chifoumi_jax.hands.scene import Scene
from chifoumi_jax.hands.surface import Solid

# It is out of focus, so one point in 2 x 2 is enough.
_SOFT = 2
# A surface at some distance gets softer shadows than the hand does, from further away.
_SOFTER, _REACH = 0.35, 4.0
_BILINEAR = Image.Resampling.BILINEAR


def draw_background(
    scene: Scene, solid: Solid, split: str, size: Size, rng: np.random.Generator
) -> Float32[np.ndarray, "height width 3"]:
    """Returns the background in sRGB, in [0, 1]."""
    x, y = _coordinates(scene, size)
    albedo = paint(scene.backdrop, split, x, y, rng, scene.variety)
    lit, open_sky = _shadow(scene, solid, size)
    rows, columns = x.shape
    light = _light(scene, x, y, lit[:rows, :columns], open_sky[:rows, :columns], rng)
    picture = linear_to_srgb(albedo * light * np.float32(scene.exposure))
    image = blurred(picture, scene.backdrop.depth_blur * max(size) / 1000 / _SOFT)
    whole = image.resize((columns * _SOFT, rows * _SOFT), _BILINEAR)
    return np.asarray(whole, np.float32)[: size[1], : size[0]] / 255


def _light(
    scene: Scene, x: Plane, y: Plane, lit: Plane, open_sky: Plane, rng: np.random.Generator
) -> Float32[np.ndarray, "height width 3"]:
    rig = scene.rig
    # The lamp is not at infinity: the surface is brighter on its side.
    fall = rng.uniform(0.0, 0.3) / max(float(np.ptp(x)), float(np.ptp(y)))
    falloff = 1 + np.float32(fall) * (x * rig.direction[0] + y * rig.direction[1])
    facing = max(0.15, float(np.dot(rig.direction, scene.plane[1])))
    lamp = np.array(rig.colour, np.float32) * np.float32(facing)
    around = np.array(rig.sky, np.float32) * 0.5 + np.array(rig.ground, np.float32) * 0.5
    return (lit * falloff)[..., None] * lamp + open_sky[..., None] * around


def _coordinates(scene: Scene, size: Size) -> tuple[Plane, Plane]:
    """Returns where on the surface the rays end, across and up from its middle, in cm."""
    points = _on_plane(directions(scene, size, _SOFT), scene.plane)
    middle, normal = scene.plane
    across = np.cross([0.0, 1.0, 0.0], normal)
    across = (across / np.linalg.norm(across)).astype(np.float32)
    up = np.cross(normal, across)
    return _along(across, points) - across @ middle, _along(up, points) - up @ middle


def _along(
    axis: Float32[np.ndarray, "3"], points: Float32[np.ndarray, "3 height width"]
) -> Float32[np.ndarray, "height width"]:
    return axis[0] * points[0] + axis[1] * points[1] + axis[2] * points[2]


def _on_plane(
    rays: Float32[np.ndarray, "3 height width"], plane: Float32[np.ndarray, "2 3"]
) -> Float32[np.ndarray, "3 height width"]:
    middle, normal = plane
    # Rays that would pass the horizon end far away instead.
    return rays * (middle @ normal / np.minimum(_along(normal, rays), np.float32(-0.1)))


def _shadow(scene: Scene, solid: Solid, size: Size) -> tuple[Plane, Plane]:
    """Returns how much of the main light and of the sky reaches squares of `_SOFT` pixels."""
    points = _on_plane(directions(scene, size, COARSE), scene.plane)
    normal = np.broadcast_to(scene.plane[1][:, None], (3, points[0].size))
    light = jnp.asarray(scene.rig.direction, jnp.float32)
    sharpness = jnp.float32(_SOFTER * scene.rig.sharpness)
    lit, open_sky = on_device(
        lambda p: light_reaching(solid, p[:3], p[3:], light, sharpness, jnp.float32(_REACH)),
        np.concatenate([points.reshape(3, -1), normal]),
    )
    shape = points.shape[1:]
    return _enlarged(lit.reshape(shape)), _enlarged(open_sky.reshape(shape))


def _enlarged(coarse: Plane) -> Float32[np.ndarray, "rows columns"]:
    height, width = coarse.shape
    scale = COARSE // _SOFT
    return np.asarray(Image.fromarray(coarse).resize((width * scale, height * scale), _BILINEAR))
