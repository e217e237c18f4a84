"""The augmentation of the study's MLP on the device: rotation by up to 45 degrees, and flips.

Source: `RandomRotation(45)`, `RandomHorizontalFlip()` and `RandomVerticalFlip()` of
torchvision 0.2.1 on Pillow 5.3.0, in this order, on the resized gray image. Pillow takes the
nearest pixel with an affine matrix in 16.16 fixed point that it computes in double precision.
Devices have no exact double, so the matrices come from the host: for given angles
(`rotation_coefficients`), or as a table of the angles that `draw` chooses from.
"""

import functools
import math
from collections.abc import Iterable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float64, Int32, PRNGKeyArray, Shaped

MAX_DEGREES = 45.0
ANGLE_STEPS = 1 << 14
"""Number of angles that `draw` chooses from: 90 degrees in steps of 0.0055 degrees. One step moves
the corner of a 32 x 32 image by 0.002 pixels."""

# A rotated corner of a larger image could leave the range of 16.16 fixed point. Pillow itself uses
# another rule there.
_MAX_SIDE = 16_384


class Draws(NamedTuple):
    """The random choices of one batch."""

    angle_steps: Int32[Array, " batch"]
    """Indices into the grid of angles, in [0, ANGLE_STEPS)."""
    horizontal: Bool[Array, " batch"]
    """Whether to mirror left to right."""
    vertical: Bool[Array, " batch"]
    """Whether to mirror top to bottom."""

    def angles(self) -> Float64[np.ndarray, " batch"]:
        """Return the angles in degrees, exactly, on the host (not under `jax.jit`)."""
        angles: np.ndarray = grid_angles()[np.asarray(self.angle_steps)]
        return angles


def grid_angles() -> Float64[np.ndarray, " steps"]:
    """Return the angles that `draw` chooses from, in degrees, ascending and symmetric about 0."""
    return MAX_DEGREES * (2 * np.arange(ANGLE_STEPS) + 1 - ANGLE_STEPS) / ANGLE_STEPS


def draw(key: PRNGKeyArray, batch: int) -> Draws:
    """Draw an angle, uniform on the grid, and two fair flips for each of `batch` images."""
    angle_key, horizontal_key, vertical_key = jax.random.split(key, 3)
    return Draws(
        angle_steps=jax.random.randint(angle_key, (batch,), 0, ANGLE_STEPS, jnp.int32),
        horizontal=jax.random.bernoulli(horizontal_key, shape=(batch,)),
        vertical=jax.random.bernoulli(vertical_key, shape=(batch,)),
    )


@jax.jit
def study_mlp_augmentation(
    key: PRNGKeyArray, images: Shaped[Array, "batch height width *channels"]
) -> Shaped[Array, "batch height width *channels"]:
    """Rotate and flip each image by its own draws from `key`; see `apply_draws`."""
    augmented: Array = apply_draws(images, draw(key, images.shape[0]))
    return augmented


@jax.jit
def apply_draws(
    images: Shaped[Array, "batch height width *channels"], draws: Draws
) -> Shaped[Array, "batch height width *channels"]:
    """Rotate, then flip each image as `draws` says, exactly as Pillow 5.3.0 would.

    Args:
        images: Images of any dtype and value range; pixels that rotate in from outside become 0.
        draws: The random choices, for example from `draw`.

    Raises:
        ValueError: If a side exceeds 16,384 pixels.
    """
    height, width = images.shape[1:3]
    table = jnp.asarray(_grid_coefficients(height, width))
    turned = mirror_coefficients(table[draws.angle_steps], draws, height, width)
    warped: Array = warp_nearest(images, turned)
    return warped


def rotate(
    images: Shaped[Array, "batch height width *channels"], angles: Iterable[float]
) -> Shaped[Array, "batch height width *channels"]:
    """Rotate each image as `PIL.Image.Image.rotate(angle)` does, bit for bit.

    Args:
        images: Images of any dtype; the size is kept, and pixels that rotate in from outside are 0.
        angles: One angle per image, in degrees, counter-clockwise, known on the host. For angles
            that are drawn under `jax.jit`, use `apply_draws`.

    Raises:
        ValueError: If there is not one angle per image, or a side exceeds 16,384 pixels.
    """
    coefficients = rotation_coefficients(angles, images.shape[1], images.shape[2])
    if len(coefficients) != len(images):
        raise ValueError(f"{len(images)} images need one angle each, not {len(coefficients)}")
    rotated: Array = warp_nearest(images, jnp.asarray(coefficients))
    return rotated


