"""Blur of a lens out of focus."""

import numpy as np
from jaxtyping import Float32
from PIL import Image, ImageFilter


def blurred(picture: Float32[np.ndarray, "height width 3"], sigma: float) -> Image.Image:
    """Returns a picture in [0, 1] as 8-bit levels, blurred by a standard deviation in pixels."""
    levels = np.clip(picture * 255 + 0.5, 0, 255).astype(np.uint8)
    return Image.fromarray(levels).filter(ImageFilter.GaussianBlur(sigma))
