"""Drawing heat maps: over the photo, and beside it with a caption."""

from __future__ import annotations

import functools
import io
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFont

# The colour map is cut off here, because its last colours turn dark again.
_COLOUR_MAP, _COLOUR_MAP_END = "turbo", 0.92
# Opacity of the colour where the heat is 1.
_MAX_OPACITY = 0.65
_MARGIN, _CAPTION_HEIGHT = 8, 22
_BACKGROUND, _TEXT_COLOUR = (255, 255, 255), (20, 20, 20)
_REGIONS = (
    ("upper left", "top", "upper right"),
    ("left", "middle", "right"),
    ("lower left", "bottom", "lower right"),
)


def heat_picture(
    photo: UInt8[np.ndarray, "height width 3"] | Image.Image,
    heat: Float[np.ndarray, "rows columns"],
) -> Image.Image:
    """The photo in gray with its heat map over it, from transparent to red.

    Args:
        photo: RGB, of any size.
        heat: In [0, 1]. It is stretched to the photo's size, because the photo was stretched to the
            size of the network's input.
    """
    gray = _as_image(photo).convert("L").convert("RGB")
    resized = Image.fromarray(np.asarray(heat, np.float32)).resize(
        gray.size, Image.Resampling.BILINEAR
    )
    values = np.clip(np.asarray(resized), 0, 1)[..., None]
    colours = _palette()[np.rint(values[..., 0] * 255).astype(int)]
    # Zero where the heat is 0, so the gray photo shows there unchanged.
    opacity = _MAX_OPACITY * np.sqrt(values)
    mixed = (1 - opacity) * np.asarray(gray, np.float32) + opacity * colours
    return Image.fromarray(np.rint(mixed).astype(np.uint8))


def captioned(photo: Image.Image, heat: Image.Image, caption: str) -> Image.Image:
    """The photo and its heat picture side by side, with a line of text below them."""
    font = ImageFont.truetype(_font_file(), 15)
    width = max(photo.width + heat.width + 3 * _MARGIN, int(font.getlength(caption)) + 2 * _MARGIN)
    height = max(photo.height, heat.height) + 2 * _MARGIN
    sheet = Image.new("RGB", (width, height + _CAPTION_HEIGHT), _BACKGROUND)
    sheet.paste(photo, (_MARGIN, _MARGIN))
    sheet.paste(heat, (photo.width + 2 * _MARGIN, _MARGIN))
    ImageDraw.Draw(sheet).text((_MARGIN, height - 1), caption, fill=_TEXT_COLOUR, font=font)
    return sheet


def png(picture: Image.Image) -> bytes:
    """The content of a picture's PNG file."""
    file = io.BytesIO()
    picture.save(file, format="PNG")
    return file.getvalue()


def hottest_region(heat: Float[np.ndarray, "rows columns"]) -> str:
    """Where the heat is largest, in words, for readers who cannot see the picture."""
    if not heat.max() > 0:
        return "nowhere"
    row, column = np.unravel_index(np.argmax(heat), heat.shape)
    return _REGIONS[3 * int(row) // heat.shape[0]][3 * int(column) // heat.shape[1]]


def _as_image(photo: np.ndarray | Image.Image) -> Image.Image:
    return photo if isinstance(photo, Image.Image) else Image.fromarray(photo)


@functools.cache
def _palette() -> Float[np.ndarray, "256 3"]:
    import matplotlib

    colours: np.ndarray = (
        matplotlib.colormaps[_COLOUR_MAP](np.linspace(0, _COLOUR_MAP_END, 256))[:, :3] * 255
    )
    return colours


@functools.cache
def _font_file() -> str:
    # DejaVu Sans has letters of many scripts, and matplotlib brings it.
    import matplotlib

    return str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf")
