"""The study's dense generative adversarial network of digits, in Keras.

    python -m reference.gan --data FOLDER [--epochs 400] [--seed 10]

The study printed no number. Keras 3 has neither the cross-entropy of Keras 2.2.4, which clips
probabilities, nor an optimiser that several models share, so both are written here.
"""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from reference.run import Run

EPOCHS = 400
BATCH_SIZE = 128
CODE = 100
PIXELS = 28 * 28
DROPOUT = 0.3
# Units of the discriminator's hidden layers, each followed by dropout.
HIDDEN = (1024, 512, 256)

# Keras' `K.epsilon()`.
_EPSILON = 1e-7


def leaky_relu(x: Any) -> Any:
    """LeakyReLU of 0.2, whose gradient at 0 is 0.2 too; today's holds its slope as float32."""
    return tf.where(x > 0, x, tf.constant(0.2, x.dtype) * x)


def generator(dtype: str = "float32") -> keras.Sequential:
    """100 → 256 → 512 → 1024 → 784, with LeakyReLU between them and tanh at the end."""
    normal = keras.initializers.RandomNormal(stddev=0.02)
    layers = [keras.Input((CODE,), dtype=dtype)]
    for place, units in enumerate((256, 512, 1024), 1):
        kernel = normal if place == 1 else "glorot_uniform"
        layers += [
            keras.layers.Dense(units, kernel_initializer=kernel, dtype=dtype),
            keras.layers.Activation(leaky_relu, dtype=dtype),
        ]
    layers.append(keras.layers.Dense(PIXELS, activation="tanh", dtype=dtype))
    return keras.Sequential(layers, name="generator")


def discriminator(dtype: str = "float32") -> keras.Sequential:
    """784 → 1024 → 512 → 256 → 1, with LeakyReLU and dropout between, and a sigmoid."""
    normal = keras.initializers.RandomNormal(stddev=0.02)
    layers = [keras.Input((PIXELS,), dtype=dtype)]
    for place, units in enumerate(HIDDEN, 1):
        kernel = normal if place == 1 else "glorot_uniform"
        layers += [
            keras.layers.Dense(units, kernel_initializer=kernel, dtype=dtype),
            keras.layers.Activation(leaky_relu, dtype=dtype),
            keras.layers.Dropout(DROPOUT, dtype=dtype),
        ]
    layers.append(keras.layers.Dense(1, activation="sigmoid", dtype=dtype))
    return keras.Sequential(layers, name="discriminator")


def discriminate(model: keras.Sequential, images: Any, masks: Sequence[Any] = ()) -> Any:
    """The probability that each image is real, `[images, 1]`.

    Args:
        model: The discriminator.
        images: `[images, 784]`.
        masks: The values that each dropout keeps; without masks nothing is dropped.
    """
    x, given = images, iter(masks)
    for layer in model.layers:
        if not isinstance(layer, keras.layers.Dropout):
            x = layer(x)
        elif masks:
            x = tf.where(next(given), x / (1 - DROPOUT), tf.zeros_like(x))
    return x


def binary_cross_entropy(targets: Any, probabilities: Any) -> Any:
    """Keras 2.2.4's cross-entropy of each probability; today's never clips.

    Source: `keras.backend.binary_crossentropy` of 2.2.4.
    """
    low = tf.constant(_EPSILON, probabilities.dtype)
    p = tf.clip_by_value(probabilities, low, 1 - low)
    return tf.nn.sigmoid_cross_entropy_with_logits(targets, tf.math.log(p / (1 - p)))


def discriminator_loss(
    generate: keras.Sequential, discriminator: keras.Sequential, images: Any, codes: Any, masks: Any
) -> Any:
    """One batch of real images with label 0.9, then as many fakes with label 0."""
    fakes = tf.stop_gradient(generate(codes))
    probabilities = discriminate(discriminator, tf.concat([images, fakes], 0), masks)[:, 0]
    real = 0.9 * tf.ones_like(images[:, 0])
    labels = tf.concat([real, tf.zeros_like(real)], 0)
    return tf.reduce_mean(binary_cross_entropy(labels, probabilities))


def generator_loss(
    generate: keras.Sequential, discriminator: keras.Sequential, codes: Any, masks: Any
) -> Any:
    """The fakes should count as real; dropout is active."""
    probabilities = discriminate(discriminator, generate(codes), masks)[:, 0]
    return tf.reduce_mean(binary_cross_entropy(tf.ones_like(probabilities), probabilities))


