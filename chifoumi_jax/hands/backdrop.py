"""Backgrounds behind the hand: families of surfaces and rooms that differ between train and test.

A family takes coordinates in cm and returns two maps: by how many stops each point is lighter than
its material, and the index of that material. Materials are colours near the backdrop's main colour.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Int

from chifoumi_jax.hands.colour import lab_to_linear
from chifoumi_jax.hands.people import SPLITS
from chifoumi_jax.hands.variety import VARIETY, Variety

Map = Float32[np.ndarray, "height width"]
Offsets = Float[np.ndarray, "height width"]
Noise = Float32[np.ndarray, "tile tile"]
Materials = Int[np.ndarray, "height width"]
Lab = tuple[float, float, float]

_TILE = 256
_MATERIALS = 6


@dataclass(frozen=True)
class Backdrop:
    """One background.

    Attributes:
        family: Name of the family that draws it.
        lab: CIE L*a*b* of its main colour.
        depth_blur: Standard deviation of the blur by distance, in per mille of the longer side.
    """

    family: str
    lab: Lab
    depth_blur: float


def families(split: str) -> tuple[str, ...]:
    """Returns the names of the families of one split."""
    return tuple(_FAMILIES[split])


def sample_backdrop(
    split: str, skin_lightness: float, rng: np.random.Generator, variety: Variety = VARIETY
) -> Backdrop:
    """Samples a backdrop that is darker or lighter than the skin by `variety.contrast` stops."""
    family = str(rng.choice(families(split)))
    darker = rng.uniform() < np.interp(skin_lightness, _SKIN_LIGHTNESS, variety.darker_share)
    lightness = _backdrop_lightness(skin_lightness, rng.uniform(*variety.contrast), bool(darker))
    # Hues are 15 degrees apart and alternate between the splits.
    hue = np.radians(30.0 * rng.integers(12) + 15.0 * SPLITS.index(split))
    # The skin's hues, about 30 to 80 degrees, and very dark colours stay pale.
    skinlike = 0.5 + 0.5 * float(np.cos(hue - np.radians(55.0)))
    chroma = rng.uniform(0.0, 1.0) * (26.0 - 20.0 * skinlike) * min(1.0, lightness / 30.0)
    lab = (lightness, chroma * float(np.cos(hue)), chroma * float(np.sin(hue)))
    blur = rng.uniform(8.0, 22.0) if family in _FAR_FAMILIES else rng.uniform(1.5, 5.0)
    return Backdrop(family=family, lab=lab, depth_blur=blur)


def _backdrop_lightness(skin_lightness: float, stops: float, darker: bool) -> float:
    """Returns the CIE L* `stops` from the skin's; darker if the lighter one exceeds `_LIGHTEST`."""
    skin = ((skin_lightness + 16.0) / 116.0) ** 3
    reflected = skin * 2.0 ** (-stops if darker else stops)
    if reflected > _LIGHTEST:
        reflected = skin * 2.0**-stops
    return 116.0 * max(reflected, _DARKEST) ** (1 / 3) - 16.0


def paint(
    backdrop: Backdrop,
    split: str,
    x: Map,
    y: Map,
    rng: np.random.Generator,
    variety: Variety = VARIETY,
) -> Float32[np.ndarray, "height width 3"]:
    """Returns the backdrop's linear RGB albedo at coordinates in cm."""
    painted = _paint(backdrop.family, backdrop.lab, split, x, y, rng, variety)
    if not variety.collage or rng.uniform() >= variety.collage:
        return painted
    for _ in range(rng.integers(1, 6)):
        # Another surface of any colour, on one side of a line or within an ellipse or rectangle.
        a, b = map(float, rng.normal(0, 14, 2))
        lab = (float(rng.uniform(5, 95)), a, b)
        family = str(rng.choice(families(split)))
        scale = np.float32(2.0 ** rng.uniform(-2, 2))
        other = _paint(family, lab, split, x * scale, y * scale, rng, variety)
        painted = np.where(_region(x, y, rng)[..., None], other, painted)
    return painted


