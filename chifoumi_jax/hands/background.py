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

# One point for each 2 x 2 pixels is enough, because the background is out of focus.
_STEP = 2
# The background is some distance away, so its shadows are softer than those on the hand, and
# they come from further away.
_SHARPNESS_FACTOR, _REACH = 0.35, 4.0
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
    image = blurred(picture, scene.backdrop.depth_blur * max(size) / 1000 / _STEP)
    full_size = image.resize((columns * _STEP, rows * _STEP), _BILINEAR)
    return np.asarray(full_size, np.float32)[: size[1], : size[0]] / 255


def _light(
    scene: Scene, x: Plane, y: Plane, lit: Plane, open_sky: Plane, rng: np.random.Generator
) -> Float32[np.ndarray, "height width 3"]:
    rig = scene.rig
    # The lamp is not at infinity, so the surface is brighter on the lamp's side.
    gradient = rng.uniform(0.0, 0.3) / max(float(np.ptp(x)), float(np.ptp(y)))
    falloff = 1 + np.float32(gradient) * (x * rig.direction[0] + y * rig.direction[1])
    facing = max(0.15, float(np.dot(rig.direction, scene.plane[1])))
    lamp = np.array(rig.colour, np.float32) * np.float32(facing)
    ambient = np.array(rig.sky, np.float32) * 0.5 + np.array(rig.ground, np.float32) * 0.5
    return (lit * falloff)[..., None] * lamp + open_sky[..., None] * ambient


def _coordinates(scene: Scene, size: Size) -> tuple[Plane, Plane]:
    """Returns the points where rays meet the surface, across and up from its middle, in cm."""
    points = _on_plane(directions(scene, size, _STEP), scene.plane)
    middle, normal = scene.plane
    across = np.cross([0.0, 1.0, 0.0], normal)
    across = (across / np.linalg.norm(across)).astype(np.float32)
    up = np.cross(normal, across)
    return _dot(across, points) - across @ middle, _dot(up, points) - up @ middle


def _dot(
    axis: Float32[np.ndarray, "3"], points: Float32[np.ndarray, "3 height width"]
) -> Float32[np.ndarray, "height width"]:
    return axis[0] * points[0] + axis[1] * points[1] + axis[2] * points[2]


def _on_plane(
    rays: Float32[np.ndarray, "3 height width"], plane: Float32[np.ndarray, "2 3"]
) -> Float32[np.ndarray, "3 height width"]:
    middle, normal = plane
    # Rays that point above the plane's horizon get an end point far away instead.
    return rays * (middle @ normal / np.minimum(_dot(normal, rays), np.float32(-0.1)))


def _shadow(scene: Scene, solid: Solid, size: Size) -> tuple[Plane, Plane]:
    """Returns how much of the main light and of the sky reaches squares of `_STEP` pixels."""
    points = _on_plane(directions(scene, size, COARSE), scene.plane)
    normal = np.broadcast_to(scene.plane[1][:, None], (3, points[0].size))
    light = jnp.asarray(scene.rig.direction, jnp.float32)
    sharpness = jnp.float32(_SHARPNESS_FACTOR * scene.rig.sharpness)
    lit, open_sky = on_device(
        lambda p: light_reaching(solid, p[:3], p[3:], light, sharpness, jnp.float32(_REACH)),
        np.concatenate([points.reshape(3, -1), normal]),
    )
    shape = points.shape[1:]
    return _enlarged(lit.reshape(shape)), _enlarged(open_sky.reshape(shape))


def _enlarged(coarse: Plane) -> Float32[np.ndarray, "rows columns"]:
    height, width = coarse.shape
    scale = COARSE // _STEP
    return np.asarray(Image.fromarray(coarse).resize((width * scale, height * scale), _BILINEAR))
