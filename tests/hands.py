"""Rendered hands for tests, and pictures without one."""

import dataclasses
import functools
from pathlib import Path

import numpy as np
from PIL import Image

from chifoumi_jax.hands import GESTURES, render, write_hands
from chifoumi_jax.hands.variety import VARIETY

# Small pictures, because a folder of them takes a second.
write_small = functools.partial(
    write_hands, variety=dataclasses.replace(VARIETY, long_side=(48, 96))
)


def write_hands_and_nothing(root: Path, per_class: int) -> Path:
    """Rendered hands, and a class `nothing` of soft spots of colour."""
    for name in (*GESTURES, "nothing"):
        (root / name).mkdir(parents=True)
        for seed in range(per_class):
            hand_or_nothing(name, seed).save(root / name / f"{seed:03}.jpg", quality=92)
    return root


def hand_or_nothing(name: str, seed: int, size: int = 96) -> Image.Image:
    """A rendered hand, or soft spots of colour for `nothing`."""
    if name != "nothing":
        return Image.fromarray(render(name, seed=seed, size=(size, size)))
    spots = np.random.default_rng(seed).integers(30, 200, (3, 3, 3), np.uint8)
    return Image.fromarray(spots).resize((size, size), Image.Resampling.BICUBIC)
