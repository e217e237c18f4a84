"""The camera's rays, and what of the hand they meet."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float32

from chifoumi_jax.hands.march import March, march
from chifoumi_jax.hands.scene import Scene
from chifoumi_jax.hands.surface import Solid

Plane = Float32[np.ndarray, "height width"]
Size = tuple[int, int]

# Cones of rays are traced at one point in 4 x 4.
COARSE = 4
# Points go to the device in pieces of one size, so that every picture size compiles once.
_CHUNK = 4096
# A ray gets this many times `march.STEPS` steps, a cone so many.
_RAY_ROUNDS, _CONE_ROUNDS = 5, 2


class Hits(NamedTuple):
    """The pixels that see hand or sleeve.

    Attributes:
        rays: Unit directions from the camera.
        points: Where they meet the surface, in cm.
        cover: How much of every pixel of the picture the surface covers, in [0, 1].
    """

    rays: Float32[np.ndarray, "3 hits"]
    points: Float32[np.ndarray, "3 hits"]
    cover: Plane


def directions(scene: Scene, size: Size, step: int) -> Float32[np.ndarray, "3 rows columns"]:
    """Returns unit vectors from the camera through the middles of squares of `step` pixels."""
    width, height = size
    focal = scene.focal * height
    across = (np.arange(0, width, step, dtype=np.float32) + 0.5 * step - 0.5 * width) / focal
    up = (0.5 * height - np.arange(0, height, step, dtype=np.float32) - 0.5 * step) / focal
    x, y = np.meshgrid(across.astype(np.float32), up.astype(np.float32))
    return np.stack([x, y, -np.ones_like(x)]) / np.sqrt(x * x + y * y + 1)


def on_device(
    function: Callable[[Float32[np.ndarray, "rows chunk"]], Iterable[jax.Array]],
    values: Float32[np.ndarray, "rows count"],
) -> tuple[Float32[np.ndarray, "... count"], ...]:
    """Applies a jitted function of points to chunks of one size; the last is filled up.

    The function takes rows of a chunk while it is NumPy's. On the device each would be an operation
    of its own: together a tenth of a picture's time on two cores, and under Python's lock.
    """
    count = values.shape[1]
    padded = np.pad(values, ((0, 0), (0, -count % _CHUNK)), mode="edge")
    chunks = (padded[:, k : k + _CHUNK] for k in range(0, padded.shape[1], _CHUNK))
    # All are sent before the first is waited for.
    parts = [tuple(function(chunk)) for chunk in chunks]
    whole = (np.concatenate([*map(np.asarray, part)], axis=-1) for part in zip(*parts, strict=True))
    return tuple(part[..., :count] for part in whole)


def hits(scene: Scene, solid: Solid, size: Size) -> Hits:
    """Marches the rays of every pixel; the hand is always in the picture, so some meet it."""
    width, height = size
    pixel = 1 / (scene.focal * height)
    start, near = _approach(scene, solid, size)
    rays = directions(scene, size, 1)[:, near]
    state = _at(start)[:, near]
    going = np.arange(state.shape[1])
    for _ in range(_RAY_ROUNDS):
        state[:, going] = _marched(solid, rays[:, going], 0.0, state[:, going])
        t, gap = state[0, going], state[1, going]
        going = going[(gap > 0.2 * pixel * t) & (t < _far(scene))]
        if not going.size:
            break
    t, gap, nearest, best = state
    met = gap < 2 * pixel * t
    # A ray that passes within a pixel of the surface sees a part of it: smooth outlines.
    share = np.where(met, 1.0, np.clip(1 - nearest / pixel, 0, 1)).astype(np.float32)
    cover = np.zeros((height, width), np.float32)
    cover[near] = share
    seen = share > 0
    return Hits(rays[:, seen], rays[:, seen] * np.where(met, t, best)[seen], cover)


def _at(distance: Float32[np.ndarray, "..."]) -> Float32[np.ndarray, "4 ..."]:
    """Returns the state of `March` for rays that are so far from the camera."""
    return np.stack([distance, np.ones_like(distance), np.full_like(distance, 1e3), distance])


def _far(scene: Scene) -> float:
    """Returns the distance, in cm, past which a ray meets nothing but the backdrop."""
    ends = np.concatenate([scene.bones.start, scene.bones.start + scene.bones.along])
    return float(np.linalg.norm(ends, axis=1).max()) + 8.0


def _near(scene: Scene) -> float:
    """Returns the distance, in cm, up to which a ray meets nothing."""
    ends = np.concatenate([scene.bones.start, scene.bones.start + scene.bones.along])
    return max(1.0, -float(ends[:, 2].max()) - 8.0)


def _marched(
    solid: Solid,
    rays: Float32[np.ndarray, "3 count"],
    cone: float,
    state: Float32[np.ndarray, "4 count"],
) -> Float32[np.ndarray, "4 count"]:
    width = jnp.float32(cone)
    return np.stack(
        on_device(
            lambda p: march(solid, p[:3], width, March(p[3], p[4], p[5], p[6])),
            np.concatenate([rays, state]),
        )
    )


def _approach(
    scene: Scene, solid: Solid, size: Size
) -> tuple[Plane, Bool[np.ndarray, "height width"]]:
    """Returns how far every pixel's ray is surely free, and which may meet something."""
    width, height = size
    rays = directions(scene, size, COARSE)
    cone = (0.71 * COARSE + 1) / (scene.focal * height)
    state = _at(np.full(rays[0].size, _near(scene), np.float32))
    for _ in range(_CONE_ROUNDS):
        state = _marched(solid, rays.reshape(3, -1), cone, state)
    coarse = state[0].reshape(rays.shape[1:])
    start = np.repeat(np.repeat(coarse, COARSE, 0), COARSE, 1)[:height, :width]
    return start, start < _far(scene)