def _paint(
    family: str,
    lab: Lab,
    split: str,
    x: Map,
    y: Map,
    rng: np.random.Generator,
    variety: Variety,
) -> Float32[np.ndarray, "height width 3"]:
    clutter = rng.uniform(*variety.clutter)
    stops, materials = _FAMILIES[split][family](x, y, clutter, rng)
    lightness, a, b = lab
    spread = variety.tint * clutter * min(1.0, lightness / 30.0)
    tints = rng.normal((a, b), spread, (_MATERIALS, 2))
    colours = np.array([lab_to_linear((lightness, *tint)) for tint in tints])
    return colours[materials] * np.exp2(stops.astype(np.float32))[..., None]


def _region(x: Map, y: Map, rng: np.random.Generator) -> Bool[np.ndarray, "height width"]:
    reach = 0.5 * float(np.ptp(x))
    u, v = _rotated(
        x - rng.uniform(-reach, reach), y - rng.uniform(-reach, reach), rng.uniform(0, 180)
    )
    half = rng.uniform(0.1, 0.8, 2) * reach
    kind = rng.integers(3)
    if kind == 0:
        return np.asarray(u > 0)
    if kind == 1:
        return np.asarray((u / half[0]) ** 2 + (v / half[1]) ** 2 < 1)
    return np.asarray((np.abs(u) < half[0]) & (np.abs(v) < half[1]))


def _noise(rng: np.random.Generator, slope: float) -> Noise:
    """Returns a periodic noise tile, standard deviation 1, spectrum scaled by frequency**-slope."""
    spectrum = np.fft.rfft2(rng.standard_normal((_TILE, _TILE), dtype=np.float32))
    fx, fy = np.fft.rfftfreq(_TILE), np.fft.fftfreq(_TILE)[:, None]
    frequency = np.hypot(fx, fy)
    frequency[0, 0] = np.inf
    noise = np.fft.irfft2(spectrum * frequency**-slope)
    return (noise / noise.std()).astype(np.float32)


def _sample(noise: Noise, x: Map, y: Map) -> Map:
    """Returns the noise at coordinates in pixels of its tile, bilinear, with wrap-around."""
    floor_x, floor_y = np.floor(x), np.floor(y)
    u, v = x - floor_x, y - floor_y
    left, top = floor_x.astype(np.int32) % _TILE, floor_y.astype(np.int32) % _TILE
    right, bottom = (left + 1) % _TILE, (top + 1) % _TILE
    flat = noise.ravel()
    top, bottom = top * _TILE, bottom * _TILE
    upper = flat[top + left] * (1 - u) + flat[top + right] * u
    lower = flat[bottom + left] * (1 - u) + flat[bottom + right] * u
    return upper * (1 - v) + lower * v


def _rotated(x: Map, y: Map, degrees: float) -> tuple[Map, Map]:
    c, s = np.float32(np.cos(np.radians(degrees))), np.float32(np.sin(np.radians(degrees)))
    return c * x + s * y, c * y - s * x


def _cell(x: Map) -> tuple[Materials, Map]:
    """Returns the index of the unit cell of each coordinate, and the position in the cell."""
    floor = np.floor(x)
    return floor.astype(np.int32), x - floor


def _random_per_cell(rng: np.random.Generator, *cells: Int[np.ndarray, "height width"]) -> Map:
    """Returns a random number in [-1, 1] for each cell, constant within the cell."""
    table = rng.uniform(-1, 1, 1024).astype(np.float32)
    mixed = np.stack([cell * factor for cell, factor in zip(cells, (1, 37), strict=False)])
    return table[mixed.sum(axis=0) & 1023]


def _single_material(shape: tuple[int, ...]) -> Materials:
    return np.zeros(shape, np.int32)


def _wall(x: Map, y: Map, clutter: float, rng: np.random.Generator) -> tuple[Offsets, Materials]:
    slow, fine = _noise(rng, 1.8), _noise(rng, 0.6)
    return (
        0.45 * clutter * _sample(slow, x * 1.5, y * 1.5) + 0.05 * _sample(fine, x * 9, y * 9),
        _single_material(x.shape),
    )


def _wood(x: Map, y: Map, clutter: float, rng: np.random.Generator) -> tuple[Offsets, Materials]:
    x, y = _rotated(x, y, rng.choice([0.0, 90.0]) + rng.uniform(-12, 12))
    width = rng.uniform(8, 16)
    plank, across = _cell(x / width)
    shift = 40 * _random_per_cell(rng, plank)
    grain = _sample(_noise(rng, 1.3), x * 7 + shift, y * 0.35 + shift)
    rings = np.sin(2.2 * x + 2.5 * _sample(_noise(rng, 2.0), x * 1.2 + shift, y * 0.5))
    seam = np.abs(across - 0.5) > 0.5 - 0.12 / width
    offsets = (
        clutter * (0.35 * grain + 0.2 * rings + 0.5 * _random_per_cell(rng, plank)) - 0.6 * seam
    )
    return offsets, plank % 2


