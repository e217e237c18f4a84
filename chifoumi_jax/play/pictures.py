"""From bytes that nobody has looked at to what a classifier takes, and to what a page shows."""

import io

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from chifoumi_jax.data.decode import decode, to_rgb
from chifoumi_jax.data.pixels import resize_pixels
from chifoumi_jax.recipes import Recipe

# How errors call it: its own name stays with the client.
NAME = "the picture"


def read_pixels(recipe: Recipe, content: bytes, most: int) -> UInt8[np.ndarray, "..."]:
    """A picture's pixels as the recipe's network takes them.

    Raises:
        ImageProblem: If it is no picture, or has more than `most` pixels.
    """
    with decode(content, NAME, max_pixels=most) as image:
        return resize_pixels(image, recipe.image_size, recipe.layout, recipe.upright)


def read_upright(content: bytes, most: int) -> Image.Image:
    """A picture in RGB, turned as its EXIF says.

    Raises:
        ImageProblem: If it is no picture, or has more than `most` pixels.
    """
    with decode(content, NAME, max_pixels=most) as image:
        return to_rgb(image, upright=True)


def shrunk(image: Image.Image, side: int) -> Image.Image:
    """The picture, no longer than `side` pixels on its longer side."""
    share = side / max(image.size)
    if share >= 1:
        return image
    width, height = (max(1, round(length * share)) for length in image.size)
    return image.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=2.0)


def as_jpeg(image: Image.Image, quality: int) -> bytes:
    """A new JPEG of the pixels alone: no EXIF, no comment, no thumbnail."""
    file = io.BytesIO()
    # A picture that was decoded carries its file's comment along.
    Image.fromarray(np.asarray(image.convert("RGB"))).save(file, "JPEG", quality=quality)
    return file.getvalue()
