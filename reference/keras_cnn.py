"""The study's CNN in Keras 3 on TensorFlow, and its training.

    python -m reference.keras_cnn --data DIR

Today's Keras differs from the study's version 2.2.4 in the clipped loss and in Adam's bias
correction. The study's behaviour is the default; `--stock` gives today's.
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Must be set before Keras is imported.
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import numpy as np
import tensorflow as tf

from reference import order, photos

BATCH_SIZE, EPOCHS = 25, 10
# The smallest image that leaves one pixel after three convolutions and poolings.
MIN_IMAGE_SIZE = 22

# Keras' `K.epsilon()`.
_EPSILON = 1e-7


def build(
    image_size: int = 600, num_classes: int = 3, dtype: str = "float32", dropout: float = 0.5
) -> keras.Sequential:
    """The network with Keras 2.2.4's layer names.

    It has 21,856,483 parameters with 600 x 600 pixels and 3 classes.
    """
    layers: list[keras.Layer] = [keras.Input((image_size, image_size, 3), dtype=dtype)]
    for i, filters in enumerate((32, 32, 64), start=1):
        layers += [
            keras.layers.Conv2D(filters, (3, 3), name=f"conv2d_{i}", dtype=dtype),
            keras.layers.Activation("relu", name=f"activation_{i}", dtype=dtype),
            keras.layers.MaxPooling2D((2, 2), name=f"max_pooling2d_{i}", dtype=dtype),
        ]
    layers += [
        keras.layers.Flatten(name="flatten_1", dtype=dtype),
        keras.layers.Dense(64, name="dense_1", dtype=dtype),
        keras.layers.Activation("relu", name="activation_4", dtype=dtype),
        keras.layers.Dropout(dropout, name="dropout_1", dtype=dtype),
        keras.layers.Dense(num_classes, name="dense_2", dtype=dtype),
        keras.layers.Activation("softmax", name="activation_5", dtype=dtype),
    ]
    return keras.Sequential(layers)


def categorical_crossentropy(targets: Any, probabilities: Any) -> Any:
    """Keras 2.2.4's loss of each sample, from clipped probabilities.

    Source: `keras.backend.categorical_crossentropy` of 2.2.4 on TensorFlow, with today's names.
    At the bounds, `clip_by_value` passes the whole gradient, in TensorFlow 1.12 as well as today.
    """
    probabilities /= tf.reduce_sum(probabilities, -1, True)
    epsilon = tf.constant(_EPSILON, probabilities.dtype)
    clipped = tf.clip_by_value(probabilities, epsilon, 1.0 - epsilon)
    return -tf.reduce_sum(targets * tf.math.log(clipped), -1)


class StudyAdam(keras.optimizers.Adam):
    """Adam as Keras 2.2.4 computes it, in the dtype of the variables.

    Today's Adam has the same formula, but its bias correction holds the betas as float32.

    Source: `keras.optimizers.Adam.get_updates` of 2.2.4.
    """

    def __init__(self, learning_rate: float = 1e-3):
        super().__init__(learning_rate, epsilon=_EPSILON)
        self._study_rate = learning_rate

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update one variable."""
        dtype = gradient.dtype
        place = self._get_variable_index(variable)
        m, v = self._momentums[place], self._velocities[place]
        steps = tf.cast(self.iterations + 1, dtype)
        beta1, beta2 = tf.constant(self.beta_1, dtype), tf.constant(self.beta_2, dtype)
        # Keras stores the learning rate as float32; the study's 0.001 needs the full precision.
        rate = tf.constant(self._study_rate, dtype)
        rate = rate * tf.sqrt(1 - beta2**steps) / (1 - beta1**steps)
        epsilon = tf.constant(self.epsilon, dtype)
        self.assign(m, beta1 * tf.convert_to_tensor(m) + (1 - beta1) * gradient)
        self.assign(v, beta2 * tf.convert_to_tensor(v) + (1 - beta2) * tf.square(gradient))
        step = rate * tf.convert_to_tensor(m) / (tf.sqrt(tf.convert_to_tensor(v)) + epsilon)
        self.assign(variable, tf.convert_to_tensor(variable) - step)


def stock_loss(targets: Any, probabilities: Any) -> Any:
    """Today's loss, computed from the logits before the softmax and never clipped."""
    return keras.losses.categorical_crossentropy(targets, probabilities)


def scale(pixels: np.ndarray) -> np.ndarray:
    """Multiply by float32(1/255), as `ImageDataGenerator(rescale=1 / 255)` does."""
    return pixels.astype(np.float32) * np.float32(1 / 255)


