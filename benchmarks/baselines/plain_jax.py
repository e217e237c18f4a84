"""A plain port, as most ports begin: `lax.conv`, `reduce_window`, autodiff and Optax."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from benchmarks.baselines import inputs


class PlainCNN(nnx.Module):
    """The study's CNN, built from Flax's own layers."""

    def __init__(self, image_size: int, rngs: nnx.Rngs):
        self.conv1 = nnx.Conv(3, 32, (3, 3), padding="VALID", rngs=rngs)
        self.conv2 = nnx.Conv(32, 32, (3, 3), padding="VALID", rngs=rngs)
        self.conv3 = nnx.Conv(32, 64, (3, 3), padding="VALID", rngs=rngs)
        for _ in range(3):
            image_size = (image_size - 2) // 2
        self.dense1 = nnx.Linear(image_size**2 * 64, 64, rngs=rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)
        self.dense2 = nnx.Linear(64, inputs.CLASSES, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns logits."""
        for conv in (self.conv1, self.conv2, self.conv3):
            x = nnx.max_pool(nnx.relu(conv(x)), (2, 2), strides=(2, 2))
        x = self.dropout(nnx.relu(self.dense1(x.reshape(len(x), -1))))
        return self.dense2(x)


def train(batch_size: int, image_size: int) -> Callable[[], None]:
    """One training step: dropout, forward, backward, Adam."""
    model = PlainCNN(image_size, nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, optax.adam(1e-3), wrt=nnx.Param)
    images = jnp.asarray(inputs.scaled(batch_size, image_size))
    labels = jnp.asarray(inputs.labels(batch_size))

    @nnx.jit
    def step(model: PlainCNN, optimizer: Any, images: jax.Array, labels: jax.Array) -> jax.Array:
        def loss(model: PlainCNN) -> jax.Array:
            losses = optax.softmax_cross_entropy_with_integer_labels(model(images), labels)
            return losses.mean()

        value, gradients = nnx.value_and_grad(loss)(model)
        optimizer.update(model, gradients)
        return value

    return lambda: jax.block_until_ready(step(model, optimizer, images, labels))


def predict(batch_size: int, image_size: int) -> Callable[[], None]:
    """Class probabilities for a batch of scaled images in host memory."""
    model = PlainCNN(image_size, nnx.Rngs(0))
    # Flax has no type annotation for `eval`.
    model.eval()  # type: ignore[no-untyped-call]
    images = inputs.scaled(batch_size, image_size)
    forward = nnx.jit(lambda model, images: jax.nn.softmax(model(images)))

    def run() -> None:
        np.asarray(forward(model, images))

    return run
