"""The augmentation of the study's MLP, compared with Pillow's rotation and flips."""

import hashlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.typing import DTypeLike
from PIL import Image, ImageOps

from chifoumi_jax.data.augment_study import (
    ANGLE_STEPS,
    Draws,
    apply_draws,
    draw,
    flip,
    grid_angles,
    rotate,
    rotation_coefficients,
    study_mlp_augmentation,
)

SIZES = [(32, 32), (33, 33), (32, 31), (7, 5), (1, 1), (2, 9), (48, 64)]

# The first 16 hex digits of the SHA-256 of the pixels from `functional.rotate(image, angle)` of
# torchvision 0.2.1 on Pillow 5.3.0, for the gray 32 x 32 image of `noise`.
STUDY = {
    -45.0: "d37d31cf3929575b",
    -44.9945068359375: "ffe4aa0a1d19d6b5",
    -30.0: "3fa58fbc33a960bc",
    -0.1: "bcaf5428d43c1399",
    0.0: "bcaf5428d43c1399",
    1e-06: "bcaf5428d43c1399",
    0.5: "bcaf5428d43c1399",
    17.3: "5af558d5ca6e3eea",
    45.0: "a381894dd04127d5",
}


def noise(*shape: int) -> np.ndarray:
    data = np.random.RandomState(0).bytes(int(np.prod(shape)))
    return np.frombuffer(data, np.uint8).reshape(shape)


def test_rotation_equals_the_studys_software() -> None:
    image = noise(32, 32)
    rotated = np.asarray(rotate(jnp.stack([image] * len(STUDY)), STUDY))
    digests = [hashlib.sha256(pixels.tobytes()).hexdigest()[:16] for pixels in rotated]
    assert dict(zip(STUDY, digests, strict=True)) == STUDY


@settings(max_examples=100, deadline=None)
@given(
    size=st.sampled_from(SIZES),
    angles=st.lists(
        st.one_of(
            st.floats(-45.0, 45.0),
            st.floats(-1000.0, 1000.0),
            st.sampled_from([-90.0, 30.0, 45.0, 60.0, 90.0, 180.0, 270.0, 360.0]),
        ),
        min_size=16,
        max_size=16,
    ),
)
def test_rotation_equals_pillows_for_any_angle(size: tuple[int, int], angles: list[float]) -> None:
    images = noise(16, *size)
    rotated = np.asarray(rotate(jnp.asarray(images), angles))
    for image, angle, got in zip(images, angles, rotated, strict=True):
        np.testing.assert_array_equal(
            got, np.asarray(Image.fromarray(image).rotate(angle)), strict=True
        )


def test_rotation_of_colour_images_equals_pillows() -> None:
    images = noise(2, 20, 30, 3)
    rotated = np.asarray(rotate(jnp.asarray(images), [-12.5, 40.0]))
    for image, angle, got in zip(images, (-12.5, 40.0), rotated, strict=True):
        np.testing.assert_array_equal(got, np.asarray(Image.fromarray(image).rotate(angle)))


def test_flips_equal_pillows() -> None:
    images = noise(4, 5, 6)
    horizontal, vertical = np.array([0, 1, 0, 1], bool), np.array([0, 0, 1, 1], bool)
    flipped = np.asarray(flip(jnp.asarray(images), jnp.asarray(horizontal), jnp.asarray(vertical)))
    for image, left_right, top_bottom, got in zip(
        images, horizontal, vertical, flipped, strict=True
    ):
        want = Image.fromarray(image)
        want = ImageOps.mirror(want) if left_right else want
        want = ImageOps.flip(want) if top_bottom else want
        np.testing.assert_array_equal(got, np.asarray(want), strict=True)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_augmentation_equals_pillows_with_the_same_draws(dtype: DTypeLike) -> None:
    images, key = noise(64, 32, 32), jax.random.key(3)
    augmented = study_mlp_augmentation(key, jnp.asarray(images, dtype))
    draws = draw(key, 64)
    horizontal, vertical = np.asarray(draws.horizontal), np.asarray(draws.vertical)
    assert augmented.dtype == dtype
    for image, angle, left_right, top_bottom, got in zip(
        images, draws.angles(), horizontal, vertical, np.asarray(augmented), strict=True
    ):
        want = Image.fromarray(image).rotate(float(angle))
        want = ImageOps.mirror(want) if left_right else want
        want = ImageOps.flip(want) if top_bottom else want
        np.testing.assert_array_equal(got, np.asarray(want))


