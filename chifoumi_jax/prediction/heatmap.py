"""Pictures of heat maps: over the photo, and beside it with a caption."""

from __future__ import annotations

import functools
import io
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFont

# Beyond, it turns dark again.
_COLOURS, _REDDEST = "turbo", 0.92
# How much of the colour covers the photo where the heat is greatest.
_COVER = 0.65
_MARGIN, _LINE = 8, 22
_PAPER, _INK = (255, 255, 255), (20, 20, 20)
_PLACES = (
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
        heat: In [0, 1]; stretched to the photo's size, as the photo was to the network's.
    """
    gray = _plain(photo).convert("L").convert("RGB")
    fine = Image.fromarray(np.asarray(heat, np.float32)).resize(
        gray.size, Image.Resampling.BILINEAR
    )
    amounts = np.clip(np.asarray(fine), 0, 1)[..., None]
    colours = _palette()[np.rint(amounts[..., 0] * 255).astype(int)]
    # Cold places stay as they are.
    cover = _COVER * np.sqrt(amounts)
    mixed = (1 - cover) * np.asarray(gray, np.float32) + cover * colours
    return Image.fromarray(np.rint(mixed).astype(np.uint8))


def captioned(photo: Image.Image, heat: Image.Image, caption: str) -> Image.Image:
    """The photo and its heat picture side by side, with a line of text below."""
    font = ImageFont.truetype(_font_file(), 15)
    width = max(photo.width + heat.width + 3 * _MARGIN, int(font.getlength(caption)) + 2 * _MARGIN)
    height = max(photo.height, heat.height) + 2 * _MARGIN
    sheet = Image.new("RGB", (width, height + _LINE), _PAPER)
    sheet.paste(photo, (_MARGIN, _MARGIN))
    sheet.paste(heat, (photo.width + 2 * _MARGIN, _MARGIN))
    ImageDraw.Draw(sheet).text((_MARGIN, height - 1), caption, fill=_INK, font=font)
    return sheet


def png(picture: Image.Image) -> bytes:
    """A picture as a PNG file."""
    file = io.BytesIO()
    picture.save(file, format="PNG")
    return file.getvalue()


def warmest(heat: Float[np.ndarray, "rows columns"]) -> str:
    """In words where the heat is greatest, for who cannot see the picture."""
    if not heat.max() > 0:
        return "nowhere"
    row, column = np.unravel_index(np.argmax(heat), heat.shape)
    return _PLACES[3 * int(row) // heat.shape[0]][3 * int(column) // heat.shape[1]]


def _plain(photo: np.ndarray | Image.Image) -> Image.Image:
    return photo if isinstance(photo, Image.Image) else Image.fromarray(photo)


@functools.cache
def _palette() -> Float[np.ndarray, "256 3"]:
    import matplotlib

    colours: np.ndarray = matplotlib.colormaps[_COLOURS](np.linspace(0, _REDDEST, 256))[:, :3] * 255
    return colours


@functools.cache
def _font_file() -> str:
    # Letters of many scripts, and it comes with matplotlib.
    import matplotlib

    return str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf")
