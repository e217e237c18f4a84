"""Contact sheets: many pictures in one image, for inspection."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps


def contact_sheet(
    pictures: Iterable[Path | UInt8[np.ndarray, "height width 3"]], columns: int, tile: int
) -> Image.Image:
    """Returns the pictures in rows from left to right, each cut to a square of `tile` pixels.

    Args:
        pictures: Files, or sRGB arrays.
        columns: Number of pictures in a row.
        tile: Side of each, in pixels.
    """
    tiles = [ImageOps.fit(_opened(picture), (tile, tile)) for picture in pictures]
    sheet = Image.new("RGB", (columns * tile, -(-len(tiles) // columns) * tile), "white")
    for k, image in enumerate(tiles):
        sheet.paste(image, (k % columns * tile, k // columns * tile))
    return sheet


def _opened(picture: Path | UInt8[np.ndarray, "height width 3"]) -> Image.Image:
    if isinstance(picture, np.ndarray):
        return Image.fromarray(picture)
    with Image.open(picture) as image:
        return image.convert("RGB")
