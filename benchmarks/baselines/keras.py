"""Keras 3 with its own training step; KERAS_BACKEND names the backend."""

import os
from collections.abc import Callable

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras

from benchmarks.baselines import inputs


def _model(image_size: int) -> keras.Sequential:
    layers = keras.layers
    model = keras.Sequential([layers.Input((image_size, image_size, 3))])
    for channels in (32, 32, 64):
        model.add(layers.Conv2D(channels, 3))
        model.add(layers.Activation("relu"))
        model.add(layers.MaxPooling2D(2))
    model.add(layers.Flatten())
    model.add(layers.Dense(64, activation="relu"))
    model.add(layers.Dropout(0.5))
    model.add(layers.Dense(inputs.CLASSES, activation="softmax"))
    model.compile(loss="categorical_crossentropy", optimizer="adam", metrics=["accuracy"])
    return model


def train(batch_size: int, image_size: int) -> Callable[[], None]:
    """One training step with `train_on_batch`; the arrays are already tensors of the backend."""
    model = _model(image_size)
    images, targets = map(
        keras.ops.convert_to_tensor,
        (inputs.scaled(batch_size, image_size), inputs.targets(batch_size)),
    )
    return lambda: model.train_on_batch(images, targets)


def predict(batch_size: int, image_size: int) -> Callable[[], None]:
    """Class probabilities from `predict`, for a batch of scaled images in host memory."""
    model = _model(image_size)
    images = inputs.scaled(batch_size, image_size)
    return lambda: model.predict(images, batch_size=batch_size, verbose=0)


def predict_on_batch(batch_size: int, image_size: int) -> Callable[[], None]:
    """The same from `predict_on_batch`, which avoids the overhead of `predict`."""
    model = _model(image_size)
    images = inputs.scaled(batch_size, image_size)
    return lambda: model.predict_on_batch(images)