def _tiles(x: Map, y: Map, clutter: float, rng: np.random.Generator) -> tuple[Offsets, Materials]:
    x, y = _rotated(x, y, rng.uniform(-20, 20))
    size = rng.uniform(6, 14)
    (column, across), (row, down) = _cell(x / size), _cell(y / size)
    edge = np.maximum(np.abs(across - 0.5), np.abs(down - 0.5))
    grout = edge > 0.5 - 0.22 / size
    slow = _sample(_noise(rng, 1.6), x * 3, y * 3)
    sign = rng.choice([-1.0, 1.0])
    offsets = clutter * (
        0.35 * _random_per_cell(rng, column, row) + 0.2 * slow + sign * 1.0 * grout
    )
    return offsets, _single_material(x.shape)


def _stripes(x: Map, y: Map, clutter: float, rng: np.random.Generator) -> tuple[Offsets, Materials]:
    x, y = _rotated(x, y, rng.uniform(-90, 90))
    period = rng.uniform(3, 9)
    bend = 0.25 * _sample(_noise(rng, 2.2), x * 1.5, y * 1.5)
    phase = x / period + bend
    band = _cell(phase)[1] < rng.uniform(0.3, 0.7)
    weave = 0.05 * np.sin(24 * x) * np.sin(24 * y)
    return clutter * np.where(band, 0.55, -0.55) + weave + 0.15 * bend, band.astype(np.int32)


def _desk(x: Map, y: Map, clutter: float, rng: np.random.Generator) -> tuple[Offsets, Materials]:
    offsets = 0.25 * clutter * _sample(_noise(rng, 1.5), x * 2, y * 2)
    materials = _single_material(x.shape)
    reach = 0.5 * float(np.ptp(x))
    for _ in range(rng.integers(4, 10)):
        u, v = _rotated(
            x - rng.uniform(-reach, reach), y - rng.uniform(-reach, reach), rng.uniform(0, 180)
        )
        half = rng.uniform(0.08, 0.32, 2) * reach
        is_round = rng.uniform() < 0.35
        q, r = u / half[0], v / half[1 - is_round]
        reached = q * q + r * r if is_round else np.maximum(np.abs(q), np.abs(r)) ** 2
        offsets = offsets - 1.2 * np.clip(1.35 - reached, 0, 1) * (reached > 1)
        inside = reached < 1
        level = clutter * rng.uniform(-1, 1)
        pattern = 0.25 * clutter * (np.sin(u * rng.uniform(0.5, 4)) > 0.6)
        offsets = np.where(inside, level + pattern, offsets)
        materials = np.where(inside, rng.integers(1, _MATERIALS), materials)
    return offsets, materials


def _bokeh(x: Map, y: Map, clutter: float, rng: np.random.Generator) -> tuple[Offsets, Materials]:
    offsets = clutter * 0.5 * _sample(_noise(rng, 2.0), x, y)
    materials = (_sample(_noise(rng, 2.2), x, y) > 0.4).astype(np.int32)
    reach = 0.5 * float(np.ptp(x))
    for _ in range(rng.integers(8, 18)):
        cx, cy = rng.uniform(-reach, reach, 2)
        size = rng.uniform(0.04, 0.16) * reach
        disc = (x - cx) ** 2 + (y - cy) ** 2 < size * size
        offsets = offsets + disc * np.float32(clutter * rng.uniform(0.1, 0.9))
    return offsets, materials


def _concrete(
    x: Map, y: Map, clutter: float, rng: np.random.Generator
) -> tuple[Offsets, Materials]:
    speckle = _sample(_noise(rng, 0.3), x * 7, y * 7)
    slow = _sample(_noise(rng, 1.5), x * 2, y * 2)
    return clutter * (0.16 * speckle + 0.35 * slow), _single_material(x.shape)


