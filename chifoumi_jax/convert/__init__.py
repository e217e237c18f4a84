"""Converts weights from and to Keras and PyTorch, bit for bit; files are never trusted."""

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
