"""Decodes untrusted picture bytes for a classifier and for a page."""

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from chifoumi_jax.data.decode import decode, to_rgb
from chifoumi_jax.data.pixels import resize_pixels
from chifoumi_jax.recipes import Recipe

# How error messages name the picture, because the client does not send the file's name.
PICTURE_NAME = "the picture"


def read_pixels(recipe: Recipe, content: bytes, max_pixels: int) -> UInt8[np.ndarray, "..."]:
    """A picture's pixels as the recipe's network takes them.

    Raises:
        ImageProblem: If the content is not a picture, or has more than `max_pixels` pixels.
    """
    with decode(content, PICTURE_NAME, max_pixels=max_pixels) as image:
        return resize_pixels(image, recipe.image_size, recipe.layout, recipe.upright)


def read_upright(content: bytes, max_pixels: int) -> Image.Image:
    """A picture in RGB, rotated as its EXIF orientation says.

    Raises:
        ImageProblem: If the content is not a picture, or has more than `max_pixels` pixels.
    """
    with decode(content, PICTURE_NAME, max_pixels=max_pixels) as image:
        return to_rgb(image, upright=True)


def shrink(image: Image.Image, longest_side: int) -> Image.Image:
    """The picture, scaled down if its longer side is over `longest_side` pixels."""
    scale = longest_side / max(image.size)
    if scale >= 1:
        return image
    width, height = (max(1, round(length * scale)) for length in image.size)
    return image.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=2.0)