@jax.jit
def flip(
    images: Shaped[Array, "batch height width *channels"],
    horizontal: Bool[Array, " batch"],
    vertical: Bool[Array, " batch"],
) -> Shaped[Array, "batch height width *channels"]:
    """Mirror images left to right where `horizontal`, and top to bottom where `vertical`."""
    per_image_shape = (-1,) + (1,) * (images.ndim - 1)
    images = jnp.where(horizontal.reshape(per_image_shape), images[:, :, ::-1], images)
    return jnp.where(vertical.reshape(per_image_shape), images[:, ::-1], images)


def rotation_coefficients(
    angles: Iterable[float], height: int, width: int
) -> Int32[np.ndarray, "batch 6"]:
    """Return the affine matrices by which Pillow rotates, in 16.16 fixed point.

    Row `(a, b, c, d, e, f)` takes pixel `(x, y)` of the result from
    `((a x + b y + c) >> 16, (d x + e y + f) >> 16)`. Source: `Image.rotate` and `affine_fixed`
    of Pillow 5.3.0; 13.0.0 gives the same pixels.

    Args:
        angles: Angles in degrees, counter-clockwise.
        height: Height of the images in pixels.
        width: Width of the images in pixels.

    Raises:
        ValueError: If a side exceeds 16,384 pixels.
    """
    if max(height, width) > _MAX_SIDE:
        raise ValueError(
            f"{width} x {height} images are too large; a side may have {_MAX_SIDE} pixels at most"
        )
    rows = [_coefficients(float(angle), height, width) for angle in angles]
    return np.array(rows, np.int32).reshape(-1, 6)


def mirror_coefficients(
    coefficients: Int32[Array, "batch 6"], draws: Draws, height: int, width: int
) -> Int32[Array, "batch 6"]:
    """Return the coefficients that warp as `coefficients` do and then flip as `draws` says.

    This is exact because the coefficients are integers: column `x` of a mirrored image is column
    `width - 1 - x`. One warp takes an eighth of the time of a warp and two flips.
    """
    a, b, c, d, e, f = coefficients.T
    across, down = draws.horizontal, draws.vertical
    c = c + jnp.where(across, a * (width - 1), 0) + jnp.where(down, b * (height - 1), 0)
    f = f + jnp.where(across, d * (width - 1), 0) + jnp.where(down, e * (height - 1), 0)
    a, d = (jnp.where(across, -value, value) for value in (a, d))
    b, e = (jnp.where(down, -value, value) for value in (b, e))
    return jnp.stack([a, b, c, d, e, f], axis=1)


@jax.jit
def warp_nearest(
    images: Shaped[Array, "batch height width *channels"], coefficients: Int32[Array, "batch 6"]
) -> Shaped[Array, "batch height width *channels"]:
    """Take each pixel from the position that its image's coefficients give, or 0 outside.

    Args:
        images: Images of any dtype.
        coefficients: From `rotation_coefficients`.
    """
    batch, height, width = images.shape[:3]
    a, b, c, d, e, f = coefficients.T[:, :, None, None]
    x, y = jnp.arange(width)[None, None, :], jnp.arange(height)[None, :, None]
    source_x = (a * x + b * y + c) >> 16
    source_y = (d * x + e * y + f) >> 16
    inside = (source_x >= 0) & (source_x < width) & (source_y >= 0) & (source_y < height)
    image_index = jnp.arange(batch)[:, None, None]
    taken = images.at[image_index, source_y, source_x].get(mode="clip")
    inside = inside.reshape(inside.shape + (1,) * (images.ndim - 3))
    return jnp.where(inside, taken, jnp.zeros((), images.dtype))


def _coefficients(angle: float, height: int, width: int) -> tuple[int, ...]:
    # The order of the operations, and Python's own sine, cosine and rounding, are those of Pillow,
    # because a difference in the last bit may move a pixel.
    radians = -math.radians(angle % 360.0)
    cosine, sine = round(math.cos(radians), 15), round(math.sin(radians), 15)
    minus_sine = round(-math.sin(radians), 15)
    center_x, center_y = width / 2.0, height / 2.0
    shift_x = cosine * -center_x + sine * -center_y + 0.0 + center_x
    shift_y = minus_sine * -center_x + cosine * -center_y + 0.0 + center_y
    matrix = (
        cosine,
        sine,
        shift_x + cosine * 0.5 + sine * 0.5,
        minus_sine,
        cosine,
        shift_y + minus_sine * 0.5 + cosine * 0.5,
    )
    return tuple(math.floor(value * 65536.0 + 0.5) for value in matrix)


@functools.lru_cache(maxsize=8)
def _grid_coefficients(height: int, width: int) -> Int32[np.ndarray, "steps 6"]:
    return rotation_coefficients(grid_angles(), height, width)
