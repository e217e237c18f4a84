"""Counts a model's parameters."""

import math

import jax
from flax import nnx


def count_params(model: nnx.Module) -> int:
    """Returns the number of trainable scalars; `model` may be abstract (`nnx.eval_shape`)."""
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))
