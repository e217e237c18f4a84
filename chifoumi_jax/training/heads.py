"""Heads: classifiers on a network's features, either a linear layer or a perceptron."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int32, Key

from chifoumi_jax.losses import Loss

# A layer's inputs and outputs differ from the next one's, so they are not named.
Head = list[tuple[Float[Array, "_ _"], Float[Array, " _"]]]

HIDDEN = 128
_STEPS = 600
_BATCH = 256
_RATE = 3e-3


@partial(jax.jit, static_argnames=("classes", "depth", "loss"))
def train_head(
    key: Key[Array, ""],
    features: Float[Array, "images features"],
    labels: Int32[Array, " images"],
    weights: Float[Array, " images"],
    *,
    classes: int,
    depth: int,
    loss: Loss,
) -> Head:
    """Train a head with 600 steps of Adam and a cosine learning rate.

    Each step takes 256 images, drawn at random with replacement.

    Args:
        key: Random key of the draws and of the hidden layers' weights; the last layer begins at
            zero.
        features: The network's features of each image.
        labels: The images' classes.
        weights: Weight of each image in the loss; 0 leaves it out.
        classes: Number of classes.
        depth: Number of hidden layers of 128 units; 0 is a linear head.
        loss: Loss of each image, from logits.
    """
    optimizer = optax.adam(optax.cosine_decay_schedule(_RATE, _STEPS))
    weights_key, draws_key = jax.random.split(key)
    head = _initial(weights_key, features.shape[1], classes, depth)

    def mean_loss(head: Head, rows: Array) -> Array:
        losses = loss(logits(head, features[rows]), labels[rows]) * weights[rows]
        return jnp.sum(losses) / jnp.maximum(jnp.sum(weights[rows]), 1)

    def step(carry: Any, rows_key: Key[Array, ""]) -> tuple[Any, None]:
        head, opt_state = carry
        rows = jax.random.randint(rows_key, (_BATCH,), 0, len(labels))
        updates, opt_state = optimizer.update(jax.grad(mean_loss)(head, rows), opt_state)
        return (optax.apply_updates(head, updates), opt_state), None

    carry = head, optimizer.init(head)
    (head, _), _ = jax.lax.scan(step, carry, jax.random.split(draws_key, _STEPS))
    return head


def logits(head: Head, features: Float[Array, "images features"]) -> Float[Array, "images classes"]:
    """A head's logits."""
    *hidden, (kernel, bias) = head
    for inner_kernel, inner_bias in hidden:
        features = jax.nn.relu(features @ inner_kernel + inner_bias)
    return features @ kernel + bias


def _initial(key: Key[Array, ""], features: int, classes: int, depth: int) -> Head:
    sizes = [features, *(HIDDEN for _ in range(depth))]
    he = jax.nn.initializers.he_normal()
    keys = jax.random.split(key, max(depth, 1))
    hidden = [
        (he(inner, (size_in, size_out)), jnp.zeros(size_out))
        for inner, size_in, size_out in zip(keys, sizes, sizes[1:], strict=False)
    ]
    return [*hidden, (jnp.zeros((sizes[-1], classes)), jnp.zeros(classes))]
