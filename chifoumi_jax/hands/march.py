"""Marches rays through space to the surface (sphere tracing, Hart 1996)."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float32, Int32

from chifoumi_jax.hands.surface import Distance, Points, Solid, surface_distance

Vectors = Float32[Array, "3 points"]
Scalar = Float32[Array, ""]
Index = Int32[Array, ""]
Axis = tuple[Scalar, Scalar, Scalar]

# A fixed level, whatever XLA_FLAGS set for other programs: without LLVM's optimisation results are
# rounded differently, which changes the picture of a seed, and drawing takes five times as long.
optimised = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 3})

STEPS = 10
# Heights along the normal, in cm, where the surroundings are sampled for occlusion; their weights.
_HEIGHTS = (0.25, 0.7, 1.6)
_WEIGHTS = (0.4, 0.4, 0.35)
_SHADOW_STEPS = 10


class March(NamedTuple):
    """State of rays that are being marched.

    Attributes:
        t: Distance that each ray has travelled, in cm.
        gap: Distance to the surface at its last step, in cm.
        nearest: Smallest angle by which it has missed the surface so far, in radians.
        best: Distance along the ray where that angle was smallest, in cm.
    """

    t: Distance
    gap: Distance
    nearest: Distance
    best: Distance


def moved(p: Points, by: Points | Axis, t: Distance | Scalar | float) -> Points:
    """Returns points moved by `t` times a direction."""
    return p[0] + by[0] * t, p[1] + by[1] * t, p[2] + by[2] * t


@optimised
def march(solid: Solid, directions: Vectors, cone: Scalar, rays: March) -> March:
    """Takes `STEPS` steps along rays from the camera, or along cones around them.

    Args:
        solid: The bones, in camera space.
        directions: Unit directions.
        cone: Radius of the cones at 1 cm; they stop where they may touch the surface.
        rays: Their current state.
    """

    def step(_: Index, rays: March) -> March:
        t = rays.t
        p = directions[0] * t, directions[1] * t, directions[2] * t
        gap = surface_distance(solid, p) - cone * t
        miss = gap / t
        best = jnp.where(miss < rays.nearest, t, rays.best)
        return March(t + 0.95 * jnp.maximum(gap, 0.0), gap, jnp.minimum(miss, rays.nearest), best)

    return jax.lax.fori_loop(0, STEPS, step, rays)


@optimised
def normals(solid: Solid, points: Vectors) -> Vectors:
    """Returns the surface's unit normals, from four distances around each point."""
    e = 0.02
    corners = jnp.array([[1.0, -1, -1], [-1, -1, 1], [-1, 1, -1], [1, 1, 1]])

    def around(corner: Float32[Array, "3"]) -> Distance:
        x, y, z = e * corner
        return surface_distance(solid, (points[0] + x, points[1] + y, points[2] + z))

    gradient = corners.T @ jax.lax.map(around, corners)
    return gradient * jax.lax.rsqrt(jnp.sum(gradient**2, axis=0) + 1e-12)


@optimised
def light_reaching(
    solid: Solid,
    points: Vectors,
    normal: Vectors,
    light: Float32[Array, "3"],
    sharpness: Scalar,
    reach: Scalar,
) -> tuple[Distance, Distance]:
    """Returns the shares of the main and of the ambient light that reach points, in [0, 1].

    Args:
        solid: The bones, in camera space.
        points: Points on the surface or outside it.
        normal: Unit normals at the points.
        light: Unit vector to the light.
        sharpness: How sharp shadows are (Quilez' soft shadows: the light's distance over its size).
        reach: Scale of the distances that count as near; 1 for a hand's folds.
    """
    p = (points[0], points[1], points[2])
    outwards = (normal[0], normal[1], normal[2])

    def occlusion(height: Scalar) -> Distance:
        near = surface_distance(solid, moved(p, outwards, height))
        return jnp.maximum(1.0 - near / height, 0.0)

    occluded = jnp.array(_WEIGHTS) @ jax.lax.map(occlusion, jnp.array(_HEIGHTS) * reach)
    base = moved(p, outwards, 0.08)
    to_light = (light[0], light[1], light[2])

    def step(_: Index, carry: tuple[Distance, ...]) -> tuple[Distance, ...]:
        t, lit, _ = carry
        d = surface_distance(solid, moved(base, to_light, t))
        t, lit = t + jnp.clip(d, 0.15 * reach, 1.5 * reach), jnp.minimum(lit, sharpness * d / t)
        return t, lit, d

    one = jnp.ones_like(p[0])
    _, lit, last = jax.lax.fori_loop(0, _SHADOW_STEPS, step, (0.15 * reach * one, one, one))
    # The last distance is used (a path that ends inside is dark) so that the loop keeps it: XLA
    # recomputes a value that a loop does not keep for each of its uses, which doubles the time.
    lit = jnp.where(last > 0.0, jnp.clip(lit, 0.0, 1.0), 0.0)
    return lit * lit * (3.0 - 2.0 * lit), jnp.clip(1.0 - occluded, 0.05, 1.0)
