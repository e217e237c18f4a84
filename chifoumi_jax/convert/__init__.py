"""Weights from Keras and PyTorch, and back, bit for bit, without trusting the files."""

from chifoumi_jax.convert.efficientnet_lite import efficientnet_lite0_from_torch
from chifoumi_jax.convert.keras import from_keras, to_keras
from chifoumi_jax.convert.torch import from_torch, to_torch
from chifoumi_jax.convert.untrusted.errors import WeightsError

__all__ = [
    "WeightsError",
    "efficientnet_lite0_from_torch",
    "from_keras",
    "from_torch",
    "to_keras",
    "to_torch",
]
