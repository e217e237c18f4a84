"""Drawn digits: pen strokes along skeletons of 0 to 9, as MNIST would show them.

A digit is one of several skeletons, the ways in which people write it. Its points are moved at
random, its strokes begin and end too early or too late, and it is stretched, bent, slanted and
turned. A pen of varied width and pressure follows it. As in MNIST, the digit then fits into 20 × 20
pixels, and its centre of mass lies in the pixel at row 14 and column 14 of the 28 × 28 image.

The skeletons were drawn by hand; nothing is taken from MNIST's images.

Source of the centring: LeCun et al., 1998, section III.A.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Float64, Integer, UInt8

SIZE = 28
# Where MNIST's digits have their centre of mass, from the image's edges: half a pixel right of the
# middle, and half a pixel below it.
CENTRE = 14.5
_BOX = 20
# Straight pieces of a digit, enough for smooth curves.
_PIECES = 30
# The width of the pen's edge in pixels.
_EDGE = 1.35
# Images that share a random generator.
_BLOCK = 256
# Images that are rendered together; with more the distances no longer fit into the cache.
_TOGETHER = 8

# Skeletons by digit, one way of writing it a line: its share, then its points "x,y" in hundredths
# of a box that is 1 wide and 1 high; y points down. A smooth curve passes through the points. A "!"
# makes a corner, a "/" lifts the pen.
_SKELETONS = (
    """
    3: 55,2 20,12 5,50 20,90 50,98 82,85 95,50 82,12 50,2
    3: 70,10 40,2 12,25 6,65 30,97 65,92 93,60 88,20 60,5 45,12
    2: 60,5 15,10 -10,50 15,92 55,97 100,75 110,35 75,5
    2: 60,0 25,30 8,68 30,97 70,92 92,60 80,25 55,2
    2: 78,0 45,10 10,45 15,90 50,98 90,70 90,25 62,8 40,25
    1: 20,15 55,2 88,20 95,55 75,92 40,98 8,75 6,40 22,10 45,0
    1: 70,5 25,5 -10,45 10,90 50,98 100,80 112,40 80,5 45,12 55,35
    1: 60,2 25,20 5,55 20,92 60,95 90,60 88,20 60,10 45,40 40,60
    2: 100,15 60,8 5,30 -10,65 25,92 75,92 118,60 115,25 80,8
    """,
    """
    9: 50,0 50,35 50,70 50,100
    2: 35,18 45,10 55,0! 55,50 55,100
    1: 25,22 42,12 55,0! 55,50 55,100
    2: 25,22 50,0! 50,50 50,98 / 20,99 50,99 82,99
    """,
    """
    3: 10,25 25,6 55,0 85,15 82,40 50,70 8,98! 50,96 95,96
    3: 10,22 30,3 65,2 82,25 65,60 30,90 10,92 15,75 40,80 70,97 97,88
    2: 10,30 30,5 65,2 80,25 65,60 35,92 8,95 5,78 30,70 60,88 98,95
    3: 8,8 45,3 90,5! 50,50 5,97! 50,97 98,95
    2: 10,25 30,3 68,5 80,28 50,65 10,88! 45,82 75,95 100,102
    2: 20,35 12,20 35,2 70,3 85,25 60,60 8,92! 40,85 70,95 100,90
    2: 25,20 45,2 68,12 65,40 40,75 0,98! 50,93 112,90
    2: 5,20 38,2 75,8 78,38 58,68 20,98! 55,98 90,92
    1: 0,40 20,10 55,0 85,12 75,45 40,80 0,95 -5,85 20,78 60,92 105,100
    1: 5,15 40,0 80,15 75,45 45,70 10,75 5,90 30,90 50,72! 70,90 100,98
    1: 0,28 35,5 75,10 70,45 30,90 8,92 15,70 45,78 80,90 115,75
    3: 10,20 40,0 75,8 80,32 55,68 25,90 5,85 15,68 40,75 65,95 95,100
    3: 15,15 55,0 80,20 65,55 20,90 2,80 20,68 55,85 85,98 110,80
    3: 10,20 40,0 75,10 72,35 45,70 15,98 0,92 12,75 45,72 95,82
    3: 5,25 40,0 78,12 70,45 40,85 10,100 0,85 20,72 55,76 100,78
    2: 30,30 15,15 45,0 80,12 75,45 40,82 10,95 5,80 30,75 70,92 100,90
    """,
    """
    3: 12,12 45,0 82,12 78,36 45,48! 82,58 90,80 50,100 8,90
    2: 10,3 50,2 88,3! 45,42! 85,55 88,82 50,100 8,88
    2: 15,15 45,0 80,12 75,35 45,50 35,46 50,43 85,58 88,82 50,100 8,90
    2: 10,10 50,0 85,15 70,40 50,47 70,53 92,75 60,100 5,95
    1: 15,20 30,2 68,2 78,22 40,45! 75,50 90,75 55,100 12,92 5,78
    1: 5,5 40,8 80,0! 55,25 30,42! 65,42 85,65 65,92 10,100
    2: 5,15 45,0 90,12 85,40 40,58! 70,62 78,80 50,100 10,92
    1: 0,20 30,2 75,2 80,22 50,42 35,45! 65,48 78,68 65,92 35,98 20,90
    """,
    """
    3: 18,0 10,30 8,52! 45,52 92,48 / 78,2 74,50 70,100
    1: 65,0 35,32 5,64! 50,64 95,62 / 65,0 66,50 66,100
    2: 10,5 10,40 40,50 75,40 / 80,0 72,50 62,100
    2: 40,0 20,30 0,60! 50,58 105,52 / 65,30 60,65 52,100
    1: 20,0 10,35 0,58 12,64 50,56 100,50 / 75,15 66,60 60,100
    1: 25,0 8,42! 40,46 72,42! 78,5! 70,50 64,100
    2: 30,0 15,22 5,45! 50,45 100,38 / 85,0 68,45 50,100
    2: 12,0 2,35 2,55! 50,60 108,52 / 95,0 90,50 85,100
    """,
    """
    3: 90,2 55,3 20,4! 16,25 13,44! 50,36 87,55 82,85 45,100 8,90
    2: 22,5 18,25 15,42! 55,40 85,62 72,92 35,100 6,90 / 22,5 55,3 95,2
    2: 88,5 50,2 22,20 30,42 65,52 80,75 50,98 8,92
    2: 110,0 70,3 38,8! 30,28 25,42! 55,40 70,65 48,93 0,97
    3: 100,3 70,4 48,8! 38,28 30,42! 62,38 75,58 58,90 25,98 5,82
    2: 90,5 60,5 25,8! 20,28 14,45! 55,30 92,55 80,90 40,100 5,80
    2: 115,-5 75,2 45,8! 35,30 25,48! 55,50 55,75 35,95 5,100
    1: 85,0 50,2 20,5! 18,25 12,45! 50,42 85,65 65,95 25,98 5,82 15,70
    2: 32,12 26,28 22,42 50,44 75,62 60,90 30,100 0,92 / 35,6 70,4 110,-3
    1: 95,0 60,5 30,8! 28,30 20,50! 60,48 80,70 50,90 0,85
    1: 75,5 35,0 15,15 20,38 55,45 85,60 80,88 40,100 0,88
    """,
    """
    3: 72,0 38,18 12,55 14,85 45,100 82,88 82,60 50,50 20,66
    3: 55,0 25,30 10,70 32,98 70,95 88,72 65,52 30,62 15,80
    2: 50,0 25,40 10,75 30,98 65,95 80,72 55,55 20,75
    2: 45,0 15,35 5,70 30,98 75,95 95,70 70,50 40,60
    2: 20,0 12,40 10,80 30,100 80,95 95,70 70,50 30,58 12,80
    1: 85,8 60,0 30,15 10,50 15,88 50,100 82,82 75,58 40,55 8,70
    2: 75,0 45,25 15,62 20,95 55,98 78,80 65,65 40,72 20,92
    1: 60,0 25,25 5,65 20,95 60,100 100,82 105,62 70,55 30,72
    1: 30,0 8,45 0,80 25,98 70,98 85,80 60,68 20,85
    """,
    """
    3: 6,4 50,4 93,3! 65,45 42,100
    2: 8,18 10,5! 50,6 92,3! 60,50 45,100
    2: 12,42 20,10! 50,8 80,2! 60,45 40,100
    2: 8,4 50,5 92,3! 65,50 42,100 / 30,52 60,50 88,48
    2: 5,10 45,3 85,5 88,20 65,50 50,100
    1: 15,35 20,10! 55,8 85,2! 65,50 50,100
    1: 5,8 50,0 90,15 85,50 60,80 35,100
    2: 5,2 30,9 60,7 92,0! 70,50 60,100
    2: 2,15 35,8 85,0! 78,50 75,100
    1: 2,12 40,8 88,0! 70,45 55,100 / 25,58 55,52 95,50
    1: 10,30 30,5 55,10 60,25 90,0! 65,50 40,100
    1: 0,38 15,12 45,15 95,0! 60,50 30,100
    """,
    """
    3: 78,12 50,0 20,15 30,40 70,58 85,82 50,100 15,82 30,58 70,38 80,15 62,2
    2: 50,46 20,30 30,5 65,2 82,25 50,46 15,70 25,95 65,100 88,75 50,46
    2: 50,0 22,22 48,45 78,22 50,0 / 50,45 12,70 48,100 90,72 50,45
    3: 85,10 50,0 20,15 35,42 65,65 65,92 35,100 15,82 35,58 65,35 90,2
    2: 70,18 45,0 15,20 40,45 70,70 50,100 20,85 40,55 95,10
    1: 85,5 45,5 20,25 45,45 58,70 50,100 38,85 50,50 85,12
    1: 25,10 50,0 80,15 65,42 25,65 15,85 50,100 85,85 70,60 30,40 20,18 45,2
    1: 95,15 60,0 15,15 25,38 65,55 70,85 30,100 5,85 30,60 60,45 90,10
    2: 85,22 55,0 25,18 35,45 65,62 62,92 35,98 30,75 50,55 90,25
    1: 65,30 90,8 50,0 10,18 35,45 65,70 50,100 25,88 40,60 62,35
    1: 12,12 30,2 60,5 70,28 40,55 20,82 50,100 80,85 65,60 35,42 15,22
    2: 90,20 55,0 5,15 25,40 75,55 105,80 50,100 0,85 20,58 70,42 90,20
    """,
    """
    3: 82,15 50,0 15,20 18,45 50,52 80,30 84,12! 80,55 74,100
    2: 80,20 55,2 20,12 14,38 42,50 75,36 82,18 84,50 70,85 35,100 12,90
    2: 85,10 50,0 12,22 25,48 60,42 88,8! 75,50 60,100
    2: 75,12 40,2 10,22 25,48 65,42 85,20! 82,60 75,100
    3: 75,8 55,0 25,25 20,48 45,45 85,5! 65,55 45,100
    2: 70,20 40,0 5,20 15,50 50,50 75,25 78,10! 85,55 95,100
    3: 80,45 35,50 10,25 40,0 75,8 82,35 78,70 75,100
    2: 75,12 55,0 30,8 28,28 50,35 72,22 76,10! 70,55 55,100
    2: 95,5 50,2 15,20 30,40 70,32 90,15! 70,55 45,100
    1: 60,5 25,15 15,35 40,45 75,30 80,10 82,45 85,70 90,98
    """,
)


class _Skeletons(NamedTuple):
    """All skeletons as arrays; a curve is linear in its points, so that a matrix draws it.

    Attributes:
        until: The digit plus the shares of its skeletons up to this one, `[skeletons]`, ascending.
        points: Each skeleton's points, `[skeletons, points, 2]`; unused ones are zero.
        noise: Which point's random movement each point takes; those of a corner share one.
        longer: Maps points to the movement of a stroke's ends that makes the stroke longer.
        exact: Maps points to the starts and the ends of the pieces,
            `[skeletons, 2 * pieces, points]`.
        hasty: As `exact`, but the corners are round and the curves are flat.
    """

    until: np.ndarray
    points: np.ndarray
    noise: np.ndarray
    longer: np.ndarray
    exact: np.ndarray
    hasty: np.ndarray


@functools.cache
def _skeletons() -> _Skeletons:
    until: list[float] = []
    every: list[list[np.ndarray]] = []
    for digit, lines in enumerate(_SKELETONS):
        shares, ways = zip(*(line.split(":") for line in lines.strip().splitlines()), strict=True)
        summed = np.cumsum([int(share) for share in shares])
        until.extend(digit + summed / summed[-1])
        every.extend([_points(stroke) for stroke in way.split("/")] for way in ways)
    most = max(sum(map(len, strokes)) for strokes in every)
    points = np.zeros((len(every), most, 2))
    noise = np.tile(np.arange(most), (len(every), 1))
    longer = np.zeros((len(every), most, most))
    exact, hasty = (np.zeros((len(every), 2, _PIECES, most)) for _ in range(2))
    for number, strokes in enumerate(every):
        first_point = first_piece = 0
        counts = _shared(_PIECES, [len(stroke) - 1 for stroke in strokes])
        for stroke, count in zip(strokes, counts, strict=True):
            own = slice(first_point, first_point + len(stroke))
            points[number, own] = stroke
            noise[number, own][1:] -= (stroke[1:] == stroke[:-1]).all(1)
            longer[number, own.start, [own.start, own.start + 1]] = 1, -1
            longer[number, own.stop - 1, [own.stop - 1, own.stop - 2]] = 1, -1
            curve = _smooth(np.eye(len(stroke)), count + 1)
            pieces = slice(first_piece, first_piece + count)
            for matrix, drawn in ((exact, curve), (hasty, _flattened(curve))):
                matrix[number, :, pieces, own] = drawn[:-1], drawn[1:]
            first_point += len(stroke)
            first_piece += count
    flat = (len(every), 2 * _PIECES, most)
    return _Skeletons(
        np.array(until), points, noise, longer, exact.reshape(flat), hasty.reshape(flat)
    )


def _points(stroke: str) -> Float64[np.ndarray, "points 2"]:
    """The points of a stroke; a corner occurs twice, and so its two sides do not bend."""
    found: list[list[float]] = []
    for word in stroke.split():
        point = [int(part) / 100 for part in word.rstrip("!").split(",")]
        found.extend([point] * (1 + word.endswith("!")))
    return np.array(found)


def _flattened(curve: np.ndarray) -> np.ndarray:
    """Each point of a curve becomes the mean of its neighbourhood; the ends stay."""
    for _ in range(6):
        middle = (curve[:-2] + 2 * curve[1:-1] + curve[2:]) / 4
        curve = np.concatenate([curve[:1], middle, curve[-1:]])
    return curve


def draw_digits(
    labels: Integer[np.ndarray, " images"], seed: int = 0
) -> UInt8[np.ndarray, "images 28 28"]:
    """Draw an image of each label; the same seed and labels give the same pixels.

    Args:
        labels: The digits 0 to 9.
        seed: Another seed draws other images.

    Returns:
        Gray pixels, 0 for the background.
    """
    images = np.empty((len(labels), SIZE, SIZE), np.uint8)
    for block, start in enumerate(range(0, len(labels), _BLOCK)):
        chosen = np.asarray(labels[start : start + _BLOCK])
        pieces = _pieces(chosen, np.random.default_rng((seed, block)))
        for first in range(0, len(chosen), _TOGETHER):
            part = slice(first, min(first + _TOGETHER, len(chosen)))
            images[start + part.start : start + part.stop] = _rendered(pieces[part])
    return images


def _pieces(
    digits: Integer[np.ndarray, " images"], rng: np.random.Generator
) -> Float32[np.ndarray, "images pieces 5"]:
    """The pen's way in pixels: the ends of each piece (x, y, x, y) and the pen's radius there."""
    count = len(digits)
    ways = _ways(digits, rng)
    radius = np.clip(0.067 * np.exp(rng.normal(0, 0.28, (count, 1))), 0.03, 0.15)
    # The digit fits into the box with its pen, and so digits that were written larger look thinner.
    low, high = ways.min((1, 2)), ways.max((1, 2))
    scale = _BOX / ((high - low).max(1, keepdims=True) + 2 * radius)
    ways = (ways - (low + high)[:, None, None] / 2) * scale[..., None, None] + SIZE / 2
    starts, ends = ways[:, 0], ways[:, 1]
    # The pressure changes slowly along the way, the ink spreads unevenly, and a nib draws broader
    # in one direction.
    places = np.linspace(0, np.pi, _PIECES) + rng.uniform(0, 2 * np.pi, (count, 1))
    dx, dy = np.moveaxis(ends - starts, -1, 0)
    angles = np.arctan2(dy, dx) - rng.uniform(0, np.pi, (count, 1))
    pressure = (
        1
        + rng.normal(0, 0.12, (count, 1)) * np.sin(places)
        + rng.normal(0, 0.1, (count, _PIECES))
        + rng.normal(0, 0.1, (count, 1)) * np.cos(2 * angles)
    )
    pens = scale * radius * pressure
    return np.concatenate([starts, ends, pens[..., None]], -1).astype(np.float32)


def _ways(
    digits: Integer[np.ndarray, " images"], rng: np.random.Generator
) -> Float64[np.ndarray, "images 2 pieces 2"]:
    """The starts and the ends of the pieces (x, y), about 1 high, as different hands write."""
    table, count = _skeletons(), len(digits)
    # A float64 just below 1 would round up to the next digit when it is added; a float32 does not.
    place = rng.random(count, np.float32).astype(np.float64)
    chosen = np.searchsorted(table.until, digits + place, side="right")

    def varied(spread: float) -> Float64[np.ndarray, "images 1 1"]:
        return rng.normal(0, spread, (count, 1, 1))

    def wave(along: np.ndarray) -> np.ndarray:
        return varied(0.08) * np.sin(3 * along + rng.uniform(0, 2 * np.pi, (count, 1, 1)))

    moves = rng.normal(0, 1, (count, *table.points.shape[1:]))
    moves = np.take_along_axis(moves, table.noise[chosen][..., None], 1)
    points = table.points[chosen] + rng.uniform(0.02, 0.12, (count, 1, 1)) * moves
    # Strokes begin and end too early or too late, and so loops stay open or overshoot.
    points += rng.normal(0, 0.25, (count, points.shape[1], 1)) * (table.longer[chosen] @ points)
    exact, hasty = table.exact[chosen] @ points, table.hasty[chosen] @ points
    drawn = exact + rng.uniform(0, 0.7, (count, 1, 1)) * (hasty - exact)
    x, y = np.moveaxis(drawn, -1, 0)[..., None] - 0.5
    # High or low waists, wide heads or wide feet.
    y = y + varied(0.1) * np.cos(np.pi * y)
    x = x * (1 + varied(0.3) * y)
    # Stretched, bent, slanted (on average to the right) and turned.
    x = x * 0.77 * np.exp(varied(0.24))
    x = x + wave(y)
    y = y + wave(x)
    x = x - (0.14 + varied(0.27)) * y
    turn = varied(0.1)
    x, y = np.cos(turn) * x - np.sin(turn) * y, np.sin(turn) * x + np.cos(turn) * y
    return np.concatenate([x, y], -1).reshape(count, 2, _PIECES, 2)


def _shared(total: int, weights: list[int]) -> list[int]:
    """`total` pieces divided over strokes in proportion to their weights, each at least one."""
    shares = [max(1, total * weight // sum(weights)) for weight in weights]
    shares[0] += total - sum(shares)
    return shares


def _smooth(points: np.ndarray, count: int) -> np.ndarray:
    """`count` points of a Catmull-Rom curve through `points`."""
    padded = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    places = np.linspace(0, len(points) - 1, count)
    first = np.minimum(places.astype(int), len(points) - 2)
    t = (places - first)[:, None]
    a, b, c, d = (padded[first + shift] for shift in range(4))
    curve: np.ndarray = 0.5 * (
        2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3
    )
    return curve


_CENTRES = np.arange(SIZE, dtype=np.float32) + np.float32(0.5)


def _rendered(
    pieces: Float32[np.ndarray, "images pieces 5"],
) -> UInt8[np.ndarray, "images 28 28"]:
    """The pen's ink at each pixel's centre, then centred by mass."""
    x0, y0, x1, y1, radius = (pieces[:, :, i, None, None] for i in range(5))
    dx, dy = x1 - x0, y1 - y0
    right, down = _CENTRES - x0, _CENTRES[:, None] - y0
    length = np.maximum(dx * dx + dy * dy, np.float32(1e-6))
    # How far along its piece each pixel's nearest point lies, from 0 to 1.
    along = right * (dx / length) + down * (dy / length)
    np.clip(along, 0, 1, out=along)
    across = along * -dx
    across += right
    across *= across
    along *= -dy
    along += down
    along *= along
    along += across
    np.sqrt(along, out=along)
    np.subtract(radius, along, out=along)
    # MNIST has more levels close to black and to white than between them.
    gray = np.clip(along.max(axis=1) / np.float32(_EDGE) + np.float32(0.5), 0, 1)
    gray *= gray * (3 - 2 * gray)
    mass = gray.sum(axis=(1, 2))
    rights = np.rint(CENTRE - (gray.sum(1) @ _CENTRES) / mass).astype(int)
    downs = np.rint(CENTRE - (gray.sum(2) @ _CENTRES) / mass).astype(int)
    levels = np.rint(255 * gray).astype(np.uint8)
    moves = zip(levels, downs, rights, strict=True)
    return np.stack([_shifted(one, int(down), int(right)) for one, down, right in moves])


def _shifted(image: np.ndarray, down: int, right: int) -> np.ndarray:
    """The image moved by whole pixels; what leaves it is lost."""
    found = np.zeros_like(image)
    rows, columns = SIZE - abs(down), SIZE - abs(right)
    top, left = max(down, 0), max(right, 0)
    from_top, from_left = max(-down, 0), max(-right, 0)
    found[top : top + rows, left : left + columns] = image[
        from_top : from_top + rows, from_left : from_left + columns
    ]
    return found