def test_every_angle_of_the_grid_equals_pillows() -> None:
    image = noise(32, 32)
    steps = jnp.arange(ANGLE_STEPS)
    never = jnp.zeros(ANGLE_STEPS, bool)
    images = jnp.broadcast_to(jnp.asarray(image), (ANGLE_STEPS, 32, 32))
    rotated = np.asarray(apply_draws(images, Draws(steps, never, never)))
    pillow = Image.fromarray(image)
    want = np.stack([np.asarray(pillow.rotate(angle)) for angle in grid_angles()])
    np.testing.assert_array_equal(rotated, want)


def test_grid_of_angles_covers_the_range_evenly() -> None:
    angles = grid_angles()
    step = 90 / ANGLE_STEPS
    assert angles.shape == (ANGLE_STEPS,)
    np.testing.assert_array_equal(np.diff(angles), step)
    np.testing.assert_array_equal(angles, -angles[::-1])
    assert angles[-1] == 45 - step / 2


def test_draws_are_uniform_and_independent() -> None:
    count = 20_000
    draws = draw(jax.random.key(0), count)
    angles = draws.angles()
    octiles, _ = np.histogram(angles, bins=8, range=(-45, 45))
    # Four standard deviations of a binomial count.
    assert abs(octiles - count / 8).max() < 4 * np.sqrt(count * 1 / 8 * 7 / 8)
    horizontal, vertical = np.asarray(draws.horizontal), np.asarray(draws.vertical)
    for share, expected in [
        (horizontal, 1 / 2),
        (vertical, 1 / 2),
        (horizontal & vertical, 1 / 4),
        (horizontal & (angles > 0), 1 / 4),
        (vertical & (angles > 0), 1 / 4),
    ]:
        bound = 4 * np.sqrt(expected * (1 - expected) / count)
        assert abs(share.mean() - expected) < bound


def test_augmentation_depends_on_the_key_alone() -> None:
    images = jnp.asarray(noise(8, 32, 32))
    first = study_mlp_augmentation(jax.random.key(0), images)
    again = study_mlp_augmentation(jax.random.key(0), images)
    other = study_mlp_augmentation(jax.random.key(1), images)
    np.testing.assert_array_equal(first, again)
    assert (np.asarray(first) != np.asarray(other)).any()


def test_augmentation_works_inside_a_scan() -> None:
    images = jnp.asarray(noise(8, 32, 32))
    keys = jax.random.split(jax.random.key(0), 3)

    def step(carry: None, key: jax.Array) -> tuple[None, jax.Array]:
        return carry, study_mlp_augmentation(key, images)

    _, scanned = jax.jit(lambda keys: jax.lax.scan(step, None, keys))(keys)
    want = jnp.stack([study_mlp_augmentation(key, images) for key in keys])
    np.testing.assert_array_equal(scanned, want)


def test_a_wrong_number_of_angles_is_refused() -> None:
    with pytest.raises(ValueError, match="2 images need one angle each, not 3"):
        rotate(jnp.zeros((2, 4, 4), jnp.uint8), [1.0, 2.0, 3.0])


def test_sides_beyond_the_fixed_point_range_are_refused() -> None:
    with pytest.raises(ValueError, match="20000 x 4 images are too large"):
        rotation_coefficients([10.0], 4, 20_000)
