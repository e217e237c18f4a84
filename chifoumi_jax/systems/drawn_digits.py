"""Drawn digits: pen strokes along skeletons of 0 to 9, as MNIST would show them.

A digit is one of several skeletons, whose points are moved at random. It is stretched, slanted and
turned; a pen of varied width and pressure follows it. As in MNIST, the digit then fits into 20 × 20
pixels, and its centre of mass is the centre of the 28 × 28 image.

Source of the centring: LeCun et al., 1998, section III.A.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Integer, UInt8

SIZE = 28
_BOX = 20
# Straight pieces of a digit, enough for smooth curves.
_PIECES = 30
# Images that share a random generator.
_BLOCK = 256
# Images that are rendered together; with more the distances no longer fit into the cache.
_TOGETHER = 8

# Skeletons by digit: each is a list of strokes, each stroke the points of a smooth curve. The box
# is 1 wide and 1 high, y points down. A point that occurs twice in a row is a corner.
# Not formatted, because one point a line would take 250 lines.
_SKELETONS: dict[int, list[list[list[tuple[float, float]]]]] = {
    0: [
        [[(0.55, 0.02), (0.2, 0.12), (0.05, 0.5), (0.2, 0.9), (0.5, 0.98), (0.82, 0.85),
          (0.95, 0.5), (0.82, 0.12), (0.5, 0.02)]],
        [[(0.7, 0.1), (0.4, 0.02), (0.12, 0.25), (0.06, 0.65), (0.3, 0.97), (0.65, 0.92),
          (0.93, 0.6), (0.88, 0.2), (0.6, 0.05), (0.45, 0.12)]],
    ],
    1: [
        [[(0.5, 0.0), (0.5, 0.35), (0.5, 0.7), (0.5, 1.0)]],
        [[(0.25, 0.25), (0.42, 0.12), (0.55, 0.0), (0.55, 0.0), (0.55, 0.5), (0.55, 1.0)]],
        [[(0.25, 0.22), (0.5, 0.0), (0.5, 0.0), (0.5, 0.5), (0.5, 0.98)],
         [(0.2, 0.99), (0.5, 0.99), (0.82, 0.99)]],
    ],
    2: [
        [[(0.1, 0.25), (0.25, 0.06), (0.55, 0.0), (0.85, 0.15), (0.82, 0.4), (0.5, 0.7),
          (0.08, 0.98), (0.08, 0.98), (0.5, 0.96), (0.95, 0.96)]],
        [[(0.1, 0.22), (0.3, 0.03), (0.65, 0.02), (0.82, 0.25), (0.65, 0.6), (0.3, 0.9),
          (0.1, 0.92), (0.15, 0.75), (0.4, 0.8), (0.7, 0.97), (0.97, 0.88)]],
    ],
    3: [
        [[(0.12, 0.12), (0.45, 0.0), (0.82, 0.12), (0.78, 0.36), (0.45, 0.48), (0.45, 0.48),
          (0.82, 0.58), (0.9, 0.8), (0.5, 1.0), (0.08, 0.9)]],
        [[(0.1, 0.03), (0.5, 0.02), (0.88, 0.03), (0.88, 0.03), (0.45, 0.42), (0.45, 0.42),
          (0.85, 0.55), (0.88, 0.82), (0.5, 1.0), (0.08, 0.88)]],
    ],
    4: [
        [[(0.18, 0.0), (0.1, 0.3), (0.08, 0.52), (0.08, 0.52), (0.45, 0.52), (0.92, 0.48)],
         [(0.78, 0.02), (0.74, 0.5), (0.7, 1.0)]],
        [[(0.65, 0.0), (0.35, 0.32), (0.05, 0.64), (0.05, 0.64), (0.5, 0.64), (0.95, 0.62)],
         [(0.65, 0.0), (0.66, 0.5), (0.66, 1.0)]],
    ],
    5: [
        [[(0.9, 0.02), (0.55, 0.03), (0.2, 0.04), (0.2, 0.04), (0.16, 0.25), (0.13, 0.44),
          (0.13, 0.44), (0.5, 0.36), (0.87, 0.55), (0.82, 0.85), (0.45, 1.0), (0.08, 0.9)]],
        [[(0.22, 0.05), (0.18, 0.25), (0.15, 0.42), (0.15, 0.42), (0.55, 0.4), (0.85, 0.62),
          (0.72, 0.92), (0.35, 1.0), (0.06, 0.9)],
         [(0.22, 0.05), (0.55, 0.03), (0.95, 0.02)]],
    ],
    6: [
        [[(0.72, 0.0), (0.38, 0.18), (0.12, 0.55), (0.14, 0.85), (0.45, 1.0), (0.82, 0.88),
          (0.82, 0.6), (0.5, 0.5), (0.2, 0.66)]],
        [[(0.55, 0.0), (0.25, 0.3), (0.1, 0.7), (0.32, 0.98), (0.7, 0.95), (0.88, 0.72),
          (0.65, 0.52), (0.3, 0.62), (0.15, 0.8)]],
    ],
    7: [
        [[(0.06, 0.04), (0.5, 0.04), (0.93, 0.03), (0.93, 0.03), (0.65, 0.45), (0.42, 1.0)]],
        [[(0.08, 0.18), (0.1, 0.05), (0.1, 0.05), (0.5, 0.06), (0.92, 0.03), (0.92, 0.03),
          (0.6, 0.5), (0.45, 1.0)]],
        [[(0.08, 0.04), (0.5, 0.05), (0.92, 0.03), (0.92, 0.03), (0.65, 0.5), (0.42, 1.0)],
         [(0.3, 0.52), (0.6, 0.5), (0.88, 0.48)]],
    ],
    8: [
        [[(0.78, 0.12), (0.5, 0.0), (0.2, 0.15), (0.3, 0.4), (0.7, 0.58), (0.85, 0.82),
          (0.5, 1.0), (0.15, 0.82), (0.3, 0.58), (0.7, 0.38), (0.8, 0.15), (0.62, 0.02)]],
        [[(0.5, 0.46), (0.2, 0.3), (0.3, 0.05), (0.65, 0.02), (0.82, 0.25), (0.5, 0.46),
          (0.15, 0.7), (0.25, 0.95), (0.65, 1.0), (0.88, 0.75), (0.5, 0.46)]],
    ],
    9: [
        [[(0.82, 0.15), (0.5, 0.0), (0.15, 0.2), (0.18, 0.45), (0.5, 0.52), (0.8, 0.3),
          (0.84, 0.12), (0.84, 0.12), (0.8, 0.55), (0.74, 1.0)]],
        [[(0.8, 0.2), (0.55, 0.02), (0.2, 0.12), (0.14, 0.38), (0.42, 0.5), (0.75, 0.36),
          (0.82, 0.18), (0.84, 0.5), (0.7, 0.85), (0.35, 1.0), (0.12, 0.9)]],
    ],
}  # fmt: skip


class _Skeletons(NamedTuple):
    """All skeletons as arrays; a curve is linear in its points, so that a matrix draws it.

    Attributes:
        points: Each skeleton's points, `[skeletons, points, 2]`; unused ones are zero.
        noise: Which point's random movement each point takes; those of a corner share one.
        starts: Maps points to the starts of the pieces, `[skeletons, pieces, points]`.
        ends: Maps points to the ends of the pieces.
        by_digit: First skeleton of each digit, and one past the last of all.
    """

    points: np.ndarray
    noise: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    by_digit: np.ndarray


@functools.cache
def _skeletons() -> _Skeletons:
    every = [strokes for digit in range(10) for strokes in _SKELETONS[digit]]
    most = max(sum(map(len, strokes)) for strokes in every)
    points = np.zeros((len(every), most, 2))
    noise = np.zeros((len(every), most), int)
    starts, ends = (np.zeros((len(every), _PIECES, most)) for _ in range(2))
    for number, strokes in enumerate(every):
        first_point = first_piece = 0
        shares = _shared(_PIECES, [len(stroke) - 1 for stroke in strokes])
        for stroke, count in zip(strokes, shares, strict=True):
            own = slice(first_point, first_point + len(stroke))
            points[number, own] = stroke
            places = np.arange(first_point, first_point + len(stroke))
            same = [i > 0 and stroke[i] == stroke[i - 1] for i in range(len(stroke))]
            noise[number, own] = places - np.array(same)
            drawn = _smooth(np.eye(len(stroke)), count + 1)
            pieces = slice(first_piece, first_piece + count)
            starts[number, pieces, own] = drawn[:-1]
            ends[number, pieces, own] = drawn[1:]
            first_point += len(stroke)
            first_piece += count
    counts = [len(_SKELETONS[digit]) for digit in range(10)]
    return _Skeletons(points, noise, starts, ends, np.concatenate([[0], np.cumsum(counts)]))


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
    table, count = _skeletons(), len(digits)
    first, last = table.by_digit[digits], table.by_digit[digits + 1]
    chosen = first + (rng.random(count) * (last - first)).astype(int)

    def varied(mean: float, spread: float, *shape: int) -> np.ndarray:
        return rng.normal(mean, spread, (count, *shape))

    jitter = rng.uniform(0.015, 0.06, (count, 1, 1))
    moves = varied(0, 1, table.points.shape[1], 2)
    moves = np.take_along_axis(moves, table.noise[chosen][:, :, None], 1)
    points = table.points[chosen] + jitter * moves
    ends = np.stack([table.starts[chosen] @ points, table.ends[chosen] @ points], 1)
    x, y = ends[..., 0], ends[..., 1]
    # Stretched, bent, slanted and turned, as hands differ.
    x = x * np.maximum(varied(0.76, 0.15, 1, 1), 0.35)
    x = x + varied(0, 0.05, 1, 1) * np.sin(3 * y + rng.uniform(0, 6.3, (count, 1, 1)))
    y = y + varied(0, 0.05, 1, 1) * np.sin(3 * x + rng.uniform(0, 6.3, (count, 1, 1)))
    x = x - varied(0.12, 0.22, 1, 1) * (y - 0.5)
    turn = varied(0, 0.1, 1, 1)
    x, y = np.cos(turn) * x - np.sin(turn) * y, np.sin(turn) * x + np.cos(turn) * y
    radius = np.clip(varied(1.25, 0.36, 1, 1), 0.6, 2.2)
    ways = np.stack([x, y], -1)
    low, high = ways.min((1, 2), keepdims=True), ways.max((1, 2), keepdims=True)
    scale = (_BOX - 2 * radius[..., None]) / (high - low).max(-1, keepdims=True)
    ways = (ways - (low + high) / 2) * scale + SIZE / 2
    steps = np.linspace(0, np.pi, _PIECES)
    pressure = 1 + varied(0, 0.12, 1) * np.sin(steps + rng.uniform(0, 6.3, (count, 1)))
    pens = (radius[:, 0] * pressure)[..., None]
    return np.concatenate([ways[:, 0], ways[:, 1], pens], -1).astype(np.float32)


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
    # The pen's edge is soft over one pixel.
    gray = np.clip(along.max(axis=1) + np.float32(0.5), 0, 1)
    mass = gray.sum(axis=(1, 2))
    rights = np.rint(SIZE / 2 - (gray.sum(1) @ _CENTRES) / mass).astype(int)
    downs = np.rint(SIZE / 2 - (gray.sum(2) @ _CENTRES) / mass).astype(int)
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
