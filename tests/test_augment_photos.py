"""The augmentation of photos for the default recipe."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.typing import DTypeLike

from chifoumi_jax.data.augment_photos import STRONG, PhotoAugmentation, photo_augmentation

NOTHING = PhotoAugmentation(flip=False, shift=0.0, brightness=0.0, contrast=0.0, colour=0.0)
STRENGTHS = {
    "default": PhotoAugmentation(),
    "nothing": NOTHING,
    "warp": PhotoAugmentation(zoom=0.2, rotate=20.0),
    "extreme": PhotoAugmentation(shift=0.9, zoom=0.9, brightness=0.9, contrast=0.9, colour=0.9),
    "strong": STRONG,
}


def photos(batch: int = 6, height: int = 20, width: int = 30) -> jax.Array:
    return jax.random.uniform(jax.random.key(9), (batch, height, width, 3))


def only(**strengths: Any) -> PhotoAugmentation:
    return dataclasses.replace(NOTHING, **strengths)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("default", jnp.float32),
        ("extreme", jnp.float32),
        ("strong", jnp.float32),
        ("strong", jnp.bfloat16),
        ("warp", jnp.bfloat16),
    ],
)
def test_shape_dtype_and_range_are_kept(name: str, dtype: DTypeLike) -> None:
    images = photos().astype(dtype)
    changed = photo_augmentation(jax.random.key(0), images, STRENGTHS[name])
    assert changed.shape == images.shape
    assert changed.dtype == dtype
    assert changed.min() >= 0 and changed.max() <= 1


def test_nothing_changes_at_zero_strength() -> None:
    images = photos()
    np.testing.assert_array_equal(photo_augmentation(jax.random.key(0), images, NOTHING), images)


def test_tiny_warp_is_nearly_the_identity() -> None:
    images = photos()
    changed = photo_augmentation(jax.random.key(0), images, only(zoom=1e-6, rotate=1e-5))
    assert not np.array_equal(changed, images)
    # Points 15 pixels off the centre move by at most 1.5e-5 + 6e-6 pixels, plus float32 rounding.
    np.testing.assert_allclose(changed, images, atol=1e-4)


@pytest.mark.parametrize("name", ["default", "warp", "strong"])
def test_each_image_has_its_own_draws(name: str) -> None:
    same = jnp.broadcast_to(photos(1), (6, 20, 30, 3))
    changed = np.asarray(photo_augmentation(jax.random.key(0), same, STRENGTHS[name]))
    assert len(np.unique(changed.reshape(6, -1), axis=0)) == 6


def test_an_image_does_not_depend_on_its_neighbours() -> None:
    images = photos()
    alone = images.at[1:].set(0)
    key = jax.random.key(0)
    for strengths in STRENGTHS.values():
        np.testing.assert_array_equal(
            photo_augmentation(key, images, strengths)[0],
            photo_augmentation(key, alone, strengths)[0],
        )


def test_changes_depend_on_the_key_alone() -> None:
    images = photos()
    first = photo_augmentation(jax.random.key(0), images)
    np.testing.assert_array_equal(first, photo_augmentation(jax.random.key(0), images))
    assert not np.array_equal(first, photo_augmentation(jax.random.key(1), images))


def test_flip_mirrors_about_half_of_the_images() -> None:
    images = photos(400, 2, 3)
    changed = np.asarray(photo_augmentation(jax.random.key(0), images, only(flip=True)))
    kept = (changed == images).all((1, 2, 3))
    mirrored = (changed == images[:, :, ::-1]).all((1, 2, 3))
    assert (kept ^ mirrored).all()
    # Four standard deviations of a binomial count.
    assert abs(mirrored.sum() - 200) < 40


def test_shift_moves_whole_pixels_and_repeats_the_border() -> None:
    height, width, furthest = 20, 40, (2, 4)
    rows, columns = jnp.meshgrid(jnp.arange(height), jnp.arange(width), indexing="ij")
    places = jnp.stack([rows, columns, jnp.zeros_like(rows)], -1) / 64
    images = jnp.broadcast_to(places, (200, height, width, 3))
    changed = photo_augmentation(jax.random.key(0), images, only(shift=0.1))
    source = np.asarray(changed * 64).astype(int)
    middle = source[:, height // 2, width // 2, :2] - (height // 2, width // 2)
    for axis in (0, 1):
        assert set(middle[:, axis]) == set(range(-furthest[axis], furthest[axis] + 1))
    for offset, got in zip(middle, source, strict=True):
        want_rows = np.clip(np.arange(height) + offset[0], 0, height - 1)
        want_columns = np.clip(np.arange(width) + offset[1], 0, width - 1)
        np.testing.assert_array_equal(
            got[..., 0], np.broadcast_to(want_rows[:, None], got.shape[:2])
        )
        np.testing.assert_array_equal(got[..., 1], np.broadcast_to(want_columns, got.shape[:2]))


def test_rotation_and_zoom_keep_the_centre_and_form_a_similarity() -> None:
    size, middle = 41, 20
    rows, columns = jnp.meshgrid(jnp.arange(size), jnp.arange(size), indexing="ij")
    places = jnp.stack([rows, columns, jnp.zeros_like(rows)], -1) / 64.0
    images = jnp.broadcast_to(places, (50, size, size, 3))
    changed = photo_augmentation(jax.random.key(0), images, only(rotate=10.0, zoom=0.2))
    source = np.asarray(changed)[..., :2] * 64 - middle
    np.testing.assert_allclose(source[:, middle, middle], 0, atol=1e-4)
    right, down = source[:, middle, middle + 10] / 10, source[:, middle + 10, middle] / 10
    np.testing.assert_allclose(right[:, 0], -down[:, 1], atol=1e-4)
    np.testing.assert_allclose(right[:, 1], down[:, 0], atol=1e-4)
    scale, angle = np.hypot(*down.T), np.rad2deg(np.arctan2(right[:, 0], right[:, 1]))
    assert 1 / 1.2 <= scale.min() < 0.9 and 1.1 < scale.max() <= 1 / 0.8
    assert -10 <= angle.min() < -7 and 7 < angle.max() <= 10


def test_brightness_contrast_and_colour_are_an_affine_change_of_each_channel() -> None:
    images = jnp.full((500, 1, 2, 3), 0.5).at[:, :, 1].set(0.25)
    key = jax.random.key(0)
    bright = np.asarray(photo_augmentation(key, images, only(brightness=0.2)))
    np.testing.assert_allclose(bright[:, :, 1], bright[:, :, 0] / 2, rtol=1e-6)
    assert 0.4 <= bright[:, :, 0].min() < 0.405 and 0.595 < bright[:, :, 0].max() <= 0.6
    assert (np.ptp(bright, axis=3) < 1e-6).all()
    contrast = np.asarray(photo_augmentation(key, images, only(contrast=0.2)))
    np.testing.assert_allclose(contrast[:, :, 0], 0.5, rtol=1e-6)
    assert 0.2 <= contrast[:, :, 1].min() < 0.205 and 0.295 < contrast[:, :, 1].max() <= 0.3
    colour = np.asarray(photo_augmentation(key, images, only(colour=0.1)))
    assert 0.45 <= colour[:, :, 0].min() < 0.455 and 0.545 < colour[:, :, 0].max() <= 0.55
    assert np.ptp(colour[:, :, 0], axis=2).max() > 0.05


@pytest.mark.parametrize(
    "strengths",
    [{"shift": 1.0}, {"zoom": -0.1}, {"brightness": 1.5}, {"contrast": float("nan")},
     {"colour": -1.0}, {"rotate": 200.0}],
)  # fmt: skip
def test_strengths_out_of_range_are_refused(strengths: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(strengths))} must be in"):
        PhotoAugmentation(**strengths)


def test_gray_converts_its_share_of_the_images() -> None:
    changed = np.asarray(photo_augmentation(jax.random.key(1), photos(400, 4, 4), only(gray=0.3)))
    gray = np.ptp(changed, axis=-1).max((1, 2)) < 1e-6
    # Four standard deviations of the share in 400 draws.
    assert abs(gray.mean() - 0.3) < 4 * (0.3 * 0.7 / 400) ** 0.5


def test_saturation_keeps_the_luma() -> None:
    images = 0.25 + photos() / 2
    changed = np.asarray(photo_augmentation(jax.random.key(0), images, only(saturation=0.5)))
    luma = np.array([0.299, 0.587, 0.114])
    # The bound is float32 rounding of values below 1; the changes are up to half the distance
    # from gray.
    np.testing.assert_allclose(changed @ luma, np.asarray(images) @ luma, atol=1e-6)
    assert not np.allclose(changed, images, atol=1e-2)


def test_blur_keeps_even_areas_and_smooths_others() -> None:
    even = jnp.full((2, 12, 16, 3), 0.4)
    # The nine weights in each direction sum to 1, up to float32 rounding.
    np.testing.assert_allclose(
        photo_augmentation(jax.random.key(0), even, only(blur=1.5)), even, atol=1e-6
    )
    images = photos(20)
    changed = np.asarray(photo_augmentation(jax.random.key(0), images, only(blur=2.0)))
    assert (changed.var((1, 2)) < np.asarray(images).var((1, 2)) + 1e-6).all()
    assert np.median(changed.var((1, 2)) / np.asarray(images).var((1, 2))) < 0.3


def test_erase_covers_one_rectangle_with_one_colour() -> None:
    images = photos(50)
    changed = np.asarray(photo_augmentation(jax.random.key(0), images, only(erase=0.5)))
    covered = (changed != np.asarray(images)).any(-1)
    for image, cover in zip(changed, covered, strict=True):
        rows, columns = np.nonzero(cover.any(1))[0], np.nonzero(cover.any(0))[0]
        assert cover.sum() == len(rows) * len(columns), "a rectangle"
        assert len(rows) <= 11 and len(columns) <= 16, (
            "half of 20 and of 30, plus a part of a pixel"
        )
        assert len(np.unique(image[cover], axis=0)) <= 1, "of one colour"
    assert covered.any((1, 2)).mean() > 0.9


def test_rotation_fills_the_corners_by_reflection() -> None:
    # Pixels from outside are the mirrored image, so the two values of the image are the bounds.
    halves = jnp.where(jnp.arange(16)[None, :, None, None] < 8, 0.2, 0.8)
    images = jnp.broadcast_to(halves, (30, 16, 16, 3))
    changed = np.asarray(photo_augmentation(jax.random.key(0), images, only(rotate=180.0)))
    assert changed.min() >= 0.2 - 1e-6 and changed.max() <= 0.8 + 1e-6
    assert (np.abs(changed - 0.5) > 0.29).mean() > 0.8