class SharedAdam:
    """Keras 2.2.4's Adam when several models are compiled with the same object.

    Every variable has its own `m` and `v`; all updates increment one counter of steps.

    Source: `keras.optimizers.Adam.get_updates` of 2.2.4.
    """

    def __init__(self, variables: Sequence[Any]) -> None:
        self.iterations = tf.Variable(0, dtype=tf.int64)
        self._moments = {
            one.ref(): (tf.Variable(tf.zeros_like(one)), tf.Variable(tf.zeros_like(one)))
            for one in variables
        }

    def apply(self, gradients: Sequence[Any], variables: Sequence[Any]) -> None:
        """Update the variables of one model; counts as one step."""
        self.iterations.assign_add(1)
        dtype = gradients[0].dtype
        beta1, beta2 = tf.constant(0.5, dtype), tf.constant(0.999, dtype)
        steps = tf.cast(self.iterations, dtype)
        rate = tf.constant(2e-4, dtype) * tf.sqrt(1 - beta2**steps) / (1 - beta1**steps)
        for gradient, variable in zip(gradients, variables, strict=True):
            m, v = self._moments[variable.ref()]
            m.assign(beta1 * m + (1 - beta1) * gradient)
            v.assign(beta2 * v + (1 - beta2) * tf.square(gradient))
            variable.assign_sub(rate * m / (tf.sqrt(v) + tf.constant(_EPSILON, dtype)))


def variables(model: keras.Sequential) -> list[Any]:
    """TensorFlow's variables of a model."""
    return [one.value for one in model.trainable_variables]


def make_step(
    generate: keras.Sequential, discriminator: keras.Sequential
) -> Callable[..., tuple[Any, Any]]:
    """`step(images, codes, masks, codes, masks)`: one update of each network.

    The first codes and masks are those of the discriminator's update. The generator's update
    follows, against the updated discriminator. Returns the losses of both.
    """
    theirs, ours = variables(discriminator), variables(generate)
    adam = SharedAdam([*theirs, *ours])

    @tf.function  # type: ignore[untyped-decorator]
    def step(
        images: Any, codes: Any, masks: Any, generator_codes: Any, generator_masks: Any
    ) -> tuple[Any, Any]:
        with tf.GradientTape() as tape:
            first = discriminator_loss(generate, discriminator, images, codes, masks)
        adam.apply(tape.gradient(first, theirs), theirs)
        with tf.GradientTape() as tape:
            second = generator_loss(generate, discriminator, generator_codes, generator_masks)
        adam.apply(tape.gradient(second, ours), ours)
        return first, second

    return step


@tf.function  # type: ignore[untyped-decorator]
def draw_masks(images: int) -> tuple[Any, ...]:
    """Random dropout masks, which keep a value with probability 0.7."""
    return tuple(tf.random.uniform((images, units)) >= DROPOUT for units in HIDDEN)


def signed(pixels: np.ndarray) -> np.ndarray:
    """Bytes to [-1, 1], in float32."""
    return (pixels.astype(np.float32) - np.float32(127.5)) / np.float32(127.5)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, and print each epoch's losses, which the study did not."""
    run = Run("gan", __doc__, arguments, epochs={"default": EPOCHS}, seed=10, digits=True)
    keras.utils.set_random_seed(run.seed)
    generate, discriminator_ = generator(), discriminator()
    if run.weights:
        values = list(run.weights.values())
        generate.set_weights(values[:8])
        discriminator_.set_weights(values[8:])
    given = run.given_data()
    images = given["train/images"] if given else signed(run.pixels()[0])
    images = images.reshape(-1, PIXELS)
    step = make_step(generate, discriminator_)
    # Images are drawn with replacement, so that an epoch is not a pass over all of them.
    shown = max(1, len(images) // BATCH_SIZE) * BATCH_SIZE
    for order in run.orders(len(images), drawn=shown):
        run.start()
        losses = []
        for rows in order.reshape(-1, BATCH_SIZE):
            codes, again = (tf.random.normal((BATCH_SIZE, CODE)) for _ in range(2))
            masks, more = draw_masks(2 * BATCH_SIZE), draw_masks(BATCH_SIZE)
            losses.append(step(tf.constant(images[rows]), codes, masks, again, more))
        run.stop()
        first, second = np.mean(losses, axis=0)
        run.record(loss=float(first), generator_loss=float(second))


if __name__ == "__main__":
    main()
