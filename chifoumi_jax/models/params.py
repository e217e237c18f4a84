"""Counting a model's parameters."""

import math

import jax
from flax import nnx


def count_params(model: nnx.Module) -> int:
    """Number of trainable scalars in `model`; works on an abstract model too (`nnx.eval_shape`)."""
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))
