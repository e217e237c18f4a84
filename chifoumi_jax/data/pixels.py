"""Converts decoded images to a model's input pixels; two layouts are those of the study."""

from os import PathLike
from typing import Literal, get_args

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from chifoumi_jax.data.decode import open_checked, to_rgbx

Layout = Literal["keras", "torch", "rgb"]


def load_pixels(
    path: str | PathLike[str], size: int, layout: Layout = "keras", upright: bool = False
) -> UInt8[np.ndarray, "size size 3"] | UInt8[np.ndarray, "size size"]:
    """Decode one image file and resize it as one of the study's loaders did, or in colour.

    The pixels equal the original loaders' for the same *decoded* image. JPEG decoders differ
    (Pillow 5.3 shipped IJG libjpeg 9, later versions ship libjpeg-turbo). 16-bit images are scaled
    to 8 bits here, but the study's loaders clipped them to white.

    Args:
        path: The image file; it is checked before it is decoded (see `decode.open_checked`).
        size: Height and width of the result in pixels, at least 1.
        layout: See `resize_pixels`.
        upright: See `resize_pixels`.

    Returns:
        `uint8` in [0, 255]: `[size, size, 3]` for "keras" and "rgb", `[size, size]` for "torch".

    Raises:
        ValueError: If `size` is below 1 or `layout` is unknown.
        ImageProblem: If the file is refused.
    """
    _check(size, layout)
    with open_checked(path) as image:
        return resize_pixels(image, size, layout, upright)


def resize_pixels(
    image: Image.Image, size: int, layout: Layout = "keras", upright: bool = False
) -> UInt8[np.ndarray, "size size 3"] | UInt8[np.ndarray, "size size"]:
    """Resize a decoded image of any mode as one of the study's loaders did, or in colour.

    Args:
        image: The decoded image.
        size: Height and width of the result in pixels, at least 1; the aspect is not kept.
        layout: "keras" gives RGB by nearest neighbour (keras-preprocessing 1.0.5 on
            Pillow 5.3.0). "torch" gives RGB by antialiased bilinear interpolation, then gray by
            `(19595 R + 38470 G + 7471 B) >> 16` (torchvision 0.2.1 on Pillow 5.3.0). "rgb" skips
            the conversion to gray.
        upright: Whether to apply the EXIF orientation first and to put transparent images on white
            (see `decode.to_rgb`); the study's loaders did neither.

    Returns:
        `uint8` in [0, 255]: `[size, size, 3]` for "keras" and "rgb", `[size, size]` for "torch".

    Raises:
        ValueError: If `size` is below 1 or `layout` is unknown.
    """
    _check(size, layout)
    decoded = to_rgbx(image, upright=upright)
    if layout == "keras":
        return np.array(decoded.resize((size, size), Image.Resampling.NEAREST).convert("RGB"))
    rgb = np.array(_resize_bilinear(decoded, size).convert("RGB"))
    return rgb if layout == "rgb" else _gray(rgb)


def _check(size: int, layout: str) -> None:
    if size < 1:
        raise ValueError(f"size must be at least 1 pixel, not {size}")
    if layout not in get_args(Layout):
        known = " or ".join(f'"{name}"' for name in get_args(Layout))
        raise ValueError(f'layout must be {known}, not "{layout}"')


def _resize_bilinear(decoded: Image.Image, size: int) -> Image.Image:
    # Pillow 5.3 always resampled along the rows first and rounded to 8 bits in between. Later
    # versions resample tall images along the columns first, which changes up to a quarter of the
    # pixels by 1. Two calls, one for each direction, keep the old order.
    rows = decoded.resize((size, decoded.height), Image.Resampling.BILINEAR)
    return rows.resize((size, size), Image.Resampling.BILINEAR)


def _gray(rgb: UInt8[np.ndarray, "height width 3"]) -> UInt8[np.ndarray, "height width"]:
    # Pillow 5.3 truncates, but later versions round: half of all gray pixels differ by 1.
    red, green, blue = np.moveaxis(rgb.astype(np.uint32), -1, 0)
    gray: np.ndarray = (19595 * red + 38470 * green + 7471 * blue) >> 16
    return gray.astype(np.uint8)