def _parquet(x: Map, y: Map, clutter: float, rng: np.random.Generator) -> tuple[Offsets, Materials]:
    x, y = _rotated(x, y, rng.uniform(-50, 50))
    width, length = rng.uniform(4, 7), rng.uniform(18, 32)
    plank, across = _cell(x / width)
    piece, along = _cell(y / length + np.float32(0.5) * (plank % 2).astype(np.float32))
    shift = 40 * _random_per_cell(rng, plank, piece)
    grain = _sample(_noise(rng, 1.2), x * 6 + shift, y * 0.5 + shift)
    seam = (np.abs(across - 0.5) > 0.5 - 0.1 / width) | (np.abs(along - 0.5) > 0.5 - 0.1 / length)
    offsets = clutter * (0.25 * grain + 0.5 * _random_per_cell(rng, plank, piece)) - 0.5 * seam
    return offsets, (plank + piece) % 3


def _checks(x: Map, y: Map, clutter: float, rng: np.random.Generator) -> tuple[Offsets, Materials]:
    x, y = _rotated(x, y, rng.uniform(-45, 45))
    period = rng.uniform(3, 8)
    across, down = _cell(2 * x / period)[0] % 2, _cell(2 * y / period)[0] % 2
    weave = 0.05 * np.sin(20 * x) * np.sin(20 * y)
    slow = _sample(_noise(rng, 2.0), x * 1.5, y * 1.5)
    return clutter * (0.55 * (across + down - 1) + 0.25 * slow) + weave, across


def _shelf(x: Map, y: Map, clutter: float, rng: np.random.Generator) -> tuple[Offsets, Materials]:
    x, y = _rotated(x, y, rng.uniform(-4, 4))
    height = rng.uniform(22, 30)
    row = np.floor((y + rng.uniform(0, height)) / height).astype(np.int32)
    edges = np.cumsum(rng.uniform(1.5, 5.0, 200)).astype(np.float32) - 300
    spine = np.searchsorted(edges, x + 13.7 * row).astype(np.int32)
    board = np.abs((y / height) % 1.0) < 0.06
    level = _random_per_cell(rng, spine, row)
    band = np.sin(0.9 * y + 9 * level) > 0.9
    offsets = clutter * (0.8 * level + 0.3 * band)
    return np.where(board, 0.0, offsets), np.where(board, 0, 1 + spine % (_MATERIALS - 1))


def _foliage(x: Map, y: Map, clutter: float, rng: np.random.Generator) -> tuple[Offsets, Materials]:
    bend = _sample(_noise(rng, 1.8), x * 2, y * 2)
    leaves = np.abs(_sample(_noise(rng, 1.3), x * 4 + 8 * bend, y * 4 - 8 * bend))
    depth = _sample(_noise(rng, 2.0), x * 1.5, y * 1.5)
    return clutter * (0.7 * leaves - 0.5 + 0.4 * depth), (depth > 0.3).astype(np.int32)


def _curtain(x: Map, y: Map, clutter: float, rng: np.random.Generator) -> tuple[Offsets, Materials]:
    x, y = _rotated(x, y, rng.uniform(-10, 10))
    bend = _sample(_noise(rng, 2.2), x * 1.2, y * 0.3)
    folds = np.sin(x * rng.uniform(0.6, 1.6) + 2.2 * bend)
    weave = 0.04 * np.sin(22 * x) * np.sin(22 * y)
    return clutter * (0.75 * folds * (0.7 + 0.3 * bend)) + weave, _single_material(x.shape)


# CIE L* of the darkest and the lightest skin.
_SKIN_LIGHTNESS = (27.0, 75.0)
# Reflectance of black cloth and of white paper.
_DARKEST, _LIGHTEST = 0.012, 0.9

_Family = Callable[[Map, Map, float, np.random.Generator], tuple[Offsets, Materials]]
_FAMILIES: Mapping[str, Mapping[str, _Family]] = {
    "train": {
        "wall": _wall,
        "wood": _wood,
        "tiles": _tiles,
        "stripes": _stripes,
        "desk": _desk,
        "bokeh": _bokeh,
    },
    "test": {
        "concrete": _concrete,
        "parquet": _parquet,
        "checks": _checks,
        "shelf": _shelf,
        "foliage": _foliage,
        "curtain": _curtain,
    },
}
_FAR_FAMILIES = frozenset({"bokeh", "foliage", "shelf"})