def outputs(model: keras.Sequential, images: Any, mask: Any = None) -> dict[str, Any]:
    """Every layer's output by name; `mask` says which values dropout keeps, None skips dropout."""
    found = {}
    x = images
    for layer in model.layers:
        if isinstance(layer, keras.layers.Dropout):
            if mask is not None:
                x = x * tf.cast(mask, x.dtype) / (1.0 - layer.rate)
        else:
            x = layer(x)
        found[layer.name] = x
    return found


def make_step(
    model: keras.Sequential,
    optimizer: keras.optimizers.Optimizer,
    loss: Callable[[Any, Any], Any] = categorical_crossentropy,
) -> Callable[[Any, Any, Any], tuple[Any, Any]]:
    """`step(images, targets, mask)`, which trains on a batch and returns loss and probabilities."""
    optimizer.build(model.trainable_variables)

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
    def step(images: Any, targets: Any, mask: Any) -> tuple[Any, Any]:
        with tf.GradientTape() as tape:
            probabilities = outputs(model, images, mask)["activation_5"]
            value = tf.reduce_mean(loss(targets, probabilities))
        gradients = tape.gradient(value, model.trainable_variables)
        optimizer.apply(gradients, model.trainable_variables)
        return value, probabilities

    return step


def train(
    model: keras.Sequential,
    data: photos.Split,
    *,
    epochs: int = EPOCHS,
    batch_size: int = BATCH_SIZE,
    seed: int = 0,
    stock: bool = False,
    say: Callable[[str], None] = print,
) -> None:
    """Train as the study did; `stock` uses today's loss and Adam."""
    rng = np.random.default_rng(seed)
    loss = stock_loss if stock else categorical_crossentropy
    optimizer = keras.optimizers.Adam() if stock else StudyAdam()
    step = make_step(model, optimizer, loss)
    shown = order.batches(len(data), batch_size, rng.permutation)
    classes = model.output_shape[-1]
    rate = model.get_layer("dropout_1").rate
    for epoch in range(1, epochs + 1):
        losses, accuracies, sizes = [], [], []
        began = time.monotonic()
        for _ in range(max(1, len(data) // batch_size)):
            rows = next(shown)
            targets = np.eye(classes, dtype=np.float32)[data.labels[rows]]
            mask = rng.random((len(rows), 64)) >= rate
            value, probabilities = step(scale(data.pixels[rows]), targets, mask)
            losses.append(float(value))
            right = np.argmax(probabilities, 1) == data.labels[rows]
            accuracies.append(float(right.mean()))
            sizes.append(len(rows))
        say(
            f"epoch {epoch}: loss {order.printed_metric(losses, sizes):.4f}, "
            f"accuracy {order.printed_metric(accuracies, sizes):.4f}, "
            f"{time.monotonic() - began:.1f} s"
        )


def predict(
    model: keras.Sequential, pixels: np.ndarray, batch_size: int = BATCH_SIZE
) -> np.ndarray:
    """Class probabilities in evaluation mode, `[images, classes]`."""
    starts = range(0, len(pixels), batch_size)
    parts = [model(scale(pixels[i : i + batch_size]), training=False) for i in starts]
    return np.concatenate([np.asarray(part) for part in parts])


def _image_size(text: str) -> int:
    if int(text) < MIN_IMAGE_SIZE:
        raise argparse.ArgumentTypeError(f"must be at least {MIN_IMAGE_SIZE} pixels, not {text}")
    return int(text)


def main(arguments: list[str] | None = None) -> None:
    """Train on a folder of photos, and print the accuracies."""
    parser = argparse.ArgumentParser(prog="python -m reference.keras_cnn", description=__doc__)
    photos.add_arguments(parser)
    parser.add_argument("--image-size", type=_image_size, default=600)
    parser.add_argument("--epochs", type=photos.positive, default=EPOCHS)
    parser.add_argument("--stock", action="store_true", help="today's loss and Adam")
    parser.add_argument("--save", type=Path, help="write the weights here (.weights.h5)")
    options = parser.parse_args(arguments)
    photos.check_save(options.save, ".weights.h5")
    if keras.backend.backend() != "tensorflow":
        photos.refuse("the original runs on TensorFlow: set KERAS_BACKEND=tensorflow")
    data, test, classes = photos.read(options, options.image_size, photos.keras_pixels)
    keras.utils.set_random_seed(options.seed)
    model = build(options.image_size, len(classes))
    train(model, data, epochs=options.epochs, seed=options.seed, stock=options.stock)
    result = {
        purpose: float((predict(model, split.pixels).argmax(1) == split.labels).mean())
        for purpose, split in (("train_accuracy", data), ("test_accuracy", test))
    }
    if options.save:
        model.save_weights(options.save)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
