"""A Keras model that down- and upsamples images, with a skip connection, and its port to NNX."""

import jax
import jax.numpy as jnp
import keras
import numpy as np
from flax import nnx


def reference() -> keras.Model:
    """An untrained functional model, so all biases are zero."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    images = keras.Input((9, 12, 3))
    x = layers.Conv2D(4, 3, strides=2, padding="same", activation="relu", name="down")(images)
    skip = x
    x = layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2, name="depthwise")(x)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.Activation("elu")(x)
    x = layers.SeparableConv2D(4, 3, padding="same", activation="tanh", name="separable")(x)
    x = layers.Concatenate()([x, skip])
    x = layers.SpatialDropout2D(0.3)(x)
    x = layers.Conv2DTranspose(3, 3, strides=2, padding="same", name="up")(x)
    x = layers.Flatten()(x)
    return keras.Model(images, layers.Dense(4, activation="softmax", name="classes")(x))


class Upsampler(nnx.Module):
    """The port. `padding` plants a fault; `transpose_kernel` selects the kernel's layout."""

    def __init__(
        self,
        rngs: nnx.Rngs,
        padding: str | tuple[int, int] = "SAME",
        transpose_kernel: bool = True,
    ) -> None:
        self.down = nnx.Conv(3, 4, (3, 3), (2, 2), padding=padding, rngs=rngs)
        self.depthwise = nnx.Conv(4, 8, (3, 3), feature_group_count=4, rngs=rngs)
        self.norm = nnx.BatchNorm(8, momentum=0.99, epsilon=1e-3, rngs=rngs)
        self.spatial = nnx.Conv(8, 8, (3, 3), feature_group_count=8, use_bias=False, rngs=rngs)
        self.pointwise = nnx.Conv(8, 4, (1, 1), rngs=rngs)
        self.up = nnx.ConvTranspose(
            8, 3, (3, 3), (2, 2), transpose_kernel=transpose_kernel, rngs=rngs
        )
        self.classes = nnx.Linear(10 * 12 * 3, 4, rngs=rngs)

    def __call__(self, images: jax.Array) -> jax.Array:
        skip = nnx.relu(self.down(images))
        x = nnx.elu(self.norm(self.depthwise(skip)))
        x = jnp.tanh(self.pointwise(self.spatial(x)))
        x = self.up(jnp.concatenate([x, skip], axis=-1))
        return nnx.softmax(self.classes(x.reshape(len(x), -1)))


def batch() -> np.ndarray:
    """Images with their channels last."""
    return np.random.default_rng(0).standard_normal((4, 9, 12, 3)).astype("float32")
