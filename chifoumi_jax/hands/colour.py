"""Colour spaces: CIE L*a*b* (D65), linear light and sRGB."""

import numpy as np
from jaxtyping import Float32

_XYZ_TO_RGB = np.array(
    [
        [3.2404542, -1.5371385, -0.4985314],
        [-0.9692660, 1.8760108, 0.0415560],
        [0.0556434, -0.2040259, 1.0572252],
    ]
)
_WHITE = np.array([0.95047, 1.0, 1.08883])


def lab_to_linear(lab: tuple[float, float, float]) -> Float32[np.ndarray, "3"]:
    """Returns linear RGB, clipped to [0.002, 1], of a CIE L*a*b* colour (white D65)."""
    lightness, a, b = lab
    y = (lightness + 16.0) / 116.0
    f = np.array([y + a / 500.0, y, y - b / 200.0])
    xyz = _WHITE * np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29))
    return np.clip(_XYZ_TO_RGB @ xyz, 0.002, 1.0).astype(np.float32)


def linear_to_srgb(linear: Float32[np.ndarray, "..."]) -> Float32[np.ndarray, "..."]:
    """Returns sRGB in [0, 1] of linear light, rolled off softly above 0.7 as cameras do."""
    excess = np.maximum(linear - 0.7, 0.0)
    rolled = np.minimum(linear, 0.7) + 0.3 * (excess / (excess + 0.3))
    # 1/2.2 instead of the two pieces of IEC 61966-2-1, because one power needs no branch.
    return np.maximum(rolled, 0.0) ** np.float32(1 / 2.2)
