"""Camera rays, and the points where they meet the hand."""

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

# One cone of rays is traced for each square of 4 x 4 pixels.
COARSE = 4
# Points go to the device in chunks of one size, so that pictures of all sizes share a program.
_CHUNK = 4096
# Rounds of `march.STEPS` steps for a ray and for a cone.
_RAY_ROUNDS, _CONE_ROUNDS = 5, 2


class Hits(NamedTuple):
    """Pixels that show the hand or the sleeve.

    Attributes:
        rays: Unit directions from the camera.
        points: Points where the rays meet the surface, in cm.
        cover: Share of every pixel of the picture that the surface covers, in [0, 1].
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
    """Applies a jitted function of points to chunks of one size; the last chunk is padded.

    The function slices rows of a chunk while it is a NumPy array. On the device each slice would be
    a separate operation: together they take a tenth of a picture's time on two cores, and they hold
    Python's lock.
    """
    count = values.shape[1]
    padded = np.pad(values, ((0, 0), (0, -count % _CHUNK)), mode="edge")
    chunks = (padded[:, k : k + _CHUNK] for k in range(0, padded.shape[1], _CHUNK))
    # All chunks are dispatched before the first result is awaited.
    parts = [tuple(function(chunk)) for chunk in chunks]
    joined = (
        np.concatenate([*map(np.asarray, part)], axis=-1) for part in zip(*parts, strict=True)
    )
    return tuple(part[..., :count] for part in joined)


def hits(scene: Scene, solid: Solid, size: Size) -> Hits:
    """Marches the rays of every pixel; some hit, because the hand is always in the picture."""
    width, height = size
    pixel = 1 / (scene.focal * height)
    start, may_hit = _march_cones(scene, solid, size)
    rays = directions(scene, size, 1)[:, may_hit]
    state = _initial_state(start)[:, may_hit]
    active = np.arange(state.shape[1])
    for _ in range(_RAY_ROUNDS):
        state[:, active] = _march_in_chunks(solid, rays[:, active], 0.0, state[:, active])
        t, gap = state[0, active], state[1, active]
        active = active[(gap > 0.2 * pixel * t) & (t < _far_distance(scene))]
        if not active.size:
            break
    t, gap, nearest, best = state
    is_hit = gap < 2 * pixel * t
    # A ray that passes within a pixel of the surface counts in part, which smooths the outline.
    share = np.where(is_hit, 1.0, np.clip(1 - nearest / pixel, 0, 1)).astype(np.float32)
    cover = np.zeros((height, width), np.float32)
    cover[may_hit] = share
    is_visible = share > 0
    return Hits(
        rays[:, is_visible], rays[:, is_visible] * np.where(is_hit, t, best)[is_visible], cover
    )


def _initial_state(distance: Float32[np.ndarray, "..."]) -> Float32[np.ndarray, "4 ..."]:
    """Returns the initial state of `March` for rays at this distance from the camera."""
    return np.stack([distance, np.ones_like(distance), np.full_like(distance, 1e3), distance])


def _far_distance(scene: Scene) -> float:
    """Returns the distance, in cm, beyond which a ray meets only the backdrop."""
    ends = np.concatenate([scene.bones.start, scene.bones.start + scene.bones.along])
    return float(np.linalg.norm(ends, axis=1).max()) + 8.0


def _near_distance(scene: Scene) -> float:
    """Returns the distance, in cm, up to which a ray meets nothing."""
    ends = np.concatenate([scene.bones.start, scene.bones.start + scene.bones.along])
    return max(1.0, -float(ends[:, 2].max()) - 8.0)


def _march_in_chunks(
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


def _march_cones(
    scene: Scene, solid: Solid, size: Size
) -> tuple[Plane, Bool[np.ndarray, "height width"]]:
    """Returns how far each pixel's ray certainly meets nothing, and which rays may hit."""
    width, height = size
    rays = directions(scene, size, COARSE)
    cone = (0.71 * COARSE + 1) / (scene.focal * height)
    state = _initial_state(np.full(rays[0].size, _near_distance(scene), np.float32))
    for _ in range(_CONE_ROUNDS):
        state = _march_in_chunks(solid, rays.reshape(3, -1), cone, state)
    coarse = state[0].reshape(rays.shape[1:])
    start = np.repeat(np.repeat(coarse, COARSE, 0), COARSE, 1)[:height, :width]
    return start, start < _far_distance(scene)
