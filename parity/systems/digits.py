"""Digits and weights on which the ports of the study's small systems are compared."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping

import numpy as np

from chifoumi_jax.systems.drawn_digits import draw_digits


@functools.cache
def images(count: int) -> np.ndarray:
    """Drawn digits with pixels from 0 to 1, `[count, 28, 28]` in float32."""
    labels = np.arange(count) % 10
    return draw_digits(labels, seed=11) / np.float32(255)


def linear_weights(layers: Mapping[str, tuple[int, int]]) -> dict[str, np.ndarray]:
    """Weights of PyTorch's linear layers by their inputs and outputs, in float64.

    Twice as spread as PyTorch draws them, so that ReLU and sigmoid are not close to linear.
    """
    rng, found = np.random.default_rng(7), {}
    for name, (inputs, outputs) in layers.items():
        bound = 2 / math.sqrt(inputs)
        found[f"{name}.weight"] = rng.uniform(-bound, bound, (outputs, inputs))
        found[f"{name}.bias"] = rng.uniform(-bound, bound, outputs)
    return found


def saturating(outputs: int) -> np.ndarray:
    """Biases before a sigmoid, with which a third of its float32 values are 1 and a third 0.

    No value is between 0 and 1e-38, because XLA flushes such numbers to 0 and PyTorch does not.
    """
    return np.array([200.0, -200.0, 0.0])[np.arange(outputs) % 3]
