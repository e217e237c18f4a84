"""Drawn digits: the same from the same seed, and laid out as MNIST's."""

import numpy as np
import pytest

from chifoumi_jax.systems.drawn_digits import SIZE, draw_digits

LABELS = np.arange(300) % 10


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return draw_digits(LABELS, seed=1)


def test_the_same_seed_draws_the_same_pixels(images: np.ndarray) -> None:
    np.testing.assert_array_equal(draw_digits(LABELS, seed=1), images)
    assert np.mean(draw_digits(LABELS, seed=2) != images) > 0.1


def test_more_digits_do_not_change_the_first_ones(images: np.ndarray) -> None:
    np.testing.assert_array_equal(draw_digits(LABELS[:256], seed=1), images[:256])


def test_the_centre_of_mass_is_the_image_s(images: np.ndarray) -> None:
    centres = np.arange(SIZE) + 0.5
    for axis in (1, 2):
        mass = images.sum(axis=axis, dtype=float)
        # Moved by whole pixels, and the levels are rounded.
        assert np.abs(mass @ centres / mass.sum(1) - SIZE / 2).max() < 0.52


def test_the_ink_is_as_much_as_in_mnist(images: np.ndarray) -> None:
    # MNIST's test images have a mean of 33.8, and 19.3 % of their pixels are not background.
    assert 28 < images.mean() < 40
    assert 0.16 < np.mean(images > 0) < 0.23


def test_no_two_images_of_a_digit_are_equal(images: np.ndarray) -> None:
    assert len({one.tobytes() for one in images}) == len(images)


def test_no_digits_are_an_empty_array() -> None:
    assert draw_digits(np.zeros(0, int)).shape == (0, SIZE, SIZE)
