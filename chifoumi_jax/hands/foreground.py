"""Draws the hand and the sleeve."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float32

from chifoumi_jax.hands.colour import lab_to_linear, linear_to_srgb
from chifoumi_jax.hands.march import light_reaching, normals
from chifoumi_jax.hands.rays import Plane, Size, hits, on_device
from chifoumi_jax.hands.scene import Scene
from chifoumi_jax.hands.shade import Look, shade
from chifoumi_jax.hands.surface import Solid

# Shadows of fingers on the hand are softer than the light makes them, because it scatters in skin.
_SHARPNESS_FACTOR = 0.4
_UP = (0.0, 0.9, 0.44)


def draw_foreground(
    scene: Scene, solid: Solid, size: Size
) -> tuple[Float32[np.ndarray, "height width 3"], Plane]:
    """Returns hand and sleeve as sRGB in [0, 1], and the share of each pixel that they cover."""
    look = _look(scene)
    rays, points, cover = hits(scene, solid, size)
    (normal,) = on_device(lambda p: [normals(solid, p)], points)
    sharpness, reach = jnp.float32(_SHARPNESS_FACTOR * scene.rig.sharpness), jnp.float32(1)
    lit, open_sky = on_device(
        lambda p: light_reaching(solid, p[:3], p[3:], look.light, sharpness, reach),
        np.concatenate([points, normal]),
    )
    (linear,) = on_device(
        lambda p: [shade(solid, look, p[:3], p[3:6], p[6:9], p[9], p[10])],
        np.concatenate([rays, points, normal, lit[None], open_sky[None]]),
    )
    colour = np.zeros((*cover.shape, 3), np.float32)
    colour[cover > 0] = linear_to_srgb(linear.T * np.float32(scene.exposure))
    return colour, cover


def _look(scene: Scene) -> Look:
    person, rig = scene.person, scene.rig
    parts = (
        lab_to_linear(person.lab),
        lab_to_linear(person.palm_lab),
        lab_to_linear(scene.cloth or person.lab),
        person.ruddy,
        person.nail,
        person.tone,
        rig.direction,
        rig.colour,
        rig.sky,
        rig.ground,
        _UP,
    )
    return Look(*(jnp.asarray(part, jnp.float32) for part in parts))
