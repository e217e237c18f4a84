"""Rendered hands, the embedded default data set: three-dimensional hands drawn from a seed."""

from chifoumi_jax.hands.pose import GESTURES, NOTHING
from chifoumi_jax.hands.render import render
from chifoumi_jax.hands.variety import VARIETY, WILD
from chifoumi_jax.hands.write import write_hands

# Part of every cache key; any change of a picture must raise it.
RENDERER_VERSION = 1
# Likewise, for the pictures drawn with `WILD` only.
WILD_VERSION = 2

__all__ = [
    "GESTURES",
    "NOTHING",
    "RENDERER_VERSION",
    "VARIETY",
    "WILD",
    "WILD_VERSION",
    "render",
    "write_hands",
]
