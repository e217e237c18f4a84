"""The architectures, one per file, and what they share."""

from chifoumi_jax.models.cnn import CNN
from chifoumi_jax.models.efficientnet_lite import EfficientNetLite0
from chifoumi_jax.models.mlp import MLP
from chifoumi_jax.models.params import count_params

__all__ = ["CNN", "MLP", "EfficientNetLite0", "count_params"]
