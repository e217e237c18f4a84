"""Pictures of heat maps."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from chifoumi_jax.prediction.heatmap import captioned, heat_picture, hottest_region, png


def test_pixels_without_heat_are_gray_and_hot_ones_red() -> None:
    photo = np.full((40, 60, 3), (30, 160, 90), np.uint8)
    heat = np.zeros((4, 6), np.float32)
    heat[:, 5] = 1
    picture = heat_picture(photo, heat)
    assert picture.mode == "RGB" and picture.size == (60, 40)
    pixels = np.asarray(picture).astype(int)
    cold, hot = pixels[:, :40], pixels[20, 58]
    assert np.ptp(cold, axis=2).max() == 0
    assert hot[0] > hot[1] + 50 and hot[0] > hot[2] + 50


@given(st.integers(1, 50), st.integers(1, 50), st.integers(1, 9))
def test_photo_and_heat_map_may_have_any_sizes(width: int, height: int, side: int) -> None:
    photo = Image.new("RGB", (width, height), "white")
    assert heat_picture(photo, np.ones((side, side), np.float32)).size == (width, height)


@pytest.mark.parametrize(
    ("cell", "words"),
    [((0, 0), "upper left"), ((4, 4), "middle"), ((8, 3), "bottom"), ((5, 8), "right")],
)
def test_the_hottest_region_in_words(cell: tuple[int, int], words: str) -> None:
    heat = np.zeros((9, 9), np.float32)
    assert hottest_region(heat) == "nowhere"
    heat[cell] = 1
    assert hottest_region(heat) == words


def test_a_long_caption_widens_the_sheet() -> None:
    photo = Image.new("RGB", (30, 20))
    short, long = captioned(photo, photo, "rock"), captioned(photo, photo, "Schere, Stein " * 9)
    assert long.width > short.width and long.height == short.height
    # Text is drawn, and the last pixels of the line stay blank.
    text = np.asarray(long)[-20:]
    assert text.min() < 100 and text[:, -3:].min() > 200


def test_png_keeps_every_pixel() -> None:
    picture = heat_picture(np.zeros((5, 7, 3), np.uint8), np.eye(3, dtype=np.float32))
    content = png(picture)
    assert content.startswith(b"\x89PNG")
    np.testing.assert_array_equal(Image.open(io.BytesIO(content)), picture)
